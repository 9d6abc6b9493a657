"""Tests of running tools: whatever a tool does, the agent gets a sentence and no call is disturbed."""

import asyncio
import contextlib
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from gateway.audio import MULAW_8K
from gateway.commands import AbandonTool, RunTool
from gateway.errors import ToolError
from gateway.events import CallInfo, ToolFinished
from gateway.runtime import toolbox as toolbox_module
from gateway.runtime.house_tools import register_tools
from gateway.runtime.toolbox import Toolbox
from gateway.tools import Tool


class Handle:
    """What a tool may do to its call, written down."""

    def __init__(self, call_id: str = "c1") -> None:
        self.info = CallInfo(call_id=call_id, adapter="pcm", audio=MULAW_8K)
        self.done: list[tuple[str, str]] = []

    def hang_up(self, reason: str = "") -> None:
        self.done.append(("hang_up", reason))

    def transfer(self, target: str) -> None:
        self.done.append(("transfer", target))

    def say(self, instructions: str) -> None:
        self.done.append(("say", instructions))

    def configure(self, **session: Any) -> None:
        self.done.append(("configure", repr(session)))

    def note(self, text: str) -> None:
        self.done.append(("note", text))


@pytest.fixture
async def toolbox() -> AsyncIterator[Toolbox]:
    box = Toolbox(at_once=2)
    yield box
    await box.close()


def order(arguments: str = "{}", tool_call_id: str = "t1", name: str = "tool") -> RunTool:
    return RunTool(tool_call_id=tool_call_id, name=name, arguments=arguments)


def error_of(finished: ToolFinished) -> str:
    assert finished.failed
    document = msgspec.json.decode(finished.result, type=dict[str, str])
    return document["error"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition is met on another thread
            await asyncio.sleep(0)


class Gate:
    """Where a tool waits on its own thread until the test lets it on."""

    def __init__(self) -> None:
        self.waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def wait(self) -> None:
        event = asyncio.Event()
        self.waiting.append((asyncio.get_running_loop(), event))
        await event.wait()

    def open(self) -> None:
        for loop, event in self.waiting:
            loop.call_soon_threadsafe(event.set)


async def add(first: int, second: int = 1) -> dict[str, int]:
    """Add two numbers."""
    return {"sum": first + second}


async def test_a_tool_gets_checked_arguments_and_its_result_is_json(toolbox: Toolbox) -> None:
    """Arguments by name, defaults where the agent leaves them out, and not on the thread of calls."""
    threads: list[int] = []

    async def where() -> None:
        """Say where."""
        threads.append(threading.get_ident())

    tool = Tool.of(add)
    assert await toolbox.run(tool, order('{"first": 2, "second": 3}'), Handle()) == ToolFinished(
        "t1", '{"sum":5}'
    )
    assert (await toolbox.run(tool, order('{"first": 2}'), Handle())).result == '{"sum":3}'
    assert (await toolbox.run(Tool.of(where), order(""), Handle())).result == "null"
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize(
    "arguments", ['{"first": "two"}', "{}", '{"first": 1, "third": 3}', "[1]", "{", '"\ud800"', "[" * 100_000]
)
async def test_arguments_that_do_not_fit_are_explained_to_the_agent(toolbox: Toolbox, arguments: str) -> None:
    """The tool does not run; the sentence says what to correct."""
    finished = await toolbox.run(Tool.of(add), order(arguments), Handle())
    assert finished.outcome == "invalid_arguments"
    assert error_of(finished).startswith("invalid arguments: ")


async def test_an_unknown_tool_is_told_so(toolbox: Toolbox) -> None:
    """The agent invented it, or may not use it."""
    finished = await toolbox.run(None, order(name="fly"), Handle())
    assert finished.outcome == "unknown_tool"
    assert error_of(finished) == "there is no tool 'fly'; do not call it again"


async def test_a_tools_own_words_reach_the_agent(toolbox: Toolbox) -> None:
    """ToolError is how a tool talks to the agent."""

    async def lookup() -> None:
        """Look something up."""
        raise ToolError("no such order; ask for the number again")

    finished = await toolbox.run(Tool.of(lookup), order(), Handle())
    assert (finished.outcome, error_of(finished)) == ("error", "no such order; ask for the number again")


@pytest.mark.parametrize("failure", [RuntimeError, SystemExit, KeyboardInterrupt, TimeoutError, MemoryError])
async def test_any_other_failure_is_a_general_sentence_and_logged_without_content(
    toolbox: Toolbox, caplog: pytest.LogCaptureFixture, failure: type[BaseException]
) -> None:
    """Neither agent nor log see what was in the exception; the thread lives on."""

    async def lookup() -> None:
        """Look something up."""
        raise failure("card 4111")

    with caplog.at_level(logging.DEBUG):
        finished = await toolbox.run(Tool.of(lookup), order(), Handle())
    assert finished.outcome == "error"
    assert "the tool failed" in error_of(finished)
    assert "4111" not in finished.result + caplog.text
    assert f"tool lookup failed with {failure.__name__} at {__file__}:" in caplog.text
    assert not (await toolbox.run(Tool.of(add), order('{"first": 1}'), Handle())).failed


@pytest.mark.parametrize(("value", "words"), [("x" * 65_535, "too large"), (object(), "the tool failed")])
async def test_a_result_that_cannot_be_sent_is_a_failure(toolbox: Toolbox, value: object, words: str) -> None:
    """Too large, or no JSON."""

    async def give() -> object:
        """Give something."""
        return value

    assert words in error_of(await toolbox.run(Tool.of(give), order(), Handle()))


async def test_a_slow_tool_is_cut_short_at_its_timeout(toolbox: Toolbox) -> None:
    """The agent is told that the outcome is not known."""
    ended = threading.Event()

    async def wait() -> None:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    finished = await toolbox.run(Tool.of(wait, timeout_s=0.05), order(), Handle())
    assert finished.outcome == "timeout"
    assert error_of(finished).startswith("no answer within 0.05 seconds")
    assert ended.is_set()


async def test_a_tool_that_ignores_its_timeout_does_not_hold_the_call(
    toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call goes on, others run beside it, and its thread is kept, since it is not blocked."""
    monkeypatch.setattr(toolbox_module, "GRACE_S", 0.05)
    gate = Gate()

    async def stubborn() -> None:
        """Never give up."""
        with contextlib.suppress(asyncio.CancelledError):
            await gate.wait()
        await gate.wait()

    finished = await toolbox.run(Tool.of(stubborn, timeout_s=0.05), order(), Handle())
    assert finished.outcome == "timeout"
    assert toolbox.lost_threads == 0
    assert not (await toolbox.run(Tool.of(add), order('{"first": 1}'), Handle())).failed
    gate.open()


async def test_a_blocking_tool_disturbs_no_call_and_loses_its_thread(
    toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop of calls goes on all the while; after the timeout the next tool gets a new thread."""
    monkeypatch.setattr(toolbox_module, "GRACE_S", 0.05)
    release = threading.Event()

    async def block() -> None:
        """Block the thread."""
        release.wait(10)

    blocked: list[ToolFinished] = []

    async def run_it() -> None:
        blocked.append(await toolbox.run(Tool.of(block, timeout_s=0.1), order(), Handle()))

    longest, before = 0.0, time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_it())
        while not blocked:
            await asyncio.sleep(0)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
    assert blocked[0].outcome == "timeout"
    assert longest < 1  # it blocks for ten seconds
    assert toolbox.lost_threads == 1
    assert not (await toolbox.run(Tool.of(add), order('{"first": 1}'), Handle())).failed
    release.set()
    await until(lambda: all(not thread.is_running for thread in toolbox._lost))


async def test_with_too_many_lost_threads_tools_are_refused(
    toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads are bounded; when one comes back there is room again."""
    monkeypatch.setattr(toolbox_module, "GRACE_S", 0.02)
    monkeypatch.setattr(toolbox_module, "MAX_LOST_THREADS", 1)
    release = threading.Event()

    async def block() -> None:
        """Block the thread."""
        release.wait(10)

    await toolbox.run(Tool.of(block, timeout_s=0.02), order(), Handle())
    assert "too many tools" in error_of(await toolbox.run(Tool.of(add), order('{"first": 1}'), Handle()))
    release.set()
    await until(lambda: all(not thread.is_running for thread in toolbox._lost))
    assert not (await toolbox.run(Tool.of(add), order('{"first": 1}'), Handle())).failed


async def test_a_call_runs_a_bounded_number_of_tools(toolbox: Toolbox) -> None:
    """More are refused at once, the same id twice too; other calls are not concerned."""
    gate = Gate()

    async def wait() -> str:
        """Wait for the test."""
        await gate.wait()
        return "done"

    tool = Tool.of(wait)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(toolbox.run(tool, order(tool_call_id="t1"), Handle()))
        await until(lambda: len(gate.waiting) == 1)
        assert "too many tools" in error_of(await toolbox.run(tool, order(tool_call_id="t1"), Handle()))
        second = group.create_task(toolbox.run(tool, order(tool_call_id="t2"), Handle()))
        await until(lambda: len(gate.waiting) == 2)
        assert "too many tools" in error_of(await toolbox.run(tool, order(tool_call_id="t3"), Handle()))
        other = group.create_task(toolbox.run(tool, order(tool_call_id="t1"), Handle("c2")))
        await until(lambda: len(gate.waiting) == 3)
        gate.open()
    assert [task.result().result for task in (first, second, other)] == ['"done"'] * 3
    assert not toolbox._per_call


async def test_an_abandoned_tool_is_cut_short_only_when_the_command_says_so(toolbox: Toolbox) -> None:
    """Without cancel it runs to its end, because a half-made booking is worse than an unheard answer."""
    gate = Gate()

    async def wait() -> str:
        """Wait for the test."""
        await gate.wait()
        return "booked"

    for cancel, outcome in ((True, "cancelled"), (False, "ok")):
        gate.waiting.clear()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(toolbox.run(Tool.of(wait), order(), Handle()))
            await until(lambda: bool(gate.waiting))
            toolbox.abandon(AbandonTool("t1", cancel=cancel), "c1")
            if not cancel:
                gate.open()
        assert task.result().outcome == outcome
    toolbox.abandon(AbandonTool("t1", cancel=True), "c1")


async def test_a_tool_can_be_cut_short_before_it_begins(toolbox: Toolbox) -> None:
    """Also one that waits behind a blocking tool answers as soon as the thread does, and never runs."""
    release, blocking, ran = threading.Event(), threading.Event(), threading.Event()

    async def block() -> None:
        """Block the thread."""
        blocking.set()
        release.wait(10)

    async def late() -> None:
        """Come late."""
        ran.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(toolbox.run(Tool.of(block), order(), Handle()))
        await until(blocking.is_set)
        task = group.create_task(toolbox.run(Tool.of(late), order(tool_call_id="t2"), Handle()))
        await until(lambda: ("c1", "t2") in toolbox._running)
        toolbox.abandon(AbandonTool("t2", cancel=True), "c1")
        release.set()
    assert task.result().outcome == "cancelled"
    assert not ran.is_set()


async def test_who_stops_waiting_does_not_stop_the_tool(toolbox: Toolbox) -> None:
    """Cancelling the call's wait leaves the booking to its end."""
    gate, ended = Gate(), threading.Event()

    async def book() -> None:
        """Book a table."""
        await gate.wait()
        ended.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(toolbox.run(Tool.of(book), order(), Handle()))
        await until(lambda: bool(gate.waiting))
        task.cancel()
    assert task.cancelled()
    gate.open()
    await until(ended.is_set)


async def test_closing_cuts_short_and_ends_the_thread() -> None:
    """Afterwards no thread of the toolbox is left."""
    box = Toolbox()
    started = threading.Event()

    async def wait() -> None:
        """Wait for ever."""
        started.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(box.run(Tool.of(wait), order(), Handle()))
        await until(started.is_set)
        await box.close()
    assert task.result().outcome == "cancelled"
    await box.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "talkpath-tools"]


async def test_hang_up_asks_the_call_and_teaches_no_haste(toolbox: Toolbox) -> None:
    """It ends the call through the handle; its description forbids to use it on silence."""
    (tool,) = register_tools()
    handle = Handle()
    finished = await toolbox.run(tool, order("{}", name="hang_up"), handle)
    assert not finished.failed
    assert handle.done == [("hang_up", "")]
    assert "only after the caller has said goodbye" in tool.description
    assert "Never use it because the caller is silent" in tool.description
    assert sys.getsizeof(tool.description) < 1024
