import asyncio
import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio import PCM_16K
from gateway.commands import CallEnded, EndingSettled, Entry, OpenAgent, Remember, Transfer
from gateway.errors import ConfigError
from gateway.events import CallInfo, CallStarted
from gateway.observers import audit
from gateway.observers.audit import AuditTrail, digests, note, note_access, register_observers
from gateway.observers.audit_chain import Verdict, Verifier
from gateway.observers.audit_file import MOST_WAITING, AuditFile, older_files
from gateway.settings import AccessSettings, AuditSettings, KeySettings, Secret, Settings
from gateway.terms import AgentTerms, CallTerms

ROOT = Path(__file__).parents[2]


def verdict_of(path: Path, *keys: bytes) -> Verdict:
    verifier = Verifier(keys)
    for one in (*older_files(path), path):
        with one.open("rb") as lines:
            verifier.read_file(one.name, lines)
    return verifier.finish()


def opened(path: Path, **options: object) -> AuditFile:
    file = AuditFile(path, **options)  # type: ignore[arg-type]
    file.open()
    return file


def kinds(path: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in path.read_bytes().splitlines()]


def test_a_trail_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Closed and opened again it is one chain."""
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        file = opened(path)
        file.put({"kind": "started"})
        file.close()
    verdict = verdict_of(path)
    assert (verdict.findings, verdict.head.n) == ([], 3)
    assert path.stat().st_mode & 0o777 == 0o600


def test_only_one_process_writes(tmp_path: Path) -> None:
    """Another one is told so, and may go on once the first has ended."""
    file = opened(tmp_path / "audit.jsonl")
    with pytest.raises(BlockingIOError):
        opened(tmp_path / "audit.jsonl")
    file.close()
    opened(tmp_path / "audit.jsonl").close()


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(1, 400), older=st.booleans())
def test_a_torn_line_is_noted_and_the_chain_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int, older: bool
) -> None:
    """Wherever the last write was cut, the piece stays, is told of with its hash, and nothing is found wrong after."""
    path = tmp_path_factory.mktemp("torn") / "audit.jsonl"
    file = opened(path, max_bytes=1 if older else 1 << 20)
    for place in range(3):
        file.put({"kind": "refused", "why": "x" * 30, "place": place})
        file.write()
    file.close()
    whole = path.read_bytes()
    left = whole[: max(0, len(whole) - cut)]
    path.write_bytes(left)
    is_torn = bool(left) and not left.endswith(b"\n")
    assert bool(verdict_of(path).findings) == is_torn
    file = opened(path)
    file.put({"kind": "started"})
    file.close()
    verdict = verdict_of(path)
    assert not verdict.findings
    lacks_its_end_only = is_torn and whole[len(left) :].startswith(b"\n")
    noted = any("as the gateway noted itself" in sentence for sentence in verdict.notes)
    assert noted == (is_torn and not lacks_its_end_only)


def test_a_line_that_lacks_only_its_end_is_whole(tmp_path: Path) -> None:
    """It gets its end, and there is nothing to note, wherever in the trail the write was cut."""
    path = tmp_path / "audit.jsonl"
    file = opened(path)
    for place in range(3):
        file.put({"kind": "refused", "place": place})
    file.close()
    lines = path.read_bytes().splitlines()
    for count in (3, 2, 1):
        path.write_bytes(b"\n".join(lines[:count]))
        opened(path).close()
        assert path.read_bytes().splitlines() == lines[:count]
        verdict = verdict_of(path)
        assert (verdict.findings, verdict.notes) == ([], [])


def test_a_torn_note_that_does_not_fit_is_found(tmp_path: Path) -> None:
    """A piece that is not the one that was noted was changed since."""
    path = tmp_path / "audit.jsonl"
    file = opened(path)
    file.put({"kind": "started"})
    file.close()
    with path.open("ab") as end:
        end.write(b'{"n":2,"kind":"ref')
    opened(path).close()
    assert not verdict_of(path).findings
    path.write_bytes(path.read_bytes().replace(b'"kind":"ref\n', b'"kind":"rex\n'))
    assert verdict_of(path).findings


def test_a_killed_process_leaves_a_trail_that_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing, ten times: what is there is whole but for one noted piece each."""
    path = tmp_path / "audit.jsonl"
    program = (
        "import sys; from pathlib import Path; from gateway.observers.audit_file import AuditFile\n"
        "file = AuditFile(Path(sys.argv[1]), max_bytes=65536); file.open(); print('open', flush=True)\n"
        "while True:\n"
        "    [file.put({'kind': 'refused', 'why': 'x' * 500}) for _ in range(50)]; file.write()\n"
    )
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        before = len(older_files(path))
        limit = time.monotonic() + 20
        while len(older_files(path)) < before + 2:
            assert time.monotonic() < limit
        process.kill()
        process.wait()
        process.stdout.close()
    opened(path).close()
    verdict = verdict_of(path)
    assert not verdict.findings, verdict.findings
    assert verdict.head.n > 1000


@pytest.fixture
def small_disk() -> Iterator[int]:
    """Files of this process may have 4000 bytes, as on a disk that is nearly full, until the test says otherwise."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    yield before[0]
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_loud_and_loses_nothing(
    tmp_path: Path, small_disk: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The write that does not fit is torn; when there is room again every line follows, once, and the piece is noted."""
    path = tmp_path / "audit.jsonl"
    file = opened(path)
    for place in range(60):
        file.put({"kind": "refused", "place": place})
    with caplog.at_level(logging.INFO, logger="talkpath.audit"):
        file.write()
        file.write()
        assert path.stat().st_size == 4000
        assert verdict_of(path).findings
        resource.setrlimit(resource.RLIMIT_FSIZE, (small_disk, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        file.write()
        file.close()
    verdict = verdict_of(path)
    assert not verdict.findings, verdict.findings
    lines = [json.loads(line) for line in path.read_bytes().splitlines() if line.endswith(b"}")]
    assert [line["place"] for line in lines if line["kind"] == "refused"] == list(range(60))
    said = [record.getMessage() for record in caplog.records]
    assert [sentence.split()[0] for sentence in said] == [
        "trail.broken",
        "trail.mended",
        "trail.head",
        "trail.head",
    ]


def test_what_does_not_fit_into_memory_is_counted_in_the_trail(tmp_path: Path) -> None:
    """Of a disk that stands still for long only so many lines are kept; the trail says how many are missing."""
    path = tmp_path / "audit.jsonl"
    file = opened(path)
    for _ in range(MOST_WAITING + 7):
        file.put({"kind": "refused"})
    file.close()
    verdict = verdict_of(path)
    assert verdict.findings == []
    assert "7 lines could not be written" in verdict.notes[0]


def test_files_are_put_aside_and_the_oldest_deleted(tmp_path: Path) -> None:
    """The chain goes through all of them; which were deleted stands in the trail, and the rest is whole."""
    path = tmp_path / "audit.jsonl"
    file = opened(path, max_bytes=200, keep_files=3)
    for place in range(20):
        file.put({"kind": "refused", "place": place, "sections": {"server": "ab"}})
        file.write()
    file.close()
    assert len(older_files(path)) == 3
    verdict = verdict_of(path)
    assert verdict.findings == []
    assert verdict.first > 1
    assert "continues a file that the gateway deleted" in verdict.notes[0]
    assert b'"deleted":["audit.jsonl.' in path.read_bytes()
    again = opened(path)
    assert again.sections == {"server": "ab"}
    again.close()
    older_files(path)[1].unlink()
    assert verdict_of(path).findings


def test_a_file_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    """What is no trail is refused at the start, and stays as it was."""
    path = tmp_path / "audit.jsonl"
    path.write_text("my notes\nof today\n")
    with pytest.raises(ValueError, match="none of an audit trail"):
        opened(path)
    assert path.read_text() == "my notes\nof today\n"


# What stands in it


def settings_with(path: Path, **more: object) -> Settings:
    return Settings(audit=AuditSettings(path=str(path), sync_s=0), **more)  # type: ignore[arg-type]


async def test_a_call_is_accounted_for(tmp_path: Path) -> None:
    """Start, agents with their regions, transfer and end of a call stand in the trail, with masked numbers."""
    path = tmp_path / "audit.jsonl"
    (kind,) = register_observers(settings_with(path))
    info = CallInfo(
        "call_1", "twilio", PCM_16K, caller="+14155555309", callee="+33123456789", carrier_call_id="CA1"
    )
    terms = CallTerms(
        agents=(AgentTerms("main", region="eu"), AgentTerms("local")), audio=PCM_16K, route="europe"
    )
    assert kind.lifetime is not None
    async with kind.lifetime():
        watcher = kind.watch(info, terms)
        assert watcher is not None
        for item in (
            CallStarted(info), OpenAgent("main"), OpenAgent("local"), Transfer("+442079460958"),
            Remember(EndingSettled("transfer", "confirmed")), Remember(CallEnded("transferred", "words of somebody")),
        ):  # fmt: skip
            watcher.see(Entry(1.0, item))
        watcher.close()
        broken = kind.watch(info, terms)
        assert broken is not None
        broken.close()
    text = path.read_text()
    assert kinds(path) == [
        "started", "configuration", "call.started", "agent.opened", "agent.opened", "call.transferred",
        "ending.settled", "call.ended", "call.ended", "stopped",
    ]  # fmt: skip
    assert '"caller":"+1415•••5309","callee":"+3312•••6789"' in text
    assert '"target":"+4420•••0958"' in text
    assert '"agent":"main","region":"eu"' in text
    assert '"agent":"local","region":"this machine"' in text
    assert '"reason":"bug"' in text
    for hidden in ("4155555309", "words of somebody"):
        assert hidden not in text
    assert verdict_of(path).findings == []


async def test_refusals_and_use_of_keys_are_noted(tmp_path: Path) -> None:
    """Of lines about access those with a reason or a name are taken; without a trail nothing happens."""
    note_access("token", {"status": 403, "why": "key_unknown"})
    path = tmp_path / "audit.jsonl"
    (kind,) = register_observers(settings_with(path))
    assert kind.lifetime is not None
    async with kind.lifetime():
        note_access("webhook", {"kind": "call", "status": 200, "caller": "+1415•••5309"})
        note_access(
            "webhook", {"kind": "call", "status": 403, "why": "signature", "detail": "wrong_signature"}
        )
        note_access("token", {"status": 200, "who": "backend", "detail": ""})
        note_access("socket", {"recognised": "twilio", "why": "twilio_header"})  # neither let in nor refused
        note("anything", what="Bearer 0123456789abcdef to +14155555309")
    assert kinds(path) == ["started", "configuration", "refused", "key.used", "anything", "stopped"]
    text = path.read_text()
    assert (
        '"what":"webhook","webhook":"call","status":403,"why":"signature","detail":"wrong_signature"' in text
    )
    assert '"what":"token","status":200,"who":"backend","hash"' in text
    assert '"what":"Bearer ••• to +1415•••5309"' in text
    note("after the end")
    assert verdict_of(path).head.n == 6


async def test_a_change_of_the_configuration_names_its_sections(tmp_path: Path) -> None:
    """At each start; a rotated key is a change too, and nothing of it stands in the trail."""
    path = tmp_path / "audit.jsonl"
    key = KeySettings(name="backend", key=(Secret("a-key-of-some-length"),))
    later = KeySettings(name="backend", key=(Secret("another-key-of-length"),))
    for access in (
        AccessSettings(),
        AccessSettings(),
        AccessSettings(keys=(key,)),
        AccessSettings(keys=(later,)),
    ):
        (kind,) = register_observers(settings_with(path, access=access))
        assert kind.lifetime is not None
        async with kind.lifetime():
            pass
    assert kinds(path).count("configuration") == 3
    assert path.read_text().count('"changed":["access"]') == 2
    assert digests(settings_with(path)) == digests(settings_with(path))


async def test_what_cannot_be_a_trail_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    """A folder, a file in use, one of somebody else, one that may not be written: each in a sentence, at the start."""
    with pytest.raises(ConfigError, match="is a folder"):
        register_observers(settings_with(tmp_path))
    (tmp_path / "file").write_text("")
    taken = opened(tmp_path / "taken")
    places = {"notes": "move it away", "taken": "by another process", "file/below": "cannot be written"}
    kinds = [register_observers(settings_with(tmp_path / name))[0] for name in places]
    (tmp_path / "notes").write_text("mine\n")  # since the configuration was read
    for kind, sentence in zip(kinds, places.values(), strict=True):
        assert kind.lifetime is not None
        with pytest.raises(ConfigError, match=sentence):
            async with kind.lifetime():
                pass
    taken.close()
    assert not register_observers(Settings())


async def test_a_note_costs_the_loop_little(tmp_path: Path) -> None:
    """Microseconds: what is written, hashed and synced is so in a thread."""
    trail = AuditTrail(AuditFile(tmp_path / "audit.jsonl"))
    async with trail.lifetime(settings_with(tmp_path / "audit.jsonl")):
        best = float("inf")
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(100):
                note("refused", what="socket", adapter="twilio", status=403, why="signature")
            best = min(best, (time.perf_counter() - began) / 100)
            await asyncio.sleep(0)
    assert best < 100e-6
    assert audit.note is note
    assert os.path.exists(tmp_path / "audit.jsonl")  # noqa: PTH110, ASYNC240 - once, at the end


async def test_a_start_after_a_crash_is_told_to_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A trail that nobody has closed is a warning at the next start, and at no other; a piece of a line counts too."""
    path = tmp_path / "audit.jsonl"

    async def start() -> list[str]:
        caplog.clear()
        (kind,) = register_observers(settings_with(path))
        assert kind.lifetime is not None
        async with kind.lifetime():
            pass
        return [told for told in caplog.messages if told.startswith("trail.unstopped")]

    assert (await start(), await start()) == ([], [])
    killed = opened(path)
    killed.put({"kind": "started"})
    killed.close()
    (told,) = await start()
    assert f"path={path} n={killed.head.n}; the process before was killed" in told
    assert await start() == []
    with path.open("ab") as end:
        end.write(b'{"n":')
    assert len(await start()) == 1
    assert await start() == []


def test_a_trail_whose_files_were_put_aside_knows_how_it_ended(tmp_path: Path) -> None:
    """Where the newest file is not there, the one before tells."""
    path = tmp_path / "audit.jsonl"
    for kind in ("started", "stopped"):
        file = opened(path)
        file.put({"kind": kind})
        file.close()
        path.rename(f"{path}.{file.head.n:012d}")
        again = opened(path)
        assert again.was_stopped is (kind == "stopped")
        again.close()


@pytest.mark.parametrize(
    ("text", "is_trail"), [("hello\n", False), ('{"n":1}\n{"n":2}\n', False), ("", True), ('{"n":1', True)]
)
def test_what_is_no_trail_is_found_before_anything_is_opened(
    text: str, is_trail: bool, tmp_path: Path
) -> None:
    """`talkpath check` says of such a file what `serve` would, and touches nothing; a piece of a first line will do."""
    path = tmp_path / "audit.jsonl"
    path.write_text(text)
    if is_trail:
        assert len(register_observers(settings_with(path))) == 1
    else:
        with pytest.raises(ConfigError, match="its last line is none of an audit trail; look at it with"):
            register_observers(settings_with(path))
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["audit.jsonl"]
