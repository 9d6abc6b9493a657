"""``talkpath token``: a token for a browser, minted by a gateway that runs."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode, urlunsplit

import aiohttp
import msgspec
import typer

from gateway.cli.refusing import pairs, print_json, refuse, refuse_configuration
from gateway.errors import ConfigError, PluginError
from gateway.runtime.config import chosen_file, load_settings
from gateway.runtime.gateway_keys import is_hashed
from gateway.settings import Settings
from gateway.simulate.address import EXAMPLE, gateway_address
from gateway.simulate.webhook import NO_TLS

KEY_VARIABLE: Final = "TALKPATH_KEY"
ANSWER_S: Final = 10.0
LONGEST: Final = 300
"""How much of an answer in words is shown."""
TOO_MANY: Final = 429

Url = Annotated[
    str, typer.Argument(help="The gateway; else server.public_url or server.port of the configuration.")
]
Expires = Annotated[
    int, typer.Option("--expires-in", help="Seconds in which it must be used.", min=1, max=600)
]
MaxSession = Annotated[
    int | None, typer.Option("--max-session", help="Longest session in seconds.", min=60, max=10_800)
]
Key = Annotated[
    str, typer.Option(help="A gateway key with may: [tokens]; also $TALKPATH_KEY.", show_default=False)
]
Claim = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE for routes to ask for; may be repeated.", show_default=False),
]
Config = Annotated[Path | None, typer.Option(help="The gateway's gateway.yaml, for its address and the key.")]
Json = Annotated[bool, typer.Option("--json", help="Print the gateway's whole answer as JSON.")]


def token(
    url: Url = "",
    *,
    expires_in: Expires = 60,
    max_session: MaxSession = None,
    claim: Claim = None,
    key: Key = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Mint a token with which a browser may open one session, and print it.

    The key is the one given, else $TALKPATH_KEY, else the first of the configuration with `may: [tokens]`; a gateway
    without keys mints for this machine. Exit code 0: it was minted; 1: the gateway refused, or nobody answers; 2: wrong
    usage or configuration.

    Example: talkpath token http://127.0.0.1:8080 --expires-in 60
    """
    try:
        settings = load_settings(config) if chosen_file(config) else None
        claims = pairs("--claim", claim)
        address = _address(url, settings, expires_in, max_session, claims)
    except (ConfigError, PluginError) as error:
        refuse_configuration("token", config, error, as_json=json)
    except ValueError as error:
        refuse("token", str(error), as_json=json)
    proof = key or os.environ.get(KEY_VARIABLE, "") or _configured_key(settings)
    status, answer = asyncio.run(_ask(address, proof))
    if status != 200 or "token" not in answer:
        refuse("token", _why(status, answer, address), as_json=json, code=1)
    if json:
        print_json(answer)
    else:
        typer.echo(answer["token"])


def _address(
    url: str,
    settings: Settings | None,
    expires_in: int,
    max_session: int | None,
    claims: dict[str, str],
) -> str:
    if not url and settings is not None:
        server = settings.server
        url = server.public_url or (f"http://127.0.0.1:{server.port}" if server.port else "")
    given = gateway_address(url or EXAMPLE)
    scheme = {"ws": "http", "wss": "https"}.get(given.scheme, given.scheme)
    query: dict[str, int | str | None] = {
        "expires_in_seconds": expires_in,
        "max_session_duration_seconds": max_session,
        **{f"claim.{name}": value for name, value in claims.items()},
    }
    asked = urlencode({name: value for name, value in query.items() if value is not None})
    return urlunsplit((scheme, given.netloc, "/v1/token", asked, ""))


def _configured_key(settings: Settings | None) -> str:
    keys = settings.access.keys if settings else ()
    minting = (key for one in keys if "tokens" in one.may for key in one.key if not is_hashed(key))
    return next((key.reveal() for key in minting), "")


async def _ask(address: str, proof: str) -> tuple[int, dict[str, Any]]:
    """The gateway's answer; status 0 with why, where there was none."""
    headers = {"Authorization": f"Bearer {proof}"} if proof else {}
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(address, headers=headers, allow_redirects=False) as answer,
        ):
            body = await answer.read()
            try:
                return answer.status, msgspec.json.decode(body, type=dict[str, Any])
            except msgspec.MsgspecError:
                return answer.status, _in_words(body) if answer.content_type == "text/plain" else {}
    except aiohttp.ClientSSLError:
        return 0, {"detail": NO_TLS}
    except aiohttp.ClientConnectorError as error:
        return 0, {"detail": error.strerror or "no connection"}
    except (aiohttp.ClientError, TimeoutError) as error:
        return 0, {"detail": str(error) or f"no answer within {ANSWER_S:g} s"}


def _in_words(body: bytes) -> dict[str, Any]:
    """What somebody answers who is asked for something else than tokens, such as the admin port."""
    text = " ".join(body[:LONGEST].decode("utf-8", "replace").split()).rstrip(".")
    return {"detail": text} if text else {}


def _why(status: int, answer: dict[str, Any], address: str) -> str:
    origin = address.partition("/v1/token")[0]
    detail = answer.get("detail")
    if detail == NO_TLS:
        return f"{origin} {NO_TLS}"
    if not status:
        return f"nobody answers at {origin} ({detail}); is a gateway running there?"
    if status == 422 and isinstance(detail, list):
        return (
            "the gateway wants a key; give --key, set TALKPATH_KEY, or name the gateway's file with --config"
        )
    if status == TOO_MANY:
        return f"{origin} answered 429: it was asked too often; try again in a minute"
    told = detail if isinstance(detail, str) else "no reason given"
    return f"{origin} answered {status}: {told}"
