from gateway.audio import MULAW_8K
from gateway.cli.turn_table import who_said_what
from gateway.commands import AnyCommand, Clear, Entry, Play, Remember, ReplyHeard
from gateway.events import (
    AgentSaid,
    AnyEvent,
    CallerPressed,
    CallInfo,
    CallStarted,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    UserSaid,
)
from gateway.observers.transcript import (
    Transcript,
    TranscriptLine,
    render_transcript,
    transcript_kind,
    transcript_of,
)
from gateway.observers.turns import Turn
from gateway.terms import CallTerms

INFO = CallInfo("c1", "twilio", MULAW_8K)
SOUND = ReplyAudio("r1", MULAW_8K.silence(20), -20.0)


def delta(
    text: str, start_ms: int | None = None, end_ms: int | None = None, reply_id: str = "r1"
) -> AgentSaid:
    return AgentSaid(reply_id, text, final=False, start_ms=start_ms, end_ms=end_ms)


def heard(
    heard_ms: float, cut_ms: float, audible_from_ms: float | None = 0.0, reply_id: str = "r1"
) -> Remember:
    return Remember(ReplyHeard(reply_id, heard_ms, heard_ms, cut_ms, True, cut_ms > 0, audible_from_ms))


INTERRUPTED: list[AnyEvent | AnyCommand] = [
    CallStarted(INFO),
    ReplyStarted("r1"),
    delta("We", 100, 300),
    delta("open", 300, 600),
    delta("at", 600, 700),
    delta("nine.", 700, 1000),
    SOUND,
    SpeechStarted(),
    Clear(),
    heard(550, 450),
    AgentSaid("r1", "We open", final=True, interrupted=True),
    ReplyEnded("r1", interrupted=True),
    UserSaid("Stop!", final=True),
]


def read(transcript: Transcript, items: list[AnyEvent | AnyCommand]) -> list[TranscriptLine]:
    for at, item in enumerate(items):
        transcript.see(Entry(float(at), item))
    transcript.close()
    return transcript.lines


def test_words_that_were_cut_off_are_marked() -> None:
    """The line tells what was heard, what not, by whose word and how sure the cut is."""
    agent, user = read(Transcript(), INTERRUPTED)
    assert (agent.text, agent.heard, agent.unheard) == ("We open at nine.", "We open", " at nine.")
    assert (agent.interrupted, agent.estimated, agent.confirmed) == (True, False, True)
    assert (agent.speaker, agent.reply_id, agent.source) == ("agent", "r1", "deltas")
    assert (user.speaker, user.heard, user.unheard) == ("user", "Stop!", "")


def test_lines_for_people_show_the_unheard_words_with_and_without_colour() -> None:
    """Brackets do where nothing can be struck through."""
    lines = read(Transcript(), INTERRUPTED)
    assert render_transcript(lines) == "agent: We open [at nine.]\ncaller: Stop!"
    assert "\x1b[9;2mat nine.\x1b[0m" in lines[0].render(color=True)


def test_what_was_heard_is_not_made_up_where_nobody_has_told() -> None:
    """A reply that sounded when the process or the journal ended is not said to be unheard."""
    loud = ReplyAudio("r1", b"\x00" * 160, -10.0)
    items: list[AnyEvent | AnyCommand] = [
        CallStarted(INFO),
        ReplyStarted("r1"),
        delta("We are open"),
        loud,
        Play("r1", b"\x00" * 160),
    ]
    [line] = lines = read(Transcript(), items)
    assert not line.known
    assert line.render() == line.render(color=True) == "agent: We are open (how much was heard is not known)"
    fold = Transcript()
    read(fold, items)
    assert str(who_said_what(fold.turns[0])) == render_transcript(lines)


def test_a_cut_without_word_times_says_that_it_is_estimated() -> None:
    """The share of the sound stands for the share of the words."""
    [line] = read(
        Transcript(),
        [ReplyStarted("r1"), SOUND, AgentSaid("r1", "one two three four", final=True), heard(500, 500)],
    )
    assert line.estimated
    assert line.render() == "agent: one two [three four] (cut estimated)"


def test_text_of_a_silent_reply_is_unheard() -> None:
    """A reply that was merged into the next one was never spoken, though its text comes as if it were."""
    lines = read(
        Transcript(),
        [ReplyStarted("r1"), AgentSaid("r1", "Sure.", final=True), ReplyEnded("r1"), heard(900, 0, None)],
    )
    assert [line.render() for line in lines] == ["agent: [Sure.]"]


def test_the_caller_comes_before_the_reply_even_if_the_transcript_came_late() -> None:
    """A reader sees question and answer in that order; keys are the caller's words too."""
    lines = read(
        Transcript(),
        [
            SpeechStarted(),
            ReplyStarted("r1"),
            SOUND,
            delta("Yes."),
            UserSaid("Open?", final=True),
            heard(20, 0),
            CallerPressed("1"),
            heard(400, 0, reply_id="clip:hold"),
        ],
    )
    assert [(line.speaker, line.text, line.source) for line in lines] == [
        ("user", "Open?", "final"),
        ("agent", "Yes.", "deltas"),
        ("user", "1", "keys"),
        ("house", "hold", "clip"),
    ]


def test_each_line_is_told_once_as_soon_as_it_is_settled() -> None:
    """A repeated final text is not told again, and words that never had sound are told at the end."""
    told: list[tuple[str, str]] = []
    transcript = Transcript(lambda line: told.append((line.heard, line.unheard)))
    items = [
        *INTERRUPTED[:-1],
        UserSaid("Stop!", final=True, item_id="m1"),
        UserSaid("Stop!", final=True, item_id="m1"),
        ReplyStarted("r2"),
        delta("Never.", reply_id="r2"),
    ]
    read(transcript, items)
    assert told == [("We open", " at nine."), ("Stop!", ""), ("", "Never.")]


def test_a_final_text_that_follows_the_fact_is_told_then() -> None:
    """Agents without deltas send the words of an interrupted reply after the interruption."""
    told: list[str] = []
    transcript = Transcript(lambda line: told.append(line.heard))
    items: list[AnyEvent | AnyCommand] = [
        ReplyStarted("r1"),
        SOUND,
        heard(500, 500),
        AgentSaid("r1", "one two", final=True),
    ]
    for at, item in enumerate(items):
        transcript.see(Entry(float(at), item))
    assert told == ["one"]


def test_the_kind_hands_on_lines_turns_and_transcript() -> None:
    """Whoever registers it gets each line as it settles and everything at the end."""
    told: list[str] = []
    done: list[tuple[str, list[Turn], list[TranscriptLine]]] = []
    kind = transcript_kind(
        lambda info, line: told.append(f"{info.call_id} {line.speaker}"),
        lambda info, turns, lines: done.append((info.call_id, turns, lines)),
    )
    observer = kind.watch(INFO, CallTerms(agents=(), audio=MULAW_8K))
    assert isinstance(observer, Transcript)
    read(observer, INTERRUPTED)
    [(call_id, turns, lines)] = done
    assert told == ["c1 agent", "c1 user"]
    assert (call_id, len(turns)) == ("c1", 2)
    assert lines == transcript_of(turns)
