"""Whoever has no proof is refused before anything of theirs is heard, and disturbs nobody."""

import asyncio
from typing import get_args

import pytest
import wires
from attack import Attack
from castle import Place
from figures import tell
from gates import Gate
from gates_of_clients import GATES
from siege import ATTACKS, Siege, besiege, pairs

PAIRS = [
    pytest.param(place, attack, gate, id=f"{gate.name}-{attack.name}")
    for place in get_args(Place)
    for attack, gate in pairs(place)
]
BY_ATTACK = [pytest.param(attack.place, attack, id=attack.name) for attack in ATTACKS]
pytestmark = pytest.mark.timeout(1200)
Sieges = dict[Place, Siege]


@pytest.fixture(scope="module")
def sieges(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sieges:
    """All attacks that are asked for, on gateways of their own."""
    here = [
        item.callspec.params
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    asked = {params["attack"].name for params in here if "attack" in params}
    found: Sieges = {}
    for place in get_args(Place):
        wanted = [(attack, gate) for attack, gate in pairs(place) if attack.name in asked]
        found[place] = asyncio.run(besiege(tmp_path_factory.mktemp(place), place, wanted))
        tell("attack", _figures(found[place]))
    return found


def _figures(siege: Siege) -> str:
    attempts = sum(verdict.attempts for verdict in siege.verdicts.values())
    late = sorted(siege.pacing.values(), key=lambda pacing: pacing.gateway_ms)
    worst = (
        f"{late[-1].gateway_ms:.1f} ms beside the worst (an echo: {late[-1].echo_ms:.1f} ms)" if late else ""
    )
    calm = siege.calm.gateway_ms if siege.calm else 0.0
    return f"{siege.castle.place}: {attempts} attempts; frames of other calls were late by {calm:.1f} ms before and {worst}"


@pytest.mark.parametrize(("place", "attack", "gate"), PAIRS)
def test_an_attack_is_refused(sieges: Sieges, place: Place, attack: Attack, gate: Gate) -> None:
    """Every attempt is answered as it must be, and no agent is reached."""
    verdict = sieges[place].verdicts[attack.name, gate.name]
    assert verdict.problems == []
    assert verdict.attempts or attack.name == "another machine", "nothing was tried"


@pytest.mark.parametrize(("place", "attack"), BY_ATTACK)
def test_calls_in_progress_keep_their_pace(sieges: Sieges, place: Place, attack: Attack) -> None:
    """99 of 100 frames of other calls are no more than 5 ms later than before, or than the machine takes."""
    siege = sieges[place]
    assert siege.is_paced(attack), (siege.calm, siege.pacing[attack.name])


@pytest.mark.parametrize("place", get_args(Place))
def test_honest_calls_go_on(sieges: Sieges, place: Place) -> None:
    """Simulated carriers and clients hear their agent, and stay until they hang up; the next ones are welcome."""
    siege = sieges[place]
    assert {name: result.end_reason for name, result in siege.honest.items()} == dict.fromkeys(
        siege.honest, "caller_hung_up"
    )
    assert all(result.heard and result.sockets == 1 for result in siege.honest.values())
    assert siege.afterwards == []


@pytest.mark.parametrize("place", get_args(Place))
def test_nothing_is_left(sieges: Sieges, place: Place) -> None:
    """Afterwards the process has as many tasks and open files as before, and its log tells of no fault."""
    assert sieges[place].left == []
    assert sieges[place].faults == ""


def test_every_adapter_is_attacked() -> None:
    """An adapter that is registered is attacked; describe in tests/attack/gates.py how its peers prove themselves."""
    assert set(GATES) - {"api"} == set(wires.adapters())


def test_every_attack_has_a_name_of_its_own() -> None:
    """No attack hides another one."""
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
