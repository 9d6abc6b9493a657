"""Runs one tool at a time for whoever asks, on a thread of its own, and explains failure to the agent.

Owns validation of arguments, limits of time, size and number, and the loop thread on which all tools run. Refuses
to let a tool disturb a call: a call waits a second longer than the tool's timeout at most, whatever the tool does.
A tool that blocks the thread delays other tools until its own timeout; then the thread is given up and the next
tool gets a new one. Python cannot end a thread, so a blocked one lives on; while there are `MAX_LOST_THREADS` of
them tools are refused, and the process should be restarted. Nothing that a tool was told or says is logged.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import logging
import threading
import traceback
from collections import Counter
from typing import Any, Final

import msgspec

from gateway.commands import AbandonTool, RunTool
from gateway.errors import ToolError
from gateway.events import ToolFinished
from gateway.redaction import REDACTION
from gateway.tools import CallHandle, Tool

MAX_RESULT_BYTES: Final = 65_536
"""Largest result, as JSON."""
MAX_RUNNING: Final = 1024
"""Tools of all calls at once; those that ignore their timeout count until they end."""
MAX_LOST_THREADS: Final = 8
"""Blocked threads after which no new one is made."""
MAX_SENTENCE: Final = 2000
"""Longest sentence about a failure, in characters."""
GRACE_S: Final = 0.5
"""How long after its timeout a tool may take to be cut short before the call goes on without it."""

_FAILED: Final = "the tool failed, and it is not known whether it did its work; tell the caller that it did not work just now"
_BUSY: Final = "too many tools are running; wait for one of them, then try again"

_log = logging.getLogger("talkpath.tools")


class Toolbox:
    """Runs tools; one for the process. Close it when no call is left."""

    def __init__(self, at_once: int = 8) -> None:
        """``at_once`` is how many tools one call may run at the same time (``limits.tool_calls``)."""
        self._at_once = at_once
        self._per_call: Counter[str] = Counter()
        self._running: dict[tuple[str, str], tuple[_Run, _Thread]] = {}
        self._thread: _Thread | None = None
        self._lost: list[_Thread] = []

    @property
    def lost_threads(self) -> int:
        """Threads that tools have blocked and that were given up."""
        return len(self._lost)

    async def run(self, tool: Tool | None, command: RunTool, handle: CallHandle) -> ToolFinished:
        """Run a tool to its end; never raises for the tool's sake. None is a tool that the agent does not have.

        Cancelling the caller of this does not cut the tool short: a half-made booking is worse than an unheard
        answer. `abandon` does.
        """
        call_id, tool_call_id = handle.info.call_id, command.tool_call_id
        if tool is None:
            return failure(
                tool_call_id, "unknown_tool", f"there is no tool {command.name!r}; do not call it again"
            )
        try:
            arguments = msgspec.json.decode(command.arguments or "{}", type=tool.arguments)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return failure(tool_call_id, "invalid_arguments", f"invalid arguments: {error}; correct them")
        if self._per_call[call_id] >= self._at_once or (call_id, tool_call_id) in self._running:
            return failure(tool_call_id, "error", _BUSY)
        thread = self._living_thread()
        if thread is None or thread.runs >= MAX_RUNNING:
            return failure(tool_call_id, "error", _BUSY)
        run = _Run(tool, arguments, handle, tool_call_id)
        self._per_call[call_id] += 1
        self._running[call_id, tool_call_id] = (run, thread)
        try:
            return await self._wait(run, thread)
        finally:
            del self._running[call_id, tool_call_id]
            self._per_call[call_id] -= 1
            if not self._per_call[call_id]:
                del self._per_call[call_id]

    def abandon(self, command: AbandonTool, call_id: str) -> None:
        """Nobody waits for this tool any more: cut it short if the command says so, else let it end."""
        running = self._running.get((call_id, command.tool_call_id))
        if command.cancel and running is not None:
            run, thread = running
            thread.cancel(run)

    async def close(self, wait_s: float = 5.0) -> None:
        """Cut short what still runs and end the thread, in bounded time."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            await asyncio.to_thread(thread.join, wait_s)

    async def _wait(self, run: "_Run", thread: "_Thread") -> ToolFinished:
        thread.start(run)
        try:
            async with asyncio.timeout(run.tool.timeout_s + GRACE_S):
                # Shielded, because to cancel this future would cancel the tool.
                return await asyncio.shield(asyncio.wrap_future(run.answer))
        except TimeoutError:
            thread.cancel(run)
            await self._replace_if_blocked(thread)
            _log.warning("tool %s did not end in time and could not be cut short", run.tool.name)
            return _timed_out(run.tool_call_id, run.tool)

    async def _replace_if_blocked(self, thread: "_Thread") -> None:
        if thread is not self._thread or await thread.answers(GRACE_S) or thread is not self._thread:
            return
        _log.error("a tool blocks the thread on which tools run; the next tool gets a new one")
        thread.retire()
        self._lost.append(thread)
        self._thread = None

    def _living_thread(self) -> "_Thread | None":
        self._lost = [thread for thread in self._lost if thread.is_running]
        if self._thread is not None and not self._thread.is_running:
            self._thread = None
        if self._thread is None and len(self._lost) < MAX_LOST_THREADS:
            self._thread = _Thread()
        return self._thread


class _Run:
    """One tool, from the moment it was asked for to its answer."""

    def __init__(self, tool: Tool, arguments: msgspec.Struct, handle: CallHandle, tool_call_id: str) -> None:
        self.tool = tool
        self.tool_call_id = tool_call_id
        self.answer: concurrent.futures.Future[ToolFinished] = concurrent.futures.Future()
        self.is_cut = False
        self.context = contextvars.copy_context()  # what the call connects for, on the tools' thread too
        self._arguments = {name: getattr(arguments, name) for name in type(arguments).__struct_fields__}
        if tool.takes_call:
            self._arguments["call"] = handle

    async def execute(self) -> None:
        """Run the tool and set the answer; `cut_short` sets it for one that was cancelled."""
        self.answer.set_result(await self._outcome())

    def cut_short(self) -> None:
        """Set the answer if there is none."""
        if not self.answer.done():
            self.answer.set_result(failure(self.tool_call_id, "cancelled", "the tool was cut short"))

    async def _outcome(self) -> ToolFinished:
        limit = asyncio.timeout(self.tool.timeout_s)
        try:
            async with limit:
                value = await self.tool.run(**self._arguments)
            result = msgspec.json.encode(value)
        except ToolError as error:
            return failure(self.tool_call_id, "error", str(error))
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - a tool must not end our thread
            if isinstance(error, TimeoutError) and limit.expired():
                return _timed_out(self.tool_call_id, self.tool)
            place = _place(error, self.tool)
            _log.warning("tool %s failed with %s at %s", self.tool.name, type(error).__name__, place)
            return failure(self.tool_call_id, "error", _FAILED)
        if len(result) > MAX_RESULT_BYTES:
            _log.warning("tool %s gave a result of %d bytes", self.tool.name, len(result))
            return failure(self.tool_call_id, "error", "the result is too large; ask for less")
        return ToolFinished(tool_call_id=self.tool_call_id, result=result.decode())


class _Thread:
    """A thread with an event loop on which tools run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._orders: asyncio.Queue[_Run | None] = asyncio.Queue()
        self._tasks: dict[_Run, asyncio.Task[None]] = {}
        self._waiting: set[_Run] = set()
        self._thread = threading.Thread(target=self._work, name="talkpath-tools", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def runs(self) -> int:
        """How many tools it has, those that ignore their timeout included."""
        return len(self._waiting)

    def start(self, run: _Run) -> None:
        self._waiting.add(run)
        run.answer.add_done_callback(lambda _answer: self._waiting.discard(run))
        self._tell(self._orders.put_nowait, run)

    def cancel(self, run: _Run) -> None:
        self._tell(self._cancel_task, run)

    def retire(self) -> None:
        """Take no more tools, and end when the last one has."""
        self._tell(self._orders.put_nowait, None)

    def stop(self) -> None:
        """Cut all tools short and end."""
        self.retire()
        self._tell(self._cancel_all)

    def join(self, wait_s: float) -> None:
        self._thread.join(wait_s)

    async def answers(self, within_s: float) -> bool:
        """Whether the thread does anything at all."""
        answer: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._tell(lambda: answer.set_result(None))
        try:
            async with asyncio.timeout(within_s):
                await asyncio.shield(asyncio.wrap_future(answer))
        except TimeoutError:
            return False
        return True

    def _tell(self, *order: Any) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: there is nothing left to order
            self._loop.call_soon_threadsafe(*order)

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._carry_out_orders())

    async def _carry_out_orders(self) -> None:
        async with asyncio.TaskGroup() as group:
            while (run := await self._orders.get()) is not None:
                if not run.is_cut:
                    self._tasks[run] = task = group.create_task(run.execute(), context=run.context)
                    task.add_done_callback(functools.partial(self._done, run))

    def _done(self, run: _Run, _task: asyncio.Task[None]) -> None:
        del self._tasks[run]
        run.cut_short()  # a task that was cancelled before its first step has set nothing

    def _cancel_task(self, run: _Run) -> None:
        run.is_cut = True
        if task := self._tasks.get(run):
            task.cancel()
        else:
            run.cut_short()  # it has not begun, or has ended

    def _cancel_all(self) -> None:
        for task in self._tasks.values():
            task.cancel()


def failure(tool_call_id: str, outcome: str, sentence: str) -> ToolFinished:
    """Make the answer that tells an agent in a sentence what went wrong."""
    told = REDACTION.without_secrets(sentence)[:MAX_SENTENCE]
    result = msgspec.json.encode({"error": told}).decode()
    return ToolFinished(tool_call_id=tool_call_id, result=result, failed=True, outcome=outcome)


def _timed_out(tool_call_id: str, tool: Tool) -> ToolFinished:
    sentence = f"no answer within {tool.timeout_s:g} seconds, and it is not known whether the work was done"
    return failure(tool_call_id, "timeout", sentence)


def _place(error: BaseException, tool: Tool) -> str:
    """The last file and line of the tool's own package before an exception was raised, else where it was raised.

    Its text may hold what a caller said.
    """
    package = getattr(tool.run, "__module__", "").partition(".")[0]
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [step for step in frames if step[0].f_globals.get("__name__", "").partition(".")[0] == package]
    for frame, line in reversed(own or frames):
        return f"{frame.f_code.co_filename}:{line}"
    return "an unknown place"
