import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observers.audit_chain import BEFORE_ALL, MOST_KEPT, Head, Verdict, Verifier, seal_line

KEY = b"a key that only the operator has"
LINES = [{"at": 1.5 + place, "kind": "refused", "who": "bäckend", "why": "x" * place} for place in range(8)]


def chain(key: bytes = b"", lines: list[dict[str, object]] | None = None) -> list[bytes]:
    head, written = Head(), []
    for fields in lines or LINES:
        line, head = seal_line(head, dict(fields), key)
        written.append(line)
    return written


def seal_of(line: bytes) -> str:
    return str(json.loads(line)["hash"])


def verdict_of(data: bytes, *keys: bytes, expected: str = "") -> Verdict:
    verifier = Verifier(keys, expected=expected)
    verifier.read_file("audit.jsonl", io.BytesIO(data))
    return verifier.finish()


@pytest.mark.parametrize("key", [b"", KEY])
def test_a_whole_trail_is_found_whole(key: bytes) -> None:
    """Sealed and read with the same key there is nothing to say; the end is told."""
    lines = chain(key)
    verdict = verdict_of(b"".join(lines), key)
    assert (verdict.findings, verdict.notes, verdict.lines, verdict.head.n) == ([], [], 8, 8)
    assert verdict.head.seal.encode() in lines[-1]
    assert verdict_of(b"").head == Head(0, BEFORE_ALL)


@given(place=st.integers(0), change=st.integers(1, 255), key=st.sampled_from([b"", KEY]))
def test_any_changed_byte_is_found(place: int, change: int, key: bytes) -> None:
    """Whatever byte of the trail becomes whatever other one, line ends and seals included."""
    data = bytearray(b"".join(chain(key)))
    data[place % len(data)] ^= change
    assert verdict_of(bytes(data), key).findings


@given(first=st.integers(0, 6), count=st.integers(1, 7))
def test_any_missing_lines_are_found_but_at_the_end(first: int, count: int) -> None:
    """A gap and a missing beginning show; a missing end does not, which is why there is something to expect."""
    lines = chain()
    kept = lines[:first] + lines[first + count :]
    whole = verdict_of(b"".join(kept))
    if first + count >= len(lines):
        assert not whole.findings
        assert not verdict_of(b"".join(kept), expected=seal_of(lines[-1])).bears_expected
        assert verdict_of(b"".join(lines), expected=seal_of(lines[-1])).bears_expected
    else:
        assert whole.findings


def test_a_long_trail_takes_no_more_memory_than_a_short_one() -> None:
    """A trail may have gigabytes; of its lines none is kept."""

    def lines() -> Iterator[bytes]:
        head = Head()
        for place in range(20_000):
            line, head = seal_line(head, {"kind": "refused", "place": place}, b"")
            yield line

    verifier = Verifier()
    tracemalloc.start()
    try:
        verifier.read_file("audit.jsonl", lines())
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (verifier.finish().findings, verifier.verdict.head.n) == ([], 20_000)
    assert most_bytes < 500_000


def test_findings_and_notes_beyond_the_first_hundred_are_counted() -> None:
    """Of a trail in which every other line is wrong, or tells of lost ones, no more is kept than people are shown."""

    def trail(bad: bytes) -> Iterator[bytes]:
        head = Head()
        for place in range(1000):
            line, head = seal_line(head, {"kind": "trail.lost", "lines": place}, b"")
            yield line if place % 2 else bad or line.replace(b"lost", b"lust")

    changed, put_in = Verifier(), Verifier()
    changed.read_file("audit.jsonl", trail(b""))
    put_in.read_file("audit.jsonl", trail(b"nothing of ours\n"))
    one, other = changed.finish(), put_in.finish()
    assert (len(one.findings), one.unsealed, one.otherwise_wrong) == (MOST_KEPT, 500, 0)
    assert (len(one.notes), one.noted) == (MOST_KEPT, 500)
    assert len(other.findings) <= 2 * MOST_KEPT
    assert other.otherwise_wrong >= 500, "lines of nobody, and the numbers that they took"


@given(st.permutations(range(8)))
def test_any_other_order_is_found(order: list[int]) -> None:
    """Lines that changed places show."""
    lines = chain()
    assert bool(verdict_of(b"".join(lines[place] for place in order)).findings) == (order != sorted(order))


@given(
    place=st.integers(0, 8),
    copied=st.integers(0, 7),
    text=st.sampled_from([b"{}\n", b"\n", b"x", b'{"n":3}\n', None]),
)
def test_any_line_put_in_is_found(place: int, copied: int, text: bytes | None) -> None:
    """A line of somebody else's shows, and so does one of the trail itself that was copied."""
    lines = chain()
    lines.insert(place, lines[copied] if text is None else text)
    assert verdict_of(b"".join(lines)).findings


@given(st.integers(1, 200))
def test_any_piece_cut_off_the_end_is_torn(count: int) -> None:
    """Where the cut is not between two lines it shows by itself."""
    data = b"".join(chain())[:-count]
    assert bool(verdict_of(data).findings) == (not data.endswith(b"\n"))


def test_who_has_no_key_cannot_make_the_chain_anew() -> None:
    """A trail that was made again from changed lines passes only where no key is in use."""
    changed = [{**fields, "who": "nobody"} for fields in LINES]
    forged = b"".join(chain(b"", changed))
    assert not verdict_of(forged).findings
    verdict = verdict_of(forged, KEY)
    assert [finding.place for finding in verdict.findings] == [f"audit.jsonl: lines 1 to {len(LINES)}"]
    assert verdict.is_of_another_key
    assert verdict_of(b"".join(chain(KEY)), b"another key").findings


def test_a_key_may_be_rotated() -> None:
    """Lines of the former key are believed as long as it is given too."""
    head, lines = Head(), []
    for place, fields in enumerate(LINES):
        line, head = seal_line(head, dict(fields), KEY if place < 4 else b"the next key")
        lines.append(line)
    assert not verdict_of(b"".join(lines), b"the next key", KEY).findings
    assert verdict_of(b"".join(lines), b"the next key").findings


def test_one_change_is_told_at_its_place_and_hides_no_other() -> None:
    """Reading goes on after a finding, so that two changes are two findings."""
    lines = chain()
    for place in (2, 5):
        lines[place] = lines[place].replace(b"refused", b"ignored")
    places = [finding.place for finding in verdict_of(b"".join(lines)).findings]
    assert places == ["audit.jsonl:3", "audit.jsonl:6"]


def test_a_run_of_failures_is_one_finding_across_files() -> None:
    """Lines that follow each other and fail alike are summed up, wherever a file ends; a good one between parts them."""
    lines = chain()
    verifier = Verifier([KEY])
    for name, part in (("audit.jsonl.000000000003", lines[:3]), ("audit.jsonl", lines[3:])):
        verifier.read_file(name, part)
    assert [finding.place for finding in verifier.finish().findings] == [
        "audit.jsonl.000000000003:1 to audit.jsonl:5"
    ]
    strange = [b"one\n", b"two\n", lines[0], b"three\n", *lines[1:]]
    findings = verdict_of(b"".join(strange)).findings
    assert [(finding.place, finding.sentence) for finding in findings] == [
        ("audit.jsonl: lines 1 to 2", "are no lines of an audit trail"),
        ("audit.jsonl:4", "is no line of an audit trail"),
    ]


def test_the_reference_tells_the_seal_exactly(tmp_path: Path) -> None:
    """What the page on the trail shows in a few lines of Python finds the same seals as we do."""
    import re

    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(chain()))
    page = (Path(__file__).parents[2] / "docs" / "reference" / "audit.md").read_text()
    (program,) = re.findall(r"```python runnable\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - a page of ours
    assert names["last_seal"](str(path)) == verdict_of(path.read_bytes()).head.seal
