import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from fakes import until

from gateway.audio import MULAW_8K
from gateway.commands import Entry
from gateway.errors import ConfigError
from gateway.events import CallerAudio, CallInfo, CallStarted, SpeechStarted, UserSaid
from gateway.observers import journal
from gateway.observers.journal import JournalKeeper, register_observers
from gateway.observers.journal_file import read_journal
from gateway.observers.journal_folder import JournalFolder
from gateway.settings import RecordsSettings, Settings
from gateway.terms import AgentTerms, CallTerms

INFO = CallInfo("c1", "twilio", MULAW_8K)
TERMS = CallTerms(agents=(AgentTerms("main"),), audio=MULAW_8K)
DAY_S = 86_400.0


def put(folder: Path, name: str, *, days: float, size_bytes: int = 10) -> None:
    """A file that was last written to so many days ago."""
    (folder / name).write_bytes(bytes(size_bytes))
    then = time.time() - days * DAY_S
    os.utime(folder / name, (then, then))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_old_journals_are_deleted_though_nobody_calls(tmp_path: Path) -> None:
    """A gateway that begins cleans up; other files and young journals stay."""
    for name, days in (("old.jsonl", 31), ("young.jsonl", 29), ("old.txt", 31)):
        put(tmp_path, name, days=days)
    async with JournalKeeper(RecordsSettings(path=str(tmp_path), keep_days=30)).lifetime():
        pass
    assert names(tmp_path) == {"young.jsonl", "old.txt"}


async def test_old_journals_are_looked_for_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What grows old while the gateway runs is deleted as well."""
    monkeypatch.setattr(journal, "SWEEP_S", 0.01)
    put(tmp_path, "one.jsonl", days=29)
    async with JournalKeeper(RecordsSettings(path=str(tmp_path))).lifetime():
        put(tmp_path, "one.jsonl", days=31)
        await until(lambda: not names(tmp_path))


def test_the_oldest_journals_make_room_for_new_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When all journals together are too large, the oldest go, and the log says so."""
    for place in range(4):
        put(tmp_path, f"{place}.jsonl", days=4 - place, size_bytes=1000)
    folder = JournalFolder(tmp_path, keep_days=30, max_bytes=4000)
    folder.sweep()
    assert len(names(tmp_path)) == 4
    assert folder.make_room(500)
    assert names(tmp_path) == {"1.jsonl", "2.jsonl", "3.jsonl"}
    assert "journal.deleted count=1" in caplog.text
    assert folder.make_room(500)
    assert len(names(tmp_path)) == 3


def test_live_journals_are_not_deleted_for_room_but_end(tmp_path: Path) -> None:
    """Where live calls alone fill the folder, what comes is left out and counted, and the bound holds."""
    keeper = JournalKeeper(
        RecordsSettings(path=str(tmp_path), max_bytes=1 << 20, form="full", transcripts=True)
    )
    observer = keeper.watch(INFO, TERMS)
    put(tmp_path, "other.jsonl", days=0, size_bytes=(1 << 20) - 3000)
    observer.see(Entry(0.0, CallStarted(INFO)))
    for _ in range(20):
        observer.see(Entry(0.5, UserSaid("x" * 200, final=True)))
    observer.close()
    assert keeper.close()
    assert "other.jsonl" in names(tmp_path)
    [path] = tmp_path.glob("*-c1.jsonl")
    read = read_journal(path.read_bytes().splitlines())
    assert [entry.item for entry in read.entries] == [CallStarted(INFO)]
    assert (read.lost, read.hole) == (20, 1)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1 << 20


async def test_what_waits_is_written_though_nothing_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call in which nothing happens for a while is on disk all the same."""
    monkeypatch.setattr(journal, "BATCH_S", 0.01)
    keeper = JournalKeeper(RecordsSettings(path=str(tmp_path)))
    async with keeper.lifetime():
        observer = keeper.watch(INFO, TERMS)
        observer.see(Entry(time.monotonic(), CallStarted(INFO)))
        observer.see(Entry(time.monotonic(), SpeechStarted()))

        def is_there() -> bool:
            return any(b"speech.started" in path.read_bytes() for path in tmp_path.iterdir())

        await until(is_there)
        observer.close()


async def test_the_end_of_the_process_waits_for_the_disk_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was handed over is written before the gateway is gone; a disk that never answers is given up."""
    keeper = JournalKeeper(RecordsSettings(path=str(tmp_path)))
    async with keeper.lifetime():
        observer = keeper.watch(INFO, TERMS)
        observer.see(Entry(0.0, CallStarted(INFO)))
        observer.close()
    assert len(names(tmp_path)) == 1
    os.mkfifo(tmp_path / "slow")
    monkeypatch.setattr(journal, "CLOSE_S", 0.05)
    async with keeper.lifetime():
        keeper._thread.submit((tmp_path / "slow").read_bytes)  # the thread waits for a writer
    assert "journal.unwritten" in caplog.text
    (tmp_path / "slow").write_bytes(b"")


def test_what_fails_in_the_thread_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in the writing of one journal leaves the others alone."""
    thread = journal.WritingThread()
    done: list[int] = []
    thread.submit([].pop)
    thread.submit(done.append, 1)
    with caplog.at_level(logging.ERROR):
        assert thread.close(5)
    assert done == [1]
    assert "journal.failed" in caplog.text


def test_journals_are_kept_only_when_there_is_a_folder(tmp_path: Path) -> None:
    """Nothing is written unless it is configured."""
    assert register_observers(Settings()) == []
    records = RecordsSettings(path=str(tmp_path / "journals"))
    [kind] = register_observers(Settings(records=records))
    assert kind.name == "journal"
    assert not (tmp_path / "journals").exists()


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """One that looks like a file is made and filled like every other."""
    [kind] = register_observers(Settings(records=RecordsSettings(path=str(tmp_path / "records.db"))))
    observer = kind.watch(INFO, TERMS)
    assert isinstance(observer, journal.CallJournal)
    observer.see(Entry(0.0, CallStarted(INFO)))
    observer.close()
    assert observer._thread.close(5)
    assert [path.suffix for path in (tmp_path / "records.db").iterdir()] == [".jsonl"]


def write_file(path: Path) -> None:
    path.write_text("")


def forbid(path: Path) -> None:
    path.mkdir(mode=0o500)


@pytest.mark.parametrize(
    ("make", "below", "sentence"),
    [
        (write_file, "", "is a file"),
        (write_file, "journals", "lies below .* which is a file"),
        pytest.param(
            forbid, "", "cannot be written to", marks=pytest.mark.skipif(os.geteuid() == 0, reason="root")
        ),
    ],
)
def test_a_path_that_can_be_no_folder_is_told_at_the_start(
    tmp_path: Path, make: Callable[[Path], None], below: str, sentence: str
) -> None:
    """And not by the first call, when it is too late."""
    make(tmp_path / "there")
    records = RecordsSettings(path=str(tmp_path / "there" / below))
    with pytest.raises(ConfigError, match=sentence):
        register_observers(Settings(records=records))


def test_the_full_form_needs_leave_to_keep_words(tmp_path: Path) -> None:
    """Sound and messages hold every word, so one setting must not contradict the other."""
    records = RecordsSettings(path=str(tmp_path), form="full")
    with pytest.raises(ConfigError, match=r"records\.transcripts is false"):
        register_observers(Settings(records=records))


@pytest.mark.parametrize("form", ["compact", "full"])
def test_one_call_cannot_push_the_journals_of_others_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, form: Literal["compact", "full"]
) -> None:
    """Past its share a call writes nothing; its journal says at once that it was cut, and at the end by how much."""
    records = RecordsSettings(
        path=str(tmp_path), max_bytes=1 << 20, call_bytes=65_536, form=form, transcripts=form == "full"
    )
    keeper = JournalKeeper(records)
    first = keeper.watch(INFO, TERMS)
    for number in range(2000):
        first.see(Entry(number / 1000, UserSaid("word " * 200, final=True)))
    second = keeper.watch(CallInfo("c2", "twilio", MULAW_8K), TERMS)
    for number in range(10):
        second.see(Entry(float(number), CallerAudio(bytes([number]) * 8000, -20.0)))
    first.close()
    second.close()
    assert keeper.close()
    flooded, other = (
        read_journal(next(tmp_path.glob(f"*{name}.jsonl")).read_bytes().splitlines()) for name in ("c1", "c2")
    )
    assert len(flooded.entries) + flooded.lost == 2000
    assert flooded.hole == len(flooded.entries) > 0
    assert sum(path.stat().st_size for path in tmp_path.glob("*c1.jsonl")) < 70_000
    assert (len(other.entries), other.lost) == (10, 0)
    assert caplog.text.count("journal.cut") == 1
