"""The callers that ``talkpath call`` can be, each made from the command's options and the gateway's configuration.

Owns whose secret signs for whom, and which options mean something to which caller. Refuses to dial.
"""

from typing import Any, Final, Protocol

from msgspec import Struct

from gateway.runtime.config import development_secret
from gateway.runtime.gateway_keys import is_hashed
from gateway.settings import Secrets, Settings
from gateway.simulate import BrowserCaller, CallResult, PcmCaller, TwilioCaller, VonageCaller

CALLERS: Final = ("twilio", "vonage", "browser", "pcm")
CLIENTS: Final = ("browser", "pcm")
"""Those that are programs, not telephones."""

_OF_CLIENTS: Final = {
    "sample_rate": ("--sample-rate", ("pcm",)),
    "encoding": ("--encoding", CLIENTS),
    "events": ("--events or --no-events", ("pcm",)),
    "key": ("--key", CLIENTS),
    "token": ("--token", ("browser",)),
}
"""Options that mean something to few callers, as they are named on the command line."""


class SimulatedCaller(Protocol):
    """A simulated caller."""

    def hang_up(self, reason: str = "caller_hung_up") -> None:
        """End the call, as soon as the flow can."""

    async def run(self) -> CallResult:
        """Make the call."""


class Line(Struct, frozen=True):
    """What the options say of the line and of who calls whom."""

    caller: str | None
    """The calling number."""
    callee: str | None
    """The called number."""
    sample_rate: int
    """pcm: samples per second."""
    encoding: str
    """Clients: name of the encoding."""
    events: bool
    """pcm: whether the conversation's events are asked for."""
    key: str | None
    """Clients: a gateway key."""
    token: str | None = None
    """browser: a minted token."""


def check_options(as_: str, given: list[str]) -> None:
    """Refuse a caller that there is not, and options that mean nothing to it.

    Raises:
        ValueError: in one sentence.
    """
    if as_ not in CALLERS:
        raise ValueError(
            f"--as {as_} is no caller we know; use --as twilio, --as vonage, --as browser or --as pcm"
        )
    if as_ in CLIENTS and "dtmf" in given:
        raise ValueError(f"the {as_} dialect has no keys to press; leave --dtmf out or use --as twilio")
    for name in given:
        option, callers = _OF_CLIENTS.get(name, ("", CALLERS))
        if as_ not in callers:
            raise ValueError(
                f"{option} is for {' and '.join(callers)} callers only; leave it out or use --as {callers[-1]}"
            )
    if "key" in given and "token" in given:
        raise ValueError("--key and --token are two proofs; give one of them")


def make_caller(
    as_: str, url: str, settings: Settings | None, line: Line, plan: dict[str, Any]
) -> SimulatedCaller:
    """Make the caller; ``plan`` is what all of them take.

    Raises:
        ValueError: when the address, the format or a carrier's secret is missing or wrong.
    """
    numbers = (("caller", line.caller), ("callee", line.callee))
    known: dict[str, Any] = {name: number for name, number in numbers if number}
    match as_:
        case "twilio":
            known |= _configured(settings, as_, "account_sid")
            return TwilioCaller(url, token=_secret(settings, as_, "auth_token"), **plan, **known)
        case "vonage":
            known |= _configured(settings, as_, "application_id", "api_key")
            return VonageCaller(url, secret=_secret(settings, as_, "signature_secret"), **plan, **known)
        case "browser":
            key = None if line.token else line.key or _gateway_key(settings)
            return BrowserCaller(url, **plan, **known, encoding=line.encoding, key=key, token=line.token)
    return PcmCaller(
        url,
        **plan,
        caller=line.caller,
        callee=line.callee,
        key=line.key or _gateway_key(settings),
        rate_hz=line.sample_rate,
        encoding=line.encoding,
        events=line.events,
    )


def _secret(settings: Settings | None, adapter: str, name: str) -> str:
    """The secret with which a carrier signs: the first that is configured; without configuration this user's own."""
    if settings is None:
        return development_secret()
    secrets: Secrets = getattr(settings.adapters.get(adapter), name, ())
    if not secrets:
        raise ValueError(
            f"the configuration has no adapters.{adapter}.{name}; "
            f"set it, as {adapter.capitalize()} signs its calls with it"
        )
    return secrets[0].reveal()


def _configured(settings: Settings | None, adapter: str, *names: str) -> dict[str, str]:
    """What else of the configuration a carrier knows: the gateway's public address, and ids of its own."""
    if settings is None:
        return {}
    section = settings.adapters.get(adapter)
    found = {"public_url": settings.server.public_url, **{name: getattr(section, name, "") for name in names}}
    return {name: value for name, value in found.items() if value}


def _gateway_key(settings: Settings | None) -> str | None:
    """The first configured gateway key that may connect."""
    keys_there = settings.access.keys if settings else ()
    allowed = (key for one in keys_there if "connect" in one.may for key in one.key if not is_hashed(key))
    return next((key.reveal() for key in allowed), None)
