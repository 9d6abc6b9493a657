import logging
import math
import os
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.audio import MULAW_8K, PCM_44K, AudioFormat, level_dbfs
from gateway.commands import (
    AnyCommand,
    AnyFact,
    CallEnded,
    Clear,
    Entry,
    HeardLine,
    NoteTaken,
    OpenAgent,
    Play,
    PlayClip,
    Remember,
    SendAudio,
    Tell,
)
from gateway.events import (
    AgentSaid,
    AnyEvent,
    CallerAudio,
    CallerConfigured,
    CallerPressed,
    CallInfo,
    CallStarted,
    ControlAnswered,
    EndingAsked,
    ReplyAudio,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    TimeReached,
    ToolCalled,
    ToolFinished,
    UserSaid,
)
from gateway.observers import journal
from gateway.observers.journal import JournalKeeper
from gateway.observers.journal_file import (
    Form,
    JournalHeader,
    LineWriter,
    read_journal,
)
from gateway.observers.journal_words import without_words
from gateway.observers.turn_fold import fold_turns
from gateway.settings import RecordsSettings
from gateway.terms import AgentTerms, CallTerms

INFO = CallInfo("c1", "twilio", MULAW_8K, caller="+14155235309", parameters={"name": "Ann"})
TERMS = CallTerms(agents=(AgentTerms("main"),), audio=MULAW_8K, route="default", cancellable=frozenset({"t"}))


def header(form: Form, words: bool = True, audio: AudioFormat = MULAW_8K) -> JournalHeader:
    terms = msgspec.structs.replace(TERMS, audio=audio)
    return JournalHeader(INFO, terms, {"talkpath": "1"}, 1.5, form, words)


def lines_of(head: JournalHeader, entries: list[Entry]) -> list[bytes]:
    writer = LineWriter(head)
    return [writer.begin(0.0), *writer.write(entries)]


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
FLOATS = st.floats(-1e6, 1e6)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    float: FLOATS,
    float | None: st.none() | FLOATS,
    int | None: st.none() | st.integers(-(2**53), 2**53),
    CallInfo: st.just(INFO),
}


def built(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type of our vocabulary."""
    if kind in VALUES:
        return VALUES[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{field.name: built(field.type) for field in msgspec.structs.fields(kind)})
    return st.from_type(kind)


PLAIN = st.one_of(
    *(built(kind) for kind in (*get_args(AnyEvent), *get_args(AnyCommand)) if kind not in (Tell, Remember))
)
FACTS = st.one_of(*(built(kind) for kind in get_args(AnyFact)))
ITEMS = st.one_of(PLAIN, FACTS.map(Remember), st.builds(lambda text: Tell(UserSaid(text, final=True)), TEXT))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.builds(Entry, FLOATS, ITEMS), max_size=8))
def test_a_full_journal_reads_back_as_it_was_written(entries: list[Entry]) -> None:
    """Every event and command, every byte and every moment."""
    head = header("full")
    read = read_journal(lines_of(head, entries))
    assert read.header == head
    assert read.entries == entries
    assert read.lost == 0


def spoken_call() -> list[Entry]:
    """A caller who speaks, pauses and speaks, and a reply that begins with silence."""
    entries = [Entry(0.0, CallStarted(INFO))]
    for step in range(200):
        at = round(0.6 + step * 0.02, 3)
        loud = step < 50 or 120 <= step < 150
        entries += [
            Entry(at, CallerAudio(MULAW_8K.silence(20), -20.0 if loud else -70.0)),
            Entry(at, SendAudio(MULAW_8K.silence(20))),
        ]
        if step == 135:
            entries.append(Entry(at, SpeechStarted()))
    entries += [Entry(5.0, SpeechStopped()), Entry(5.0, ReplyStarted("r1"))]
    for step in range(100):
        at = round(5.1 + step * 0.02, 3)
        entries += [
            Entry(at, ReplyAudio("r1", MULAW_8K.silence(20), -100.0 if step < 30 else -20.0)),
            Entry(at, Play("r1", MULAW_8K.silence(20))),
            Entry(at, TimeReached()),
        ]
    return entries


def test_a_compact_journal_is_small_and_tells_the_same_turns() -> None:
    """Sound shrinks to a few lines, and every latency stays."""
    entries = spoken_call()
    lines = lines_of(header("compact"), entries)
    assert len(lines) < 10
    assert sum(map(len, lines)) < 6 * len(entries)
    read = read_journal(lines).entries
    assert fold_turns(read) == fold_turns(entries)
    [turn] = fold_turns(read)
    assert turn.caller_started_at == pytest.approx(3.0)
    assert turn.caller_stopped_at == pytest.approx(3.58)
    assert turn.first_audible_ms == pytest.approx(700)


def test_an_event_that_is_passed_on_is_written_once() -> None:
    """A client is told most of what the agent says; each journal holds it once, also behind a hole."""
    said, more = UserSaid("hello", final=True), UserSaid("hello you", final=True)
    entries = [
        Entry(1.0, item) for item in (said, Clear(), Tell(said), Tell(said), more, Tell(said), Tell(more))
    ]
    for head in (header("full"), header("compact"), header("compact", words=False)):
        lines = lines_of(head, entries)
        assert b"".join(lines).count(b"user.said") == 3, "the second one is told after another has come"
        told = [entry.item if head.words else without_words(entry.item) for entry in entries]
        assert [entry.item for entry in read_journal(lines).entries] == told
    writer = LineWriter(header("full"))
    lines = [writer.begin(0.0), *writer.write(entries[:1]), writer.lose(1.0, 1), *writer.write(entries[2:3])]
    assert read_journal(lines).entries == [entries[0], entries[2]]
    with pytest.raises(ValueError, match="an event is told that is not there"):
        read_journal([lines[0], b'{"at":1.0,"item":{"type":"told"}}'])


CLOCK = st.one_of(
    st.integers(0, 10**10).map(lambda ms: ms / 1000),
    st.integers(0, 10**16).map(lambda ns: ns / 1e9),
    st.floats(0, 1e7),
)
"""What a clock shows: whole milliseconds, whole nanoseconds after up to four months, anything."""
LEVELS = st.floats(-100.0, 0.0)
SOUNDS = st.one_of(
    st.builds(CallerAudio, st.sampled_from([b"", b"ab" * 80, b"ab" * 441]), LEVELS),
    st.builds(ReplyAudio, st.sampled_from(["r1", "r2"]), st.just(b"ab" * 80), LEVELS),
    st.builds(SendAudio, st.just(b"ab" * 80)),
    st.builds(Play, st.sampled_from(["r1", "r2"]), st.just(b"ab" * 80)),
    st.builds(PlayClip, st.sampled_from(["hold", "sorry"]), st.sampled_from([0.0, 20.0, 1e3 / 3]), FLOATS),
    st.builds(TimeReached, FLOATS),
    st.just(SpeechStarted()),
)


def without_sound(entry: Entry) -> Entry:
    """What a compact journal keeps of an entry."""
    item: Any = entry.item
    changes: dict[str, Any] = {}
    if hasattr(item, "audio"):
        changes["audio"] = len(item.audio)
    if hasattr(item, "level"):
        changes["level"] = math.floor(item.level)
    return Entry(entry.at, msgspec.structs.replace(item, **changes))


@given(st.lists(st.builds(Entry, CLOCK, SOUNDS), max_size=40), st.sampled_from([MULAW_8K, PCM_44K]))
def test_a_compact_journal_keeps_everything_but_the_sound(entries: list[Entry], audio: AudioFormat) -> None:
    """Every entry in its order, at its very moment, of its size, at its level in whole dB."""
    read = read_journal(lines_of(header("compact", audio=audio), entries)).entries
    assert [without_sound(entry) for entry in read] == [without_sound(entry) for entry in entries]


def test_sound_of_more_than_a_frame_is_read_back_loud() -> None:
    """A machine that asks how loud the parts of a large piece are gets the answer that it got."""
    for audio in (MULAW_8K, PCM_44K):
        pieces = [
            Entry(0.0, ReplyAudio("r1", b"ab" * audio.frame_bytes(50), level)) for level in (-20.3, -60.0)
        ]
        loud, quiet = (
            entry.item for entry in read_journal(lines_of(header("compact", audio=audio), pieces)).entries
        )
        assert isinstance(loud, ReplyAudio)
        assert isinstance(quiet, ReplyAudio)
        assert level_dbfs(loud.audio, audio) == pytest.approx(-21.0, abs=0.5)
        assert level_dbfs(quiet.audio, audio) == -100.0


def test_without_words_nothing_that_was_said_typed_or_noted_is_kept() -> None:
    """Neither in events nor in what they carry, nor in the header."""
    secret = "secret"
    entries = [
        Entry(0.0, CallStarted(INFO)),
        Entry(1.0, UserSaid(secret, final=True, raw=secret)),
        Entry(1.0, Tell(AgentSaid("r1", secret, final=True, raw=secret))),
        Entry(1.0, ToolCalled("t1", "book", '{"name": "secret"}', raw=secret)),
        Entry(1.0, Remember(NoteTaken(secret))),
        Entry(1.0, OpenAgent("main", history=(HeardLine("user", secret),))),
    ]
    entries += [
        Entry(1.0, CallerPressed("41#")),
        Entry(1.0, CallerConfigured('{"session": {"system_prompt": "secret"}}')),
        Entry(1.0, ToolFinished("t1", '{"name": "secret"}')),
        Entry(1.0, EndingAsked("transfer", "+14155235309", "secret")),
        Entry(1.0, ControlAnswered("transfer", succeeded=False, detail="+14155235309 is engaged")),
        Entry(2.0, Remember(CallEnded("agent_hung_up", "secret"))),
    ]
    text = b"".join(lines_of(header("compact", words=False), entries))
    assert secret.encode() not in text
    assert b"Ann" not in text
    assert b"4155235309" not in text
    read = read_journal(text.splitlines())
    assert without_words(UserSaid("two loaves", final=True)).text == "••• ••••••"
    assert [type(entry.item) for entry in read.entries] == [type(entry.item) for entry in entries]
    assert read.header.words is False
    items = [entry.item for entry in read.entries]
    assert CallerPressed("••#") in items, "a machine must know that the entry has ended"
    assert CallerConfigured('{"session":{"system_prompt":null}}') in items, "and which fields are asked for"
    assert [without_words(item) for item in items] == items, "what is masked stays as it is"


def test_ids_in_sentences_stay_whole_where_words_are_left_out() -> None:
    """An id of a carrier's may have groups of figures alone; the number beside it is masked."""
    detail = "call 9f1c77e0-4171-4321-9876-0123456789ab to +1 415 523 5309 is not there"
    kept = without_words(ControlAnswered("transfer", succeeded=False, detail=detail))
    assert kept.detail == "call 9f1c77e0-4171-4321-9876-0123456789ab to +• ••• ••• •••• is not there"


def test_a_torn_last_line_counts_as_lost() -> None:
    """A process that is killed while it writes leaves a journal that can be read."""
    lines = lines_of(header("full"), [Entry(1.0, SpeechStarted()), Entry(2.0, SpeechStopped())])
    read = read_journal([*lines[:-1], lines[-1][:-9]])
    assert ([type(entry.item) for entry in read.entries], read.lost) == ([SpeechStarted], 1)
    assert (read.torn, read.hole, read.is_whole) == (True, 1, False)


HEADER = lines_of(header("compact"), [])[0]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "the journal is empty"),
        ([b'{"at":1.0,"item":{"type":"speech.started"}}'], "begins with a header"),
        ([b"{}", b"{}"], "line 1 cannot be read"),
        ([b"not a journal"], "is this a journal of Talkpath"),
        ([HEADER, b"torn", b'{"at":1.0,"item":{"type":"speech.started"}}'], "line 2 cannot be read"),
        ([HEADER, b'{"at":1.0,"item":{"type":"unheard.of"}}'], "written by Talkpath 1"),
        ([HEADER, b'{"at":1.0,"item":{"type":"run","what":"cs"}}'], "lacks some of its figures"),
    ],
)
def test_what_is_no_journal_is_refused_in_a_sentence(lines: list[bytes], sentence: str) -> None:
    """The reader says what is wrong and where."""
    with pytest.raises(ValueError, match=sentence):
        read_journal(lines)


def keeper_of(folder: Path) -> JournalKeeper:
    return JournalKeeper(RecordsSettings(path=str(folder), form="full", transcripts=True))


def keep(folder: Path, entries: list[Entry], call_id: str = "c1") -> JournalKeeper:
    keeper = keeper_of(folder)
    observer = keeper.watch(msgspec.structs.replace(INFO, call_id=call_id), TERMS)
    for entry in entries:
        observer.see(entry)
    observer.close()
    keeper.close()
    return keeper


def test_a_call_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    """Its name is safe whatever the call is called, and nobody else may read it."""
    entries = [Entry(n * 0.01, CallerAudio(bytes([n % 256]), -20.0)) for n in range(1200)]
    entries.append(Entry(99.0, Remember(CallEnded("caller_left"))))
    folder = tmp_path / "journals"
    keep(folder, entries, "../../c 1")
    [path] = folder.iterdir()
    assert path.name.endswith("Z-______c_1.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    read = read_journal(path.read_bytes().splitlines())
    assert read.entries == entries
    assert read.header.terms == TERMS


def test_a_folder_that_cannot_be_written_costs_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The call goes on without a journal."""
    (tmp_path / "file").write_text("")
    entries = [Entry(float(n * 2), SpeechStarted()) for n in range(5)]
    with caplog.at_level(logging.WARNING):
        keep(tmp_path / "file" / "journals", entries)
    assert len(caplog.records) == 1, caplog.text
    assert "the call goes on without one" in caplog.text


def test_a_slow_disk_makes_a_hole_and_not_a_queue(tmp_path: Path) -> None:
    """What the thread cannot take is counted, and the file tells how many entries are missing."""
    os.mkfifo(tmp_path / "slow")
    keeper = keeper_of(tmp_path)
    keeper._thread.submit((tmp_path / "slow").read_bytes)  # the thread waits for a writer
    observer = keeper.watch(INFO, TERMS)
    batches = journal.WAITING_BATCHES + 10
    observer.see(Entry(0.0, SpeechStarted()))  # is handed over at once
    for _ in range(journal.BATCH_ENTRIES * (batches - 1)):
        observer.see(Entry(0.0, SpeechStarted()))
    (tmp_path / "slow").write_bytes(b"")
    observer.close()
    keeper.close()
    [path] = tmp_path.glob("*.jsonl")
    read = read_journal(path.read_bytes().splitlines())
    assert read.lost == journal.BATCH_ENTRIES * 10
    assert len(read.entries) == 1 + journal.BATCH_ENTRIES * (journal.WAITING_BATCHES - 1)
