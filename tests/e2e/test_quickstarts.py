"""Clients in the shape of the provider's quickstarts work with nothing but the address changed."""

import asyncio
import json
import wave
from pathlib import Path

import pytest
from command_line import Finished
from quickstarts import PROMPT, SECOND_GREETING, talk_everywhere
from speech import hearing_needed
from together import Outcomes

from gateway.audio import PCM_24K, level_dbfs

pytestmark = [
    hearing_needed,
    pytest.mark.timeout(240),
]  # recognition gives way to whatever else the machine does
AUDIBLE_DBFS = -50.0
EVERYWHERE = ["", ", provider"]
"""With the offline agent in the gateway, and with an agent of its own behind it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstarts")


@pytest.fixture(scope="module")
def seen(folder: Path) -> Outcomes[Finished]:
    """All of them, run once."""
    return asyncio.run(talk_everywhere(folder))


def lines(finished: Finished) -> list[str]:
    assert (finished.code, finished.err) == (0, ""), finished
    return finished.out.splitlines()


def told(finished: Finished, what: str) -> list[str]:
    """What a client printed behind a word."""
    return [line.removeprefix(f"{what}: ") for line in lines(finished) if line.startswith(f"{what}: ")]


def spoken(finished: Finished) -> list[str]:
    """What was said on either side, as one conversation."""
    return [
        line for line in lines(finished) if line.startswith(("caller: ", "agent: ", "error: ", "closed: "))
    ]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_terminal_client_is_understood_and_answered(seen: Outcomes[Finished], where: str) -> None:
    """A terminal client greets, is understood, hears the answer and ends with 1000."""
    assert spoken(seen[f"terminal{where}"]) == [
        "agent: Hello, I drive the rover.",
        "caller: go forward ten meters",
        "agent: Going forward ten meters.",
        "closed: 1000",
    ]


def test_a_terminal_client_has_sound_for_its_loudspeaker(seen: Outcomes[Finished], folder: Path) -> None:
    """What it was sent to play is 24 kHz PCM that can be heard."""
    assert lines(seen["terminal"])
    with wave.open(str(folder / "heard.wav")) as file:
        heard = file.readframes(file.getnframes())
    assert len(heard) > 2 * PCM_24K.rate_hz * PCM_24K.sample_bytes
    assert level_dbfs(heard, PCM_24K) > AUDIBLE_DBFS


def test_a_wrong_key_is_told_in_band(seen: Outcomes[Finished]) -> None:
    """A client with a wrong key reads `unauthorized` and is closed with 1008."""
    refused = seen["terminal, wrong key"]
    assert lines(refused) == ["error: unauthorized Authentication failed", "closed: 1008"]


def test_a_page_uses_its_token_once(seen: Outcomes[Finished]) -> None:
    """A page holds a session with a minted token, sees no prompt of the route, and is refused when it uses it again."""
    visited = lines(seen["page"])
    assert visited[0].startswith("session: sess_")
    assert visited[1:] == [
        'prompt: ""',
        "agent: Hello, page.",
        "closed: 1000",
        "error: unauthorized",
        "closed: 1008",
    ]
    assert PROMPT not in seen["page"].out


def test_a_page_from_elsewhere_is_refused(seen: Outcomes[Finished]) -> None:
    """A page whose origin the configuration does not name is refused with a good token."""
    assert lines(seen["page from elsewhere"])[:2] == ["error: unauthorized", "closed: 1008"]


DONE = "agent: has done a reply"


def check_tool_ran_once(finished: Finished) -> list[str]:
    """Whether the tool ran once and the agent spoke of its result; gives everything from its call on."""
    printed = lines(finished)
    assert [line for line in spoken(finished) if line != DONE] == [
        "agent: Where to?",
        "caller: go forward ten meters",
        "agent: calls drive",
        "agent: Going forward ten meters.",
        "closed: 1000",
    ]
    assert printed.count("tool: drives forward 10 meters") == printed.count("tool: sends its result") == 1
    return printed[printed.index("agent: calls drive") :]


def test_results_that_are_held_until_a_reply_is_done(seen: Outcomes[Finished]) -> None:
    """A result that waits for the end of the reply is taken, the tool runs once, and the answer is spoken."""
    printed = check_tool_ran_once(seen["held, provider"])
    sent = printed.index("tool: sends its result")
    assert printed.index(DONE) < sent < printed.index("agent: Going forward ten meters.")


def test_results_that_are_sent_at_once(seen: Outcomes[Finished]) -> None:
    """A result that is sent as soon as it is there is taken, the tool runs once, and the answer is spoken."""
    printed = check_tool_ran_once(seen["at once"])
    assert printed.index("tool: sends its result") - printed.index("tool: drives forward 10 meters") == 1


@pytest.mark.parametrize(("which", "greeting"), [("second", SECOND_GREETING), ("stored", "Hello, this is")])
def test_an_agent_is_asked_for_by_its_id(seen: Outcomes[Finished], which: str, greeting: str) -> None:
    """`agent_id` reaches one of our agents, and a stored one of the provider where the route allows it."""
    (said,) = told(seen[which], "agent")
    assert said.startswith(greeting)
    assert lines(seen[which])[-1] == "closed: 1000"


def test_a_stored_agent_needs_the_routes_leave(seen: Outcomes[Finished]) -> None:
    """Where the route does not let clients name stored agents there is none of that id."""
    assert lines(seen["stored, not allowed"]) == ["error: agent_not_found", "closed: 1008"]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_session_goes_on_after_its_socket_broke(seen: Outcomes[Finished], where: str) -> None:
    """On a new socket, with key or resume token, the session is the same and the rest of the greeting is heard."""
    resumed = seen[f"resume{where}"]
    first, second = told(resumed, "session")
    assert first == second
    assert told(resumed, "agent")[0].endswith("comes after the break.")
    (heard,) = (line for line in lines(resumed) if line.startswith("heard "))
    assert int(heard.split()[1]) > PCM_24K.rate_hz * PCM_24K.sample_bytes
    assert lines(resumed)[-1] == "closed: 1000"


def test_prompt_and_turn_detection_change_in_a_session(seen: Outcomes[Finished]) -> None:
    """A later update is echoed, the next reply follows it, and what is fixed by then is refused without an end."""
    updated = seen["update"]
    before, after = told(updated, "prompt")
    assert (before.split(". ")[0], after.split(". ")[0]) == ("You are a baker", "You are a florist")
    assert told(updated, "agent") == ["Hello.", f"My prompt is: {before}", f"My prompt is: {after}"]
    (detection,) = told(updated, "turn detection")
    assert json.loads(detection) == {"interrupt_response": False, "max_silence": 4000, "min_silence": 1200}
    assert told(updated, "error") == ["immutable_field greeting"]
    assert lines(updated)[-1] == "closed: 1000"
