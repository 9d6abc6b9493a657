"""What the caller said to an agent that did not take it is told again: all of it, in order, and nothing else."""

from play import Play, caller_audio, reply, terms

from gateway.call.conversation import GO_ON, SAY_AGAIN
from gateway.commands import AskReply, SendAudio, WatchdogFired
from gateway.events import (
    AgentLost,
    AgentReady,
    AgentRefused,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    UserSaid,
)
from gateway.terms import AgentTerms

LOUD, QUIET = -20.0, -100.0


class Caller:
    """Speaks frame by frame; each frame has a number."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.said = 0

    def says(self, ms: float, level: float) -> list[int]:
        """Sounds for a while; gives the numbers that the agent got meanwhile."""
        got = []
        for _ in range(int(ms / 20)):
            self.said += 1
            got += numbers(self.play.on(caller_audio(level=level, tag=self.said), ...))
            got += numbers(self.play.wait(0.02, ...))
        return got


def numbers(commands: object) -> list[int]:
    """The numbers of the frames that went to the agent."""
    assert isinstance(commands, list)
    return [int.from_bytes(c.audio[:4], "big") for c in commands if isinstance(c, SendAudio)]


def talking(**changes: float) -> tuple[Play, Caller]:
    """A call whose agent has been there for a while, and answered."""
    play = Play.talking(terms(AgentTerms("main", **changes)))  # type: ignore[arg-type]
    caller = Caller(play)
    caller.says(12_000, QUIET)
    return play, caller


def comes_back(play: Play, *, resumed: bool) -> list[int]:
    """The agent is there again; gives what it is told within five seconds."""
    got = numbers(play.on(AgentReady("s", resumed=resumed), ...))
    return got + numbers(play.wait(5, ...))


def test_a_new_session_hears_the_utterance_from_its_beginning() -> None:
    """The old session took its half of the sentence with it; the new one is told both halves, and the pause before."""
    play, caller = talking()
    before = caller.said
    caller.says(600, LOUD)
    play.on(SpeechStarted())
    caller.says(400, LOUD)
    play.on(AgentLost("1006"), ...)
    caller.says(200, LOUD)
    play.on(AgentRefused("session_not_found", "", "renew"), ...)
    got = comes_back(play, resumed=False)
    assert got == list(range(got[0], caller.said + 1))
    assert before - 15 <= got[0] <= before - 5


def test_a_session_that_goes_on_is_not_told_twice() -> None:
    """It has heard what was said before its connection broke, and only hears the rest."""
    play, caller = talking()
    caller.says(1000, LOUD)
    play.on(AgentLost("1006"), ...)
    lost_at = caller.said
    caller.says(200, LOUD)
    assert comes_back(play, resumed=True) == list(range(lost_at + 1, caller.said + 1))


def test_what_went_down_with_the_connection_is_said_again() -> None:
    """A connection that was dead for two seconds before it was missed has swallowed two seconds of the caller."""
    play, caller = talking()
    caller.says(3000, LOUD)
    play.on(AgentLost("nothing has come for 2 s", unheard_ms=2000), ...)
    lost_at = caller.said
    caller.says(200, LOUD)
    lead_in = 0  # what came before was heard
    assert comes_back(play, resumed=True) == list(range(lost_at - 100 + 1 - lead_in, caller.said + 1))


def test_words_that_were_understood_are_not_told_again() -> None:
    """A new session knows them from the transcript in its prompt."""
    play, caller = talking()
    caller.says(1000, LOUD)
    play.on(SpeechStarted())
    caller.says(400, QUIET)
    play.on([SpeechStopped(), UserSaid("Two loaves, please.", final=True)], ...)
    caller.says(100, QUIET)
    play.on(AgentLost("1011", "renew"), ...)
    caller.says(200, QUIET)
    assert comes_back(play, resumed=False) == list(range(caller.said - 9, caller.said + 1))
    assert AskReply(GO_ON) in play.commands


def test_words_that_were_heard_but_not_understood_yet_are_told_again() -> None:
    """Between the end of an utterance and its transcript the agent may take seconds; it may be lost then, too."""
    play, caller = talking()
    first = caller.said + 1
    caller.says(1000, LOUD)
    play.on(SpeechStarted())
    caller.says(1500, QUIET)
    play.on(SpeechStopped(), ...)
    play.on(ReplyStarted("r1"), ...)
    play.on(AgentLost("1006", "renew"), ...)
    got = comes_back(play, resumed=False)
    assert got[0] <= first
    assert got == list(range(got[0], caller.said + 1))
    assert AskReply(GO_ON) not in play.commands


def test_only_the_newest_seconds_are_told_again() -> None:
    """An utterance longer than `keep_s` loses its beginning."""
    play, caller = talking(keep_s=2.0)
    caller.says(1000, LOUD)
    play.on(SpeechStarted())
    caller.says(4000, LOUD)
    play.on(AgentLost("1006", "renew"), ...)
    caller.says(500, LOUD)
    got = comes_back(play, resumed=False)
    assert got == list(range(caller.said - 99, caller.said + 1))


def test_a_pause_is_not_told_again() -> None:
    """Nobody spoke: the new session hears the caller's line as it is now, without delay."""
    play, caller = talking()
    play.on(reply(300), ...)
    caller.says(1000, QUIET)
    play.on(AgentLost("1006", "renew"), ...)
    assert comes_back(play, resumed=False) == []


def test_a_voice_that_the_agent_never_noticed_is_told_again_for_a_moment() -> None:
    """It may be the beginning of a sentence; a noise that goes on and on is none."""
    play, caller = talking()
    caller.says(6000, LOUD)
    play.on(AgentLost("1006", "renew"), ...)
    got = comes_back(play, resumed=False)
    assert got == list(range(caller.said - 74, caller.said + 1))


def test_a_deaf_session_is_replaced_by_one_that_is_told_what_it_missed() -> None:
    """The watch finds an agent that gives no sign; what the caller said last is not lost with it."""
    play, caller = talking(deaf_s=4.0, keep_s=3.0)
    caller.says(4200, LOUD)
    lost_at = caller.said - 10
    got = comes_back(play, resumed=False)
    assert got[0] <= lost_at - 120
    assert got == list(range(got[0], caller.said + 1))


def test_an_agent_lost_twice_is_told_all_that_no_session_took() -> None:
    """What was told again and not understood either is told once more."""
    play, caller = talking()
    first = caller.said + 1
    caller.says(600, LOUD)
    play.on(SpeechStarted())
    play.on(AgentLost("1006", "renew"), ...)
    got = comes_back(play, resumed=False)
    assert got[0] <= first
    play.on(AgentLost("1006", "renew"), ...)
    caller.says(200, LOUD)
    play.wait(1, ...)
    assert comes_back(play, resumed=False) == list(range(got[0], caller.said + 1))


def asked(play: Play) -> list[str]:
    """What the agent was asked to say."""
    return [command.instructions for command in play.commands if isinstance(command, AskReply)]


def test_a_sentence_that_the_new_session_never_noticed_is_asked_for() -> None:
    """The caller spoke, falls silent and waits; an agent that gives no sign of it must not leave the line dead."""
    play, caller = talking()
    caller.says(1000, LOUD)
    play.on(SpeechStarted())
    caller.says(400, LOUD)
    play.on(AgentLost("1006", "renew"), ...)
    play.on(AgentReady("s"), ...)
    caller.says(5900, QUIET)
    assert asked(play) == []
    caller.says(200, QUIET)
    assert asked(play) == [SAY_AGAIN]
    assert play.items(WatchdogFired) == [WatchdogFired("unheard_caller", "the caller's words led to nothing")]
    caller.says(10_000, QUIET)
    assert asked(play) == [SAY_AGAIN]


def test_a_sentence_that_could_not_be_kept_is_asked_for() -> None:
    """The caller fell silent while nobody listened, and nothing is kept."""
    play, caller = talking(keep_s=0.0)
    caller.says(1000, LOUD)
    play.on(SpeechStarted())
    caller.says(400, LOUD)
    play.on(AgentLost("1006", "renew"), ...)
    play.on(AgentReady("s"), ...)
    caller.says(6100, QUIET)
    assert asked(play) == [SAY_AGAIN]


def test_a_sentence_that_the_new_session_notices_is_its_own_business() -> None:
    """Any sign that it heard the caller will do."""
    play, caller = talking()
    caller.says(1000, LOUD)
    play.on(SpeechStarted())
    play.on(AgentLost("1006", "renew"), ...)
    play.on(AgentReady("s"), ...)
    caller.says(1000, QUIET)
    play.on(SpeechStarted())
    caller.says(10_000, QUIET)
    assert asked(play) == []


def test_a_session_that_goes_on_knows_by_itself_that_somebody_spoke() -> None:
    """It was listening all the time."""
    play, caller = talking()
    caller.says(1000, LOUD)
    play.on(SpeechStarted())
    play.on(AgentLost("1006"), ...)
    play.on(AgentReady("s", resumed=True), ...)
    caller.says(10_000, QUIET)
    assert asked(play) == []


def test_noise_does_not_keep_an_agent_from_going_on() -> None:
    """What sounded like a voice may have been none: a reply that was cut off is gone on with after a while."""
    play, caller = talking()
    play.on([ReplyStarted("r1")])
    caller.says(1000, LOUD)
    play.on(AgentLost("1006"), ...)
    caller.says(500, LOUD)
    play.on(AgentReady("s", resumed=True), ...)
    caller.says(5900, QUIET)
    assert asked(play) == []
    caller.says(200, QUIET)
    assert asked(play) == [GO_ON]


def test_nobody_is_asked_to_repeat_what_nobody_said() -> None:
    """A line that is only loud owes the caller nothing."""
    play, caller = talking()
    play.on(reply(300), ...)
    caller.says(1000, LOUD)
    play.on(AgentLost("1006", "renew"), ...)
    play.on(AgentReady("s"), ...)
    caller.says(10_000, QUIET)
    assert asked(play) == []
