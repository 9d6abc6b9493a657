import logging
import os
import time
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.audio import AUDIBLE_DBFS, MULAW_8K, PCM_44K, AudioFormat
from gateway.commands import (
    AnyCommand,
    AnyFact,
    CallEnded,
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
from gateway.errors import ConfigError
from gateway.events import (
    AgentSaid,
    AnyEvent,
    CallerAudio,
    CallInfo,
    CallStarted,
    ReplyAudio,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    TimeReached,
    ToolCalled,
    UserSaid,
)
from gateway.observers import journal
from gateway.observers.journal import JournalKeeper, register_observers
from gateway.observers.journal_file import (
    Form,
    JournalHeader,
    LineWriter,
    read_journal,
    without_words,
)
from gateway.observers.turn_fold import fold_turns
from gateway.settings import RecordsSettings, Settings
from gateway.terms import AgentTerms, CallTerms

INFO = CallInfo("c1", "twilio", MULAW_8K, caller="+14155235309", parameters={"name": "Ann"})
TERMS = CallTerms(agents=(AgentTerms("main"),), audio=MULAW_8K, route="default", cancellable=frozenset({"t"}))


def header(form: Form, words: bool = True, audio: AudioFormat = MULAW_8K) -> JournalHeader:
    terms = msgspec.structs.replace(TERMS, audio=audio)
    return JournalHeader(INFO, terms, {"talkpath": "1"}, 1.5, form, words)


def lines_of(head: JournalHeader, entries: list[Entry]) -> list[bytes]:
    writer = LineWriter(head)
    lines = [writer.begin(0.0)]
    for entry in entries:
        lines += writer.write(entry)
    return [*lines, *writer.flush()]


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
        at = 0.6 + step * 0.02
        loud = step < 50 or 120 <= step < 150
        entries += [
            Entry(at, CallerAudio(MULAW_8K.silence(20), -20.0 if loud else -70.0)),
            Entry(at, SendAudio(MULAW_8K.silence(20))),
        ]
        if step == 135:
            entries.append(Entry(at, SpeechStarted()))
    entries += [Entry(5.0, SpeechStopped()), Entry(5.0, ReplyStarted("r1"))]
    for step in range(100):
        at = 5.1 + step * 0.02
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
    assert len(lines) < 20
    read = read_journal(lines).entries
    assert len(read) == len(entries)
    assert fold_turns(read) == pytest.approx(fold_turns(entries))
    [turn] = fold_turns(read)
    assert turn.caller_started_at == pytest.approx(3.0)
    assert turn.caller_stopped_at == pytest.approx(3.58)
    assert turn.first_audible_ms == pytest.approx(700)


SOUNDS = st.lists(
    st.tuples(
        st.floats(0, 0.9),
        st.one_of(
            st.builds(
                CallerAudio, st.sampled_from([b"", b"ab" * 20, b"ab" * 441]), st.sampled_from([-90.0, -20.0])
            ),
            st.builds(
                ReplyAudio,
                st.sampled_from(["r1", "r2"]),
                st.just(b"ab" * 80),
                st.sampled_from([-90.0, -20.0]),
            ),
            st.builds(Play, st.sampled_from(["r1", "r2"]), st.just(b"ab" * 80)),
            st.builds(
                PlayClip, st.sampled_from(["hold", "sorry"]), st.sampled_from([0.0, 20.0]), st.just(20.0)
            ),
            st.just(TimeReached()),
            st.just(SpeechStarted()),
        ),
    ),
    max_size=40,
)


@given(SOUNDS, st.sampled_from([MULAW_8K, PCM_44K]))
def test_a_compact_journal_keeps_count_length_order_and_moments(
    steps: list[tuple[float, Any]], audio: AudioFormat
) -> None:
    """Of each kind as many entries and as much sound, at the same first, last and audible moments, between the same events."""
    now, entries = 0.0, []
    for step_s, item in steps:
        now += step_s
        entries.append(Entry(now, item))
    read = read_journal(lines_of(header("compact", audio=audio), entries)).entries

    def shape(journal: list[Entry], kind: type) -> list[Any]:
        items = [entry for entry in journal if type(entry.item) is kind]
        sizes = sum(len(getattr(entry.item, "audio", b"")) for entry in items)
        ms = sum(getattr(entry.item, "ms", 0.0) for entry in items)
        loud = [entry.at for entry in items if getattr(entry.item, "level", -100.0) >= AUDIBLE_DBFS]
        ends = [items[0].at, items[-1].at] if items else []
        return [len(items), sizes, pytest.approx(ms), ends, loud[:1], loud[-1:]]

    for kind in (CallerAudio, ReplyAudio, Play, PlayClip, TimeReached, SpeechStarted):
        assert shape(read, kind) == shape(entries, kind)
    places = [[type(e.item).__name__ for e in journal].count("SpeechStarted") for journal in (read, entries)]
    assert places[0] == places[1]
    assert [entry.at for entry in read] == sorted(entry.at for entry in read)


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
    text = b"".join(lines_of(header("compact", words=False), entries))
    assert secret.encode() not in text
    assert b"Ann" not in text
    assert b"4155235309" not in text
    read = read_journal(text.splitlines())
    assert without_words(UserSaid("two loaves", final=True)).text == "••• ••••••"
    assert [type(entry.item) for entry in read.entries] == [type(entry.item) for entry in entries]
    assert read.header.words is False


def test_a_torn_last_line_counts_as_lost() -> None:
    """A process that is killed while it writes leaves a journal that can be read."""
    lines = lines_of(header("full"), [Entry(1.0, SpeechStarted()), Entry(2.0, SpeechStopped())])
    read = read_journal([*lines[:-1], lines[-1][:-9]])
    assert ([type(entry.item) for entry in read.entries], read.lost) == ([SpeechStarted], 1)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "the journal is empty"),
        ([b'{"at":1.0,"item":{"type":"speech.started"}}'], "does not begin with a header"),
        ([b"{}", b"{}"], "line 1 of the journal cannot be read"),
    ],
)
def test_what_is_no_journal_is_refused_in_a_sentence(lines: list[bytes], sentence: str) -> None:
    """The reader says what is wrong and where."""
    with pytest.raises(ValueError, match=sentence):
        read_journal(lines)


def keep(folder: Path, entries: list[Entry], call_id: str = "c1") -> JournalKeeper:
    keeper = JournalKeeper(folder, form="full", words=True, keep_days=30)
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


def test_old_journals_are_deleted(tmp_path: Path) -> None:
    """The next call that begins cleans up; other files and young journals stay."""
    for name, days in (("old.jsonl", 31), ("young.jsonl", 29), ("old.txt", 31)):
        (tmp_path / name).write_text("")
        then = time.time() - days * 86_400
        os.utime(tmp_path / name, (then, then))
    keep(tmp_path, [Entry(0.0, SpeechStarted())])
    names = {path.name for path in tmp_path.iterdir()}
    assert "old.jsonl" not in names
    assert {"young.jsonl", "old.txt"} < names


def test_a_folder_that_cannot_be_written_costs_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The call goes on without a journal."""
    (tmp_path / "file").write_text("")
    entries = [Entry(float(n * 2), SpeechStarted()) for n in range(5)]
    with caplog.at_level(logging.WARNING):
        keep(tmp_path / "file" / "journals", entries)
    assert len(caplog.records) == 1
    assert "the call goes on without one" in caplog.text


def test_a_slow_disk_makes_a_hole_and_not_a_queue(tmp_path: Path) -> None:
    """What the thread cannot take is counted, and the file tells how many entries are missing."""
    os.mkfifo(tmp_path / "slow")
    keeper = JournalKeeper(tmp_path, form="full", words=True, keep_days=30)
    blocked = keeper._thread.submit((tmp_path / "slow").read_bytes)  # the thread waits for a writer
    observer = keeper.watch(INFO, TERMS)
    batches = journal.WAITING_BATCHES + 10
    for _ in range(journal.BATCH_ENTRIES * batches):
        observer.see(Entry(0.0, SpeechStarted()))
    (tmp_path / "slow").write_bytes(b"")
    blocked.result(10)
    observer.close()
    keeper.close()
    [path] = tmp_path.glob("*.jsonl")
    read = read_journal(path.read_bytes().splitlines())
    assert read.lost == journal.BATCH_ENTRIES * 10
    assert len(read.entries) == journal.BATCH_ENTRIES * journal.WAITING_BATCHES


def test_journals_are_kept_only_when_there_is_a_folder(tmp_path: Path) -> None:
    """Nothing is written unless it is configured."""
    assert register_observers(Settings()) == []
    records = RecordsSettings(path=str(tmp_path / "journals"))
    [kind] = register_observers(Settings(records=records))
    assert kind.name == "journal"
    assert not (tmp_path / "journals").exists()


def test_the_full_form_needs_leave_to_keep_words(tmp_path: Path) -> None:
    """Sound and messages hold every word, so one setting must not contradict the other."""
    records = RecordsSettings(path=str(tmp_path), form="full")
    with pytest.raises(ConfigError, match=r"records\.transcripts is false"):
        register_observers(Settings(records=records))
