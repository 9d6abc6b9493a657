"""A gateway under test in this process: the adapter in it, a scripted agent behind it, and a witness of the journal.

Owns how calls are made, waited for and cleaned away. Refuses to judge: checks do.
"""

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from gateway.certify.agent import Agent, Session, scripted_agent
from gateway.certify.line import Line, open_line
from gateway.certify.speaker import Speaker, Way
from gateway.commands import Entry, Remember, ReplyHeard
from gateway.contracts import Adapter, ObserverKind
from gateway.events import CallInfo, CallStarted
from gateway.runtime.config import load_generation
from gateway.runtime.plugins import Generation
from gateway.server.calls import CallRegistry
from gateway.server.listening import serving
from gateway.simulate.media_socket import SocketError
from gateway.simulate.webhook import WebhookError
from gateway.terms import CallTerms

PATIENCE_S: Final = 5.0
"""How long anything may take that should happen at once."""
_LOOK_EVERY_S: Final = 0.005
T = TypeVar("T")


class Failed(Exception):  # noqa: N818 - what a check has found, not a fault of the suite
    """The adapter does not do what a check asks for: one sentence that says what was seen and what is expected."""


class NotApplicable(Exception):  # noqa: N818 - as above
    """The dialect has nothing that the check could look at; the sentence says why."""


class Story:
    """What the journal of one call said."""

    wants: tuple[type, ...] = (CallStarted, Remember)

    def __init__(self, info: CallInfo) -> None:
        self.info = info
        self.entries: list[Entry] = []

    def see(self, entry: Entry) -> None:
        """Take note."""
        self.entries.append(entry)

    def close(self) -> None:
        """Nothing is left to be done."""

    def items(self, kind: type[T]) -> list[T]:
        """Events of a kind, in order."""
        return [entry.item for entry in self.entries if isinstance(entry.item, kind)]

    def heard(self, reply_id: str) -> ReplyHeard | None:
        """What was heard of a reply, once that is known."""
        facts = (item.fact for item in self.items(Remember))
        return next((f for f in facts if isinstance(f, ReplyHeard) and f.reply_id == reply_id), None)


class Trial:
    """One gateway with one adapter under test; get it from `trial`."""

    def __init__(
        self,
        adapter: Adapter,
        speaker: type[Speaker],
        *,
        url: str,
        key: str,
        agent: Agent,
        registry: CallRegistry,
    ) -> None:
        self.adapter = adapter
        self.agent = agent
        self.registry = registry
        self.stories: list[Story] = []
        self.late_ms = 0.0
        """How late this machine let a caller's clock be since it was last set to zero."""
        self._speaker = speaker
        self._url = url
        self._key = key

    def speaker(self) -> Speaker:
        """A far end for one more call."""
        return self._speaker(self._url, self._key)

    def lacks(self, feature: Any) -> None:
        """Leave a check out where the dialect lacks what it looks at.

        Raises:
            NotApplicable: with the speaker's reason.
        """
        if why := self._speaker.lacks.get(feature):
            raise NotApplicable(why)

    @asynccontextmanager
    async def open(self, speaker: Speaker, way: Way) -> AsyncIterator[Line]:
        """Open a media socket and begin.

        Raises:
            Failed: when it is not let in.
        """
        try:
            async with open_line(speaker, way) as line:
                try:
                    yield line
                finally:
                    self.late_ms = max(self.late_ms, line.late_ms)
        except SocketError as error:
            raise Failed(f"a proven caller was not let in: {error}") from error

    @asynccontextmanager
    async def call(self) -> AsyncIterator["Call"]:
        """Make a call and wait until the agent is in it; it is over afterwards, whatever happened.

        Raises:
            Failed: when the call does not come about.
        """
        speaker = self.speaker()
        sessions, stories = len(self.agent.sessions), len(self.stories)
        try:
            way = await speaker.invite()
        except WebhookError as error:
            raise Failed(f"a proven webhook was not answered: {error}") from error
        try:
            async with self.open(speaker, way) as line:
                await wait(
                    lambda: len(self.agent.sessions) > sessions and len(self.stories) > stories,
                    f"no session with the agent began within {PATIENCE_S:g} s of the first messages; "
                    "expected one CallStarted from the codec",
                    line,
                )
                if speaker.says_ready:
                    await wait(
                        line.ready.is_set, "the caller was not told that it may speak; expected that", line
                    )
                call = Call(
                    self,
                    speaker,
                    way,
                    line,
                    session=self.agent.sessions[sessions],
                    story=self.stories[stories],
                )
                await wait(lambda: call.session.heard, "no sound of the caller reached the agent", line)
                yield call
        finally:
            await self.clean_up()

    async def clean_up(self) -> None:
        """End whatever calls are left."""
        for call in self.registry.listing():
            call.leave("the check is over")
        try:
            await wait(lambda: not self.registry.listing(), "")
        except Failed:
            for call in self.registry.listing():
                call.stop("the check is over")
            await wait(lambda: not self.registry.listing(), "a call could not be ended after the check")


class Call:
    """One call under test: both of its ends, and its journal."""

    def __init__(
        self, trial: Trial, speaker: Speaker, way: Way, line: Line, *, session: Session, story: Story
    ) -> None:
        self.trial = trial
        self.speaker = speaker
        self.way = way
        self.line = line
        """The caller's end."""
        self.session = session
        """The agent's end."""
        self.story = story

    async def until(
        self, condition: Callable[[], object], otherwise: str, within_s: float = PATIENCE_S
    ) -> None:
        """Wait for a condition.

        Raises:
            Failed: with ``otherwise`` when it does not come true, or the connection is lost.
        """
        await wait(condition, otherwise, self.line, within_s)

    async def played_ms(self, ms: float, otherwise: str, since: int = 0) -> None:
        """Wait until so much of the agent's sound has been played, not counting the first ``since`` bytes."""
        audio = self.speaker.audio

        def played() -> bool:
            return audio.ms(len(self.line.received) - since) - self.line.queued_ms >= ms

        await self.until(played, otherwise, PATIENCE_S + ms / 1000)


async def wait(
    condition: Callable[[], object], otherwise: str, line: Line | None = None, within_s: float = PATIENCE_S
) -> None:
    """Look again and again until a condition holds.

    Raises:
        Failed: with ``otherwise`` when it does not in time; with the close code when the line is closed meanwhile.
    """
    until = time.monotonic() + within_s
    while not condition():
        if line is not None and line.closed.is_set() and not condition():
            raise Failed(f"{otherwise}; the gateway had closed the connection with {line.close_code}")
        if time.monotonic() > until:
            raise Failed(otherwise)
        await asyncio.sleep(_LOOK_EVERY_S)


@asynccontextmanager
async def trial(adapter: Adapter | str, speaker: type[Speaker], *, plugins: str = "") -> AsyncIterator[Trial]:
    """Run a gateway with an adapter, or with the registered one of that name; ``plugins`` is a folder of plugins.

    Raises:
        ConfigError: when the speaker's section does not fit the adapter.
        PluginError: when a plugin is broken, or the adapter is not registered.
    """
    key = secrets.token_urlsafe(16)
    async with scripted_agent() as agent:
        generation = _generation(speaker, agent.url, key, plugins)
        if isinstance(adapter, str):
            adapter = generation.parts.adapters[adapter]
        stories: list[Story] = []

        def watch(info: CallInfo, _terms: CallTerms) -> Story:
            stories.append(Story(info))
            return stories[-1]

        parts = msgspec.structs.replace(
            generation.parts,
            adapters={**generation.parts.adapters, adapter.name: adapter},
            observers=(ObserverKind("certify", watch),),
        )
        async with serving(msgspec.structs.replace(generation, parts=parts)) as bound:
            run = Trial(adapter, speaker, url=bound.url, key=key, agent=agent, registry=bound.registry)
            run.stories = stories
            yield run


def _generation(speaker: type[Speaker], agent_url: str, key: str, plugins: str) -> Generation:
    """The configuration under which the adapter is tested."""
    configuration = {
        "server": {"port": 0, "admin_port": 0, "first_message_s": 3, "close_s": 1, "lost_after_s": 2},
        "limits": {"return_s": 4, "goodbye_s": 2, "calls": 20},
        "regions": {"here": {"voice_agent": agent_url}},
        "agents": {
            "certify": {
                "kind": "voice_agent",
                "region": "here",
                "api_key": "none",
                "sessions_per_minute": 100_000,
            }
        },
        "routes": [{"name": "certify", "agent": "certify", "dtmf": "text"}],
        "adapters": {speaker.adapter: dict(speaker.section)},
        "access": {"keys": [{"name": "certify", "key": key, "may": ["connect", "tokens"]}]},
        "plugins": {"folder": plugins},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certify.yaml"
        path.write_text(json.dumps(configuration), "utf-8")  # JSON is YAML
        return load_generation(path)
