"""Carries out cases of abuse on one gateway, and says of each what was not as it must be.

Quiet cases run side by side, each with numbers of its own; loud ones alone. A case in whose time the witness was
disturbed is tried again, alone: whatever the case itself does to other calls, it does again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from case import AgentCase, CallerCase, Case, Dropped, Ends, GoesOn, GoesOnAnew, Left, Told, TurnedAway
from dialect import Dialect
from dialect_pcm import PCM
from ground import APOLOGY, Ground, Pacing
from msgspec import Struct
from peers import Peer

AT_ONCE = 24
APART_S = 0.035
"""Between the beginnings of two cases, which are calls like any other."""
SHORTEST_S = 0.8
"""Shortest stretch of time of which pacing is judged."""
TRIES = 4
LIMIT_S = 90.0
GONE_WITHIN_S = 30.0
"""How long what a peer leaves behind may stay: a return that is waited for, a token's life, closes."""
Key = tuple[str, str]
"""Dialect and case."""


class Verdict(Struct):
    """What came of one case."""

    problems: list[str]
    """Sentences about what is not as it must be."""
    pacing: Pacing = Pacing(0.0, 0.0, 0.0, 0.0, 0)
    """Of the calls beside it."""
    seconds: float = 0.0
    """How long it took."""
    tries: int = 1
    """How often it was carried out until the calls beside it were not disturbed."""


class Campaign:
    """All cases of one run."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.verdicts: dict[Key, Verdict] = {}
        self.faults: list[str] = []
        """What the log told of faults of the gateway, each with what was going on."""
        self.left: list[str] = []
        """What was left when everything was over."""
        self.told: list[str] = []
        """What took how long."""
        self._running: list[str] = []
        self._log_bytes = ground.log_bytes
        self._numbers = 0

    async def carry_out(self, wanted: Iterable[tuple[Dialect, Case]]) -> None:
        """Carry out cases; afterwards nothing may be left of any of them."""
        wanted = list(wanted)
        await self._warm_up()
        before = await self._inventory()
        quiet = [pair for pair in wanted if not pair[1].loud]
        async with asyncio.TaskGroup() as self._group:
            await self._side_by_side(quiet)
            await self._side_by_side([pair for pair in quiet if self._was_disturbed(*pair)])
            for dialect, case in wanted:
                while self._was_disturbed(dialect, case) and self._tries(dialect, case) < TRIES:
                    await self._try(dialect, case)
        self.left = await self._settled(before)

    async def _warm_up(self) -> None:
        """Do once what leaves something for good: a look, a tool's thread."""
        await self._inventory()
        peer = self._caller(PCM, "handy")
        await peer.call()
        await peer.hang_up()
        await peer.leave()
        await self.ground.until_gone(peer.caller, peer.ports, GONE_WITHIN_S)

    async def _side_by_side(self, wanted: list[tuple[Dialect, Case]]) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def take_place(dialect: Dialect, case: Case) -> None:
            async with places:
                await self._try(dialect, case)

        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for dialect, case in sorted(wanted, key=lambda pair: -getattr(pair[1].then, "within_s", 0.0)):
                group.create_task(take_place(dialect, case))
                await asyncio.sleep(APART_S)
        self.told.append(f"{len(wanted)} side by side in {time.monotonic() - began:.1f} s")

    def _was_disturbed(self, dialect: Dialect, case: Case) -> bool:
        done = self.verdicts.get((dialect.adapter, case.name))
        return done is None or not done.pacing.is_kept

    def _tries(self, dialect: Dialect, case: Case) -> int:
        done = self.verdicts.get((dialect.adapter, case.name))
        return done.tries if done else 0

    # One case

    async def _try(self, dialect: Dialect, case: Case) -> None:
        name = f"{dialect.adapter}: {case.name}"
        peer = self._caller(dialect, case.number if isinstance(case, AgentCase) else "good")
        verdict = Verdict([], tries=self._tries(dialect, case) + 1)
        began = ended = time.monotonic()
        self._running.append(name)
        try:
            async with asyncio.timeout(LIMIT_S if not case.slow else 10 * LIMIT_S):
                if isinstance(case, CallerCase):
                    await case.deed(peer)
                    verdict.problems += await _caller_outcome(peer, case)
                else:
                    verdict.problems += await _agent_outcome(peer, case)
                ended = time.monotonic()
        except Exception as error:  # noqa: BLE001 - told by the test of this case
            verdict.problems.append(f"{type(error).__name__}: {error}")
        finally:
            await peer.leave()
        afterwards = self._group.create_task(self._afterwards(peer, verdict))
        if not case.loud:
            await asyncio.wait({afterwards})
        until = max(ended, began + SHORTEST_S)
        await self.ground.samples_until(until)
        verdict.pacing = self.ground.pacing(began, until)
        verdict.seconds = time.monotonic() - began
        self._read_log()
        self._running.remove(name)
        self.verdicts[dialect.adapter, case.name] = verdict

    async def _afterwards(self, peer: Peer, verdict: Verdict) -> None:
        """See that nothing is left of a peer, and that the next one is welcome."""
        if self.ground.process.returncode is not None:
            verdict.problems.append("the gateway is dead")
            return
        ports = peer.ports if peer.callee == "good" else {*peer.ports, self.ground.hosts[peer.callee].port}
        if not await self.ground.until_gone(peer.caller, ports, GONE_WITHIN_S):
            call = "its call, " if peer.caller in self.ground.callers else ""
            verdict.problems.append(f"left behind: {call}sockets to or from {ports & self.ground.held}")
        fresh = self._caller(peer.dialect, "good")
        try:
            await fresh.call()
            ending = await fresh.hang_up()
            if ending.code != 1000:
                verdict.problems.append(f"the next call ended {ending}")
        except Exception as error:  # noqa: BLE001 - as above
            verdict.problems.append(f"the next call: {type(error).__name__}: {error}")
        finally:
            await fresh.leave()

    def _caller(self, dialect: Dialect, callee: str) -> Peer:
        self._numbers += 1
        return Peer(self.ground, dialect, f"+1700555{self._numbers:05}", callee)

    def _read_log(self) -> None:
        since, self._log_bytes = self._log_bytes, self.ground.log_bytes
        if fault := self.ground.faults(since):
            self.faults.append(f"during {', '.join(self._running)}: {fault}")

    # The whole

    async def _inventory(self) -> dict[str, list[str]]:
        return {
            "tasks": await self.ground.tasks(),
            "calls": [call["caller"] for call in await self.ground.calls()],
            "descriptors": self.ground.descriptors(),
        }

    async def _left(self, before: Mapping[str, list[str]]) -> list[str]:
        now = await self._inventory()
        more = {name: Counter(now[name]) - Counter(were) for name, were in before.items()}
        return [f"more {name}: {dict(more[name])}" for name in before if len(now[name]) > len(before[name])]

    async def _settled(self, before: Mapping[str, list[str]]) -> list[str]:
        """Wait until no more is there than before; gives what is, when it never is so."""
        until = time.monotonic() + GONE_WITHIN_S
        while (left := await self._left(before)) and time.monotonic() < until:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
        return left


async def _caller_outcome(peer: Peer, case: CallerCase) -> list[str]:
    match case.then:
        case GoesOn(within_s):
            if not await peer.asks(within_s):
                return [f"the call did not go on: {await peer.socket.ending(0)}"]
            ending = await peer.hang_up()
            return [] if ending.code == 1000 else [f"hanging up was answered {ending}"]
        case Told(code, words, within_s):
            ending = await peer.socket.ending(within_s)
            if ending.code != code or words not in ending.reason or "\n" in ending.reason:
                return [f"it was told {ending}, not {code} {words!r}"]
        case TurnedAway(status, words):
            said = peer.socket.answer.split(" ")
            found = peer.socket.status or int(said[1] if len(said) > 1 else 0)
            if found != status or words not in peer.socket.answer:
                return [f"it was answered {found} {peer.socket.answer[:200]!r}, not {status} {words!r}"]
        case Dropped(within_s):
            if not await peer.ground.until_gone("", peer.ports, within_s):
                return ["the connection is still held"]
        case Left():
            pass
    return []


async def _agent_outcome(peer: Peer, case: AgentCase) -> list[str]:
    host = peer.ground.hosts[case.number]
    began = host.before = len(host.peers)
    await peer.arrive()
    await peer.say(*peer.dialect.begin(peer.way), peer.dialect.sound(peer.way, bytes(160)))
    problems = []
    match case.then:
        case GoesOn(within_s) | GoesOnAnew(within_s):
            if not await peer.asks(within_s):
                problems.append(f"the call did not go on: {await peer.socket.ending(0)}")
            connections = len(host.peers) - began
            if (connections > 1) is isinstance(case.then, GoesOn):
                problems.append(f"the agent was connected to {connections} times")
        case Ends(within_s):
            ending = await peer.socket.ending(within_s)
            if ending.code != 1000 or APOLOGY not in peer.heard:
                problems.append(f"the caller was told {ending}, and heard {len(peer.heard)} bytes")
        case Left():
            pass
    if also := case.also(peer, host):
        problems.append(also)
    if not peer.socket.is_over:
        ending = await peer.hang_up()
        if ending.code != 1000:
            problems.append(f"hanging up was answered {ending}")
    return problems
