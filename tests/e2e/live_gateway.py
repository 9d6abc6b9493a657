"""A gateway in this process on free ports, with a witness that keeps what its calls' journals said."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

from gateway.commands import (
    CallEnded,
    Clear,
    Entry,
    GapClosed,
    HangUp,
    OpenAgent,
    Remember,
    ReplyHeard,
    RunTool,
)
from gateway.contracts import ObserverKind
from gateway.events import (
    AgentLost,
    AgentReady,
    AgentRefused,
    CallerLost,
    CallerReturned,
    CallInfo,
    SpeechStarted,
    ToolFinished,
    UserSaid,
)
from gateway.hookspecs import hookimpl
from gateway.observers.transcript import Transcript, TranscriptLine
from gateway.runtime.config import load_generation
from gateway.server.calls import CallRegistry
from gateway.server.listening import serving
from gateway.terms import CallTerms
from gateway.tools import CallHandle, Tool

TOKEN = "signed-with-this-by-the-simulated-carrier"
SLOW_TOOL_S = 3.0
SLOW = "+77"
"""Calls to these numbers have slow tools."""
F = TypeVar("F")


class Story:
    """What one call's journal said."""

    wants: tuple[type, ...] = (
        AgentLost, AgentReady, AgentRefused, CallerLost, CallerReturned, Clear, HangUp, OpenAgent, Remember,
        RunTool, SpeechStarted, ToolFinished, UserSaid,
    )  # fmt: skip

    def __init__(self, info: CallInfo) -> None:
        self.info = info
        self.entries: list[Entry] = []
        self.closed = asyncio.Event()

    def see(self, entry: Entry) -> None:
        self.entries.append(entry)

    def close(self) -> None:
        self.closed.set()

    def facts(self, kind: type[F]) -> list[F]:
        """Facts of a kind, in order."""
        items = (entry.item for entry in self.entries)
        return [item.fact for item in items if isinstance(item, Remember) and isinstance(item.fact, kind)]

    def items(self, kind: type[F]) -> list[tuple[float, F]]:
        """Events or commands of a kind with their moments, in order."""
        return [(entry.at, entry.item) for entry in self.entries if isinstance(entry.item, kind)]

    @property
    def span(self) -> tuple[float, float]:
        """From the first entry to the last; the loop's time."""
        return self.entries[0].at, self.entries[-1].at

    @property
    def gaps(self) -> list[GapClosed]:
        """Losses of an agent that were bridged."""
        return self.facts(GapClosed)

    @property
    def heard(self) -> dict[str, ReplyHeard]:
        """What was heard of each reply."""
        return {fact.reply_id: fact for fact in self.facts(ReplyHeard)}

    @property
    def end(self) -> str:
        """Why the call ended."""
        return next((fact.reason for fact in self.facts(CallEnded)), "it did not end")

    @property
    def tools_run(self) -> list[str]:
        """Names of the tools that were run, in order."""
        return [command.name for _, command in self.items(RunTool)]


class Witness:
    """Keeps the story and the transcript of every call, by the number that was called."""

    def __init__(self) -> None:
        self.stories: dict[str, Story] = {}
        self.lines: dict[str, list[TranscriptLine]] = {}
        self.driven: dict[str, list[int]] = {}
        """How often the rover was really driven, by the number that was called: meters."""

    def plugin(self) -> SimpleNamespace:
        """Hooks that let it watch, and the tool ``drive``."""

        def watch(info: CallInfo, _terms: CallTerms) -> Story:
            return self.stories.setdefault(info.callee, Story(info))

        def read(info: CallInfo, _terms: CallTerms) -> "_Reading":
            return _Reading(self.lines, info.callee)

        async def drive(
            direction: Literal["forward", "backward"], meters: int, call: CallHandle
        ) -> dict[str, Any]:
            """Drive the rover."""
            self.driven.setdefault(call.info.callee, []).append(meters)
            await asyncio.sleep(SLOW_TOOL_S if call.info.callee.startswith(SLOW) else 0)
            return {"direction": direction, "meters": meters}

        @hookimpl
        def register_observers() -> list[ObserverKind]:
            return [ObserverKind("witness", watch), ObserverKind("reading", read)]

        @hookimpl
        def register_tools() -> list[Tool]:
            return [Tool.of(drive, timeout_s=10)]

        return SimpleNamespace(
            __name__="witness", register_observers=register_observers, register_tools=register_tools
        )

    async def ended(self, callee: str, limit_s: float = 15.0) -> Story:
        """Wait for the end of a call that was seen."""
        story = self.stories[callee]
        async with asyncio.timeout(limit_s):
            await story.closed.wait()
        return story


class _Reading(Transcript):
    """Reads a call's words and hands the transcript over at its end."""

    def __init__(self, lines: dict[str, list[TranscriptLine]], callee: str) -> None:
        super().__init__()
        self._all = lines
        self._callee = callee

    def close(self) -> None:
        super().close()
        self._all[self._callee] = self.lines


class LiveGateway(SimpleNamespace):
    """A gateway that serves."""

    url: str
    witness: Witness
    registry: CallRegistry


@asynccontextmanager
async def live_gateway(configuration: str, plugins: Iterable[object] = ()) -> AsyncIterator[LiveGateway]:
    """Serve a configuration (YAML) in this process."""
    witness = Witness()
    with tempfile.TemporaryDirectory(prefix="talkpath-e2e-") as folder:
        path = Path(folder) / "gateway.yaml"
        path.write_text(configuration)
        generation = load_generation(path, extra=(witness.plugin(), *plugins))
        async with serving(generation) as bound:
            yield LiveGateway(url=bound.url, witness=witness, registry=bound.registry)
