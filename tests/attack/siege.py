"""Carries attacks out, one after the other, beside honest callers, and says of each what was not as it must be."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attack import Attack
from castle import ACCOUNT, API_KEY, APPLICATION, KEY, TWILIO_TOKEN, VONAGE_SECRET, Castle, Place, castle
from counted_attacks import COUNTED
from flood_attacks import FLOODS, calls
from gates import Gate
from gates_of_clients import GATES
from ground import BOUND_MS, BUSY_MS, Pacing, wait_for
from http_attacks import HTTP
from machine_attacks import MACHINE
from msgspec import Struct
from proof_attacks import PROOFS, grow_old

from gateway.simulate.browser import BrowserCaller
from gateway.simulate.pcm import PcmCaller
from gateway.simulate.result import CallResult
from gateway.simulate.script import CallScript
from gateway.simulate.twilio import TwilioCaller
from gateway.simulate.vonage import VonageCaller

ATTACKS = [*PROOFS, *MACHINE, *HTTP, *FLOODS, *COUNTED]
SHORTEST_S = 1.0
"""Shortest stretch of time of which pacing is judged."""
TRIES = 4
LIMIT_S = 120.0
STAYS = CallScript(hang_up=False, max_s=1500)


class Verdict(Struct):
    """What came of one attack on one gate."""

    problems: list[str]
    """Sentences about what is not as it must be."""
    attempts: int = 0
    """How often the door was tried."""


class Siege:
    """All attacks on one gateway."""

    def __init__(self, castle: Castle) -> None:
        self.castle = castle
        self.verdicts: dict[tuple[str, str], Verdict] = {}
        self.pacing: dict[str, Pacing] = {}
        """Of the calls beside each attack."""
        self.calm: Pacing | None = None
        """Of the same calls before."""
        self.honest: dict[str, CallResult] = {}
        """Calls of simulated carriers and clients that went on all the time."""
        self.afterwards: list[str] = []
        """What was wrong with the calls that came afterwards."""
        self.left: list[str] = []
        """What was left behind."""
        self.faults = ""
        """What the log tells of faults of the gateway."""

    def is_paced(self, attack: Attack) -> bool:
        """Whether the calls beside it were no more than 5 ms later than before, or than the machine took.

        On a machine that is busy with other things the gateway's own work tells: it must be done with everything of a
        stranger within 5 ms, 99 times of 100, whoever came meanwhile.
        """
        pacing, calm = self.pacing[attack.name], self.calm
        assert calm
        own = pacing.echo_ms > BUSY_MS and pacing.work_ms <= BOUND_MS
        return own or pacing.is_kept or pacing.gateway_ms <= calm.gateway_ms + BOUND_MS

    async def lay(self, wanted: Iterable[tuple[Attack, Gate]]) -> None:
        """Attack."""
        attacks: dict[str, tuple[Attack, list[Gate]]] = {}
        for attack, gate in wanted:
            attacks.setdefault(attack.name, (attack, []))[1].append(gate)
        under = self.castle.ground
        await under.tasks()  # from here on its work is measured
        await calls(self.castle)  # what is done once, is done
        await self.castle.until_calm()
        before = await under.tasks(), under.descriptors()
        began = time.monotonic()
        await asyncio.sleep(2 * SHORTEST_S)
        await under.samples_until(time.monotonic())
        self.calm = under.pacing(began, time.monotonic())
        async with self._honest_callers():
            if "expired" in attacks:
                await grow_old(self.castle)
            for attack, gates in attacks.values():
                await self._attack(attack, gates)
        self.afterwards = [str(one) for one in await calls(self.castle) if not one.heard]
        await self.castle.until_calm()
        self.left = await self._left(*before)
        self.faults = under.faults(0)

    async def _attack(self, attack: Attack, gates: list[Gate]) -> None:
        for _ in range(TRIES):
            began = time.monotonic()
            for gate in gates:
                self.verdicts[attack.name, gate.name] = await tried(self.castle, attack, gate)
            until = max(time.monotonic(), began + SHORTEST_S)
            await self.castle.ground.samples_until(until)
            self.pacing[attack.name] = self.castle.ground.pacing(began, until)
            if self.is_paced(attack):
                return

    @asynccontextmanager
    async def _honest_callers(self) -> AsyncIterator[None]:
        callers = honest_callers(self.castle)
        async with asyncio.TaskGroup() as group:
            agent = self.castle.ground.hosts["good"]
            expected = len(agent.peers) + len(callers)
            tasks = {name: group.create_task(caller.run()) for name, caller in callers.items()}
            try:
                await wait_for(lambda: len(agent.peers) >= expected, 15)
                yield
                await asyncio.sleep(SHORTEST_S)  # the agent's greeting takes so long at least
            finally:
                for caller in callers.values():
                    caller.hang_up()
                self.honest = {name: await task for name, task in tasks.items()}

    async def _left(self, tasks: list[str], descriptors: list[str]) -> list[str]:
        """Wait until there is no more than before; gives what there is when that never is so."""
        for _ in range(100):
            now = await self.castle.ground.tasks(), self.castle.ground.descriptors()
            if len(now[0]) <= len(tasks) and len(now[1]) <= len(descriptors):
                return []
            await asyncio.sleep(0.2)
        return [f"{len(now[0])} tasks, not {len(tasks)}", f"{len(now[1])} open files, not {len(descriptors)}"]


async def tried(castle: Castle, attack: Attack, gate: Gate) -> Verdict:
    """Carry out one attack on one gate."""
    prizes, honest = castle.prizes, castle.honest_prizes
    try:
        async with asyncio.timeout(LIMIT_S):
            found = await attack.deed(castle, gate)
    except (AssertionError, TimeoutError, OSError) as error:
        return Verdict([f"{type(error).__name__}: {error}"])
    problems = [str(one) for one in found if not attack.refused(one)]
    if (won := castle.prizes - prizes - (castle.honest_prizes - honest)) > 0:
        problems.append(f"the agent was reached {won} times")
    if castle.ground.process.returncode is not None:
        problems.append("the gateway is dead")
    return Verdict(problems, len(found))


def honest_callers(castle: Castle) -> dict[str, Any]:
    """Simulated carriers and clients, which call until they are told to hang up."""
    url, public = castle.ground.url, castle.place != "loopback"
    here: dict[str, Any] = {"script": STAYS, "caller": castle.number(), "callee": "good"}
    known: dict[str, Any] = {**here, "public_url": castle.origin} if public else here
    account: dict[str, Any] = {"application_id": APPLICATION, "api_key": API_KEY}
    key = KEY if public else None
    return {
        "twilio": TwilioCaller(url, token=TWILIO_TOKEN, account_sid=ACCOUNT, **known),
        "vonage": VonageCaller(url, secret=VONAGE_SECRET, **account, **known),
        "browser": BrowserCaller(url, key=key, **here),
        "pcm": PcmCaller(url, key=key, **here),
    }


def pairs(place: Place) -> list[tuple[Attack, Gate]]:
    """Every attack on every gate where there is such a thing."""
    return [
        (attack, gate)
        for attack in ATTACKS
        if attack.place == place
        for gate in GATES.values()
        if attack.suits(gate)
    ]


async def besiege(folder: Path, place: Place, wanted: list[tuple[Attack, Gate]]) -> Siege:
    """Attack a gateway of its own."""
    async with castle(folder, place) as under:
        siege = Siege(under)
        await siege.lay(wanted)
        return siege
