"""Tries what a configuration needs of the world before a caller does: keys on their regional hosts, secrets, the public URL.

Owns what is tried, within the same books and by the same connections as calls, and what to do about each failure.
Costs one short session per key and region. Refuses to print, and to hold a secret in any of its sentences.
"""

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any, Final, Literal

import aiohttp
import msgspec
from msgspec import Struct

from gateway.audio import PCM_24K
from gateway.commands import OpenAgent
from gateway.contracts import SessionMemory
from gateway.events import AgentLost, AgentReady, AgentRefused, AnyEvent, CallInfo
from gateway.places import place_of
from gateway.runtime.agent_side import ENDED_S, AgentSide
from gateway.runtime.book import PURPOSES, Book, book_of
from gateway.runtime.development import development_secret
from gateway.runtime.dial import Dialler
from gateway.runtime.egress import Egress, Errand, NotListedError, Reach, unnoted
from gateway.runtime.house import House
from gateway.runtime.inbox import Inbox
from gateway.runtime.plugins import Generation
from gateway.runtime.routing import ConfiguredRoutes, address_book, ladder, named_route
from gateway.runtime.store import MemoryStore
from gateway.runtime.toolbox import Toolbox
from gateway.settings import RegionSettings, Secret, Secrets, Settings

ANSWER_S: Final = 10.0
"""How long an answer over HTTP is waited for."""
TOKEN_S: Final = 1
"""How long the token could be used that is asked for to see whether the key may have one."""
OURS: Final = "There is nothing at this address; clients call at"
"""What a Talkpath answers at an address that it does not have."""

Outcome = Literal["ok", "failed", "note"]


class Finding(Struct, frozen=True):
    """One thing that was tried."""

    what: str
    """What."""
    where: str
    """Host or place in the configuration."""
    outcome: Outcome
    """Whether it works; a note is neither."""
    detail: str
    """What was found."""
    advice: str = ""
    """What to do; empty where nothing needs to be done."""


class _Trial(Struct, frozen=True):
    """A key on a regional host."""

    agent: str
    """The first agent that has both."""
    route: str
    """A route that leads to it."""
    number: int
    """Which of the agent's keys, from 1."""
    key: Secret
    """The key."""

    @property
    def what(self) -> str:
        return f"agents.{self.agent}.api_key" + (f", key {self.number}" if self.number > 1 else "")


async def preflight(generation: Generation) -> list[Finding]:
    """Try everything at once, each in bounded time, and tell in the order of the configuration."""
    settings = generation.settings
    async with Dialler({}) as dialler, asyncio.TaskGroup() as group:
        tries = [
            group.create_task(_key(generation, dialler, trial))
            for trial in dict.fromkeys(_trials(generation))
        ]
        reached = group.create_task(_public_url(settings, dialler.egress))
    return [*(finding for task in tries for finding in task.result()), *_secrets(settings), *reached.result()]


def _trials(generation: Generation) -> Iterator[_Trial]:
    """Each key once per region, of the agents that calls can come to."""
    settings, seen = generation.settings, set[tuple[str, str]]()
    is_remote = ConfiguredRoutes(generation.parts.agents).is_remote
    for route in settings.routes:
        for name in ladder(route, settings, is_remote):
            agent = settings.agents[name]
            keys: Secrets = getattr(agent, "api_key", ()) if is_remote(agent) else ()
            for number, key in enumerate(keys, 1):
                if (pair := (agent.region, key.reveal())) not in seen:
                    seen.add(pair)
                    yield _Trial(name, route.name, number, key)


async def _key(generation: Generation, dialler: Dialler, trial: _Trial) -> list[Finding]:
    settings = generation.settings
    agent = msgspec.structs.replace(settings.agents[trial.agent], api_key=(trial.key,))
    alone = msgspec.structs.replace(settings, agents={**settings.agents, trial.agent: agent})
    one = msgspec.structs.replace(generation, settings=alone)
    region = address_book(settings)[agent.region]
    token = await _token(dialler.egress, trial, region, book_of(region, settings, agent.region))
    return [token, await _session(one, dialler, trial, region)]


async def _token(egress: Egress, trial: _Trial, region: RegionSettings, book: Book) -> Finding:
    """Ask for a temporary token, which only a good key is given (reference: Voice Agent API, 7)."""
    what = f"{trial.what}: token"
    if not region.rest:
        return Finding(what, _host(region.voice_agent), "note", "the region has no rest; not tried")
    url, where = f"{region.rest.rstrip('/')}/token", _host(region.rest)
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            egress.request(
                Errand(book, "agent"),
                "GET",
                f"{url}?expires_in_seconds={TOKEN_S}",
                headers={"Authorization": f"Bearer {trial.key.reveal()}"},
            ) as answer,
        ):
            status = answer.status
    except (NotListedError, TimeoutError, aiohttp.ClientError, OSError) as error:
        return Finding(what, where, "failed", *_trouble(error))
    if status == 200:
        return Finding(what, where, "ok", "given")
    if status in (401, 403, 404):
        return Finding(what, where, "failed", f"refused with {status}", _WRONG_KEY)
    return Finding(
        what, where, "failed", f"answered {status}", "try again later; if it stays, ask the provider"
    )


async def _session(
    generation: Generation, dialler: Dialler, trial: _Trial, region: RegionSettings
) -> Finding:
    """Open a session as a call does, and end it."""
    what, where = f"{trial.what}: session", _host(region.voice_agent)
    house = House(generation, MemoryStore(), Toolbox(), dialler)
    settings = generation.settings
    route = named_route(trial.route, settings, ConfiguredRoutes(generation.parts.agents).is_remote)
    assert route is not None  # noqa: S101 - a trial is of an agent on it
    info = CallInfo(call_id="check", adapter="pcm", audio=PCM_24K)
    inbox = Inbox(settings.limits.inbox)
    side = AgentSide(OpenAgent(trial.agent), info, SessionMemory(), house, Reach(route, generation, unnoted))
    ready_s = settings.agents[trial.agent].ready_s
    async with asyncio.TaskGroup() as group:
        running = group.create_task(side.run(inbox))
        event = await _first_word(inbox, ready_s)
        asked_at = asyncio.get_running_loop().time()
        side.dismiss()
        inbox.close()
        await asyncio.wait([running], timeout=2 * ENDED_S)
        took_s = asyncio.get_running_loop().time() - asked_at
        running.cancel()
    match event:
        case AgentReady():
            if took_s < ENDED_S:
                return Finding(what, where, "ok", "opened and ended")
            advice = "it is closed all the same; the provider bills it for up to 30 s more"
            return Finding(what, where, "note", "opened, but its end was not answered", advice)
        case AgentRefused(code="unauthorized"):
            return Finding(what, where, "failed", "the key was refused", _WRONG_KEY)
        case AgentRefused(code=code, message=message):
            advice = "correct the agent's session, or ask the provider what the code means"
            return Finding(what, where, "failed", f"refused: {code}, {message}", advice)
        case AgentLost(reason=reason):
            advice = _CERTIFICATE if "certificate" in reason.lower() else _UNREACHED
            return Finding(what, where, "failed", reason, advice)
    return Finding(what, where, "failed", f"not ready within {ready_s:g} s", _UNREACHED)


async def _first_word(inbox: Inbox, ready_s: float) -> AnyEvent | None:
    """What decides whether there is a session; None when nothing came in time."""
    try:
        async with asyncio.timeout(ready_s + 1):
            while not isinstance(event := await inbox.get(), AgentReady | AgentRefused | AgentLost):
                pass
            return event
    except TimeoutError:
        return None


def _secrets(settings: Settings) -> Iterator[Finding]:
    """Signature secrets: without one a carrier proves nothing, and all of its calls are refused."""
    for name, adapter in settings.adapters.items():
        for field in msgspec.structs.fields(adapter):
            if field.type != Secrets:
                continue
            what, held = f"adapters.{name}.{field.encode_name}", getattr(adapter, field.name)
            if not any(held):
                advice = f"set it, or leave adapters.{name} out; every call of {name} is refused"
                yield Finding(what, "", "failed", "is empty", advice)
            elif _is_stand_in(held):
                advice = f"set it before {name} calls; so far only `talkpath call` of this user is let in"
                yield Finding(what, "", "note", "the development secret stands in", advice)
            else:
                yield Finding(what, "", "ok", "present")


def _is_stand_in(held: Secrets) -> bool:
    return held == (Secret(development_secret()),)


async def _public_url(settings: Settings, egress: Egress) -> list[Finding]:
    """Ask for an address that a Talkpath does not have, and see whether one says so."""
    what, url = "server.public_url", settings.server.public_url
    if not url:
        advice = "set it to the origin that carriers call and sign, once they are to call"
        return [Finding(what, "", "note", "is empty", advice)]
    place = place_of(url)
    book = Book((), {purpose: frozenset([place] if place else []) for purpose in PURPOSES})
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            egress.request(Errand(book, "webhooks"), "GET", f"{url.rstrip('/')}/v1/check") as answer,
        ):
            status, text = answer.status, (await answer.content.read(1000)).decode(errors="replace")
    except (NotListedError, TimeoutError, aiohttp.ClientError, OSError) as error:
        detail, advice = _trouble(error)
        if advice == _UNREACHED:
            advice = "start the gateway, and look whether the tunnel or proxy before it is up"
        return [Finding(what, _host(url), "failed", detail, advice)]
    if text.startswith(OURS):
        return [Finding(what, _host(url), "ok", "a Talkpath answers there")]
    if 300 <= status < 400:
        advice = "name the origin that it leads to: carriers sign the address, and follow nothing"
        return [Finding(what, _host(url), "failed", f"it redirects ({status})", advice)]
    advice = "let the proxy pass every path on, or correct the address"
    return [Finding(what, _host(url), "failed", f"something else answers there ({status})", advice)]


_WRONG_KEY: Final = (
    "set a key of an account of this region; keys are good in the region of their account only"
)
_UNREACHED: Final = "look whether this machine may connect to it: firewall, proxy, name service, spelling"
_CERTIFICATE: Final = "its certificate is not good for this name here: correct the name or the clock, or trust its authority by SSL_CERT_FILE"


def _trouble(error: Exception) -> tuple[str, str]:
    """What a failed connection means, and what to do."""
    if isinstance(error, NotListedError):
        return str(error), "correct regions"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_S:g} s", _UNREACHED
    certificate = isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.CertificateError)
    cause: Any = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return str(cause) or type(cause).__name__, _CERTIFICATE if certificate else _UNREACHED


def _host(url: str) -> str:
    place = place_of(url)
    return f"{place[0]}:{place[1]}" if place else ""
