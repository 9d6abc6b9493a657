"""What should have happened and has not: silence, deafness, stalled and silent replies; and small rules."""

import pytest
from play import INFO, Play, caller_audio, reply, reply_audio, terms

from gateway.call.conversation import GO_ON
from gateway.commands import (
    AskReply,
    CloseAgent,
    Configure,
    Forward,
    HangUp,
    NoteTaken,
    OpenAgent,
    SendAudio,
    Tell,
    WatchdogFired,
)
from gateway.events import (
    AgentForwarded,
    AgentReady,
    AgentSaid,
    CallerAnsweredTool,
    CallerConfigured,
    CallerForwarded,
    CallerPressed,
    CallerPrompted,
    CallStarted,
    NoteAsked,
    ReplyAsked,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    ToolCalled,
    UserSaid,
)
from gateway.terms import AgentTerms


def speak(play: Play, seconds: float, level: float = -20.0) -> list[object]:
    """The caller sounds for so long; gives what followed besides the passing on."""
    followed: list[object] = []
    for _ in range(int(seconds * 50)):
        followed += [c for c in play.on(caller_audio(level=level), ...) if not isinstance(c, SendAudio)]
        play.wait(0.02, ...)
    return followed


def notices(play: Play) -> list[str]:
    """What the client was told."""
    return [told.event.raw for told in play.items(Tell) if isinstance(told.event, AgentForwarded)]


def test_a_deaf_agent_is_replaced_once() -> None:
    """Voice without any sign from the agent leads to a new session, and only one until it gives a sign."""
    play = Play.talking(terms(AgentTerms("main", deaf_s=4), silence_s=600))
    assert speak(play, 3.9) == []
    assert OpenAgent("main") in speak(play, 0.3)
    play.on(AgentReady("s2"), ...)
    assert speak(play, 10) == []
    play.on(SpeechStarted())
    assert OpenAgent("main", after_s=0.0) in speak(play, 4.3)


def test_noise_and_backchannels_do_not_make_an_agent_deaf() -> None:
    """Comfort noise is no voice, and an agent that is speaking need not listen."""
    play = Play.talking(terms(AgentTerms("main", deaf_s=2), silence_s=600))
    assert speak(play, 5, level=-55) == []
    play.on(reply(6000))
    speak(play, 6)
    assert play.items(WatchdogFired) == []


def test_a_reply_that_stalls_counts_as_ended() -> None:
    """An unfinished reply of which nothing more comes is asked for again, and is not heard later."""
    play = Play.talking(terms(AgentTerms("main", stalled_reply_s=5)))
    play.on([ReplyStarted("r1"), *reply_audio(500)])
    play.wait(5.1, WatchdogFired("stalled_reply", "r1"), AskReply(GO_ON))
    play.on([*reply_audio(500), ReplyEnded("r1")])
    play.wait(10)


def test_a_reply_that_stalls_while_the_caller_speaks_is_not_asked_for() -> None:
    """The caller's words will be answered instead."""
    play = Play.talking(terms(AgentTerms("main", stalled_reply_s=5)))
    play.on([ReplyStarted("r1"), SpeechStarted()])
    play.wait(5.1, WatchdogFired("stalled_reply", "r1"))


def test_a_reply_without_sound_and_words_is_asked_for_again() -> None:
    """Unless something follows it, or it called a tool, or its words came (2.4, 6.3)."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(300, loud=False), ReplyEnded("r1")])
    play.wait(3.1, WatchdogFired("silent_reply", "a reply had neither sound nor words"), AskReply(""))
    play.on([ReplyStarted("r2"), ReplyEnded("r2"), SpeechStarted(), UserSaid("hm", final=True)])
    play.wait(4)
    play.on([ReplyStarted("r3"), AgentSaid("r3", "merged", final=True), ReplyEnded("r3")])
    play.on([ReplyStarted("r4"), ToolCalled("t", "x", "{}", informational=True), ReplyEnded("r4")])
    play.wait(4)


def test_a_silent_line_ends_the_call_whatever_noise_is_on_it() -> None:
    """Silence is counted from words, so comfort noise on a muted line is no conversation."""
    play = Play.talking(terms(silence_s=10, clips={"apology": 500.0}))
    followed = speak(play, 10.2, level=-45)
    assert play.items(WatchdogFired) == [WatchdogFired("silent_line", "nobody said anything")]
    assert followed == []
    play.wait(1, CloseAgent(), HangUp("silence"))


def test_a_long_reply_is_no_silent_line() -> None:
    """A burst that takes a minute to be heard is words for a minute; so are partial transcripts and keys."""
    play = Play.talking(terms(silence_s=10))
    play.on(reply(25_000))
    play.wait(34.9)
    play.on(UserSaid("I think", final=False))
    play.wait(9.9)
    play.on(CallerPressed("1"))
    play.wait(9.9)
    play.on([UserSaid("", final=True), CallerPrompted("")], AskReply(""))
    play.wait(9.9)
    play.wait(0.2, WatchdogFired("silent_line", "nobody said anything"))


def test_keys_become_a_sentence_for_the_agent() -> None:
    """After a pause, or at once with #; bounded, and only where the route says so."""
    play = Play.talking(terms(dtmf="text"))
    play.on([CallerPressed("4"), CallerPressed("2")])
    play.wait(0.9)
    play.wait(0.2, AskReply("The caller pressed 42 on the keypad."))
    play.on(CallerPressed("7#"), AskReply("The caller pressed 7# on the keypad."))
    play.on([CallerPressed("1" * 40), CallerPressed("2")])
    play.wait(1.1, AskReply(f"The caller pressed {'1' * 31}2 on the keypad."))
    silent = Play.talking()
    silent.on(CallerPressed("4#"))
    silent.wait(5)


def test_a_client_sets_what_the_route_allows() -> None:
    """The rest keeps the route's value and is named in a notice; nothing ends the call."""
    play = Play.talking(terms(client_may=frozenset({"greeting"})))
    play.on(
        CallerConfigured('{"session":{"greeting":"Hi","llm":[],"tools":[]}}'),
        Configure('{"greeting":"Hi"}', by_client=True),
    )
    assert "llm, tools" in notices(play)[0]
    play.on(CallerConfigured('{"session":{"tools":[]}}'))
    play.on(CallerConfigured('{"session":{}}'))
    for raw in ("", "[]", '{"session":7}', '{"session":{"greeting":' + "[" * 100_000):
        play.on(CallerConfigured(raw))
    assert len(notices(play)) == 6
    play.on(CallerAnsweredTool("t7", "{}"))
    assert "t7" in notices(play)[-1]


def test_what_a_client_says_goes_to_the_agent() -> None:
    """Prompts, unknown messages, wishes of tools, notes."""
    play = Play.talking()
    play.on(CallerForwarded('{"type":"new"}'), Forward('{"type":"new"}'))
    play.on(ReplyAsked("Say hello."), AskReply("Say hello."))
    play.on(NoteAsked("vip"), NoteTaken("vip"))
    play.on(AgentForwarded("{}"), Tell(AgentForwarded("{}")))


@pytest.mark.parametrize("hold_ms", [0.0, 50.0])
def test_a_hold_sound_too_short_to_hear_is_none(hold_ms: float) -> None:
    """It would only be repeated for ever."""
    play = Play(terms(clips={"hold": hold_ms}))
    play.on(CallStarted(INFO), OpenAgent("main"))
    play.wait(9)
    assert play.steps < 5


def test_replies_without_an_end_are_bounded() -> None:
    """An agent that begins and never ends does not fill our memory."""
    play = Play.talking()
    play.on([ReplyStarted(f"r{n}") for n in range(500)])
    assert len(play.machine._floor.replies) <= 64
    play.on([ReplyEnded(f"r{n}") for n in range(500)])
    assert len(play.machine._floor._gone) <= 64
    for n in range(500):
        play.on([AgentSaid(f"r{n}", "x", final=True), UserSaid("y", final=True)])
    assert len(play.machine._history.lines({})) <= 200
