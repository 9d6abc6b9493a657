"""The form of the audit trail: JSON lines, each sealed with a hash over itself and all lines before it.

Owns how a line is sealed and what can be told of a trail that is read back. Refuses files and threads, which are
`gateway.observers.audit_file`'s. Without a key the seal is SHA-256: whoever may write to the file can make the
whole chain anew. With one it is HMAC-SHA256, and nobody without the key can.

A seal covers the very bytes of its line, so that no change of one of them goes unseen. Nothing stands behind the last
line: that lines are missing at the end is found by a seal or a number which was noted elsewhere, and only so.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.observers.audit_ends import Ends

BEFORE_ALL: Final = "0" * 64
"""What stands in place of the seal before the first line."""
TORN: Final = "trail.torn"
"""Kind of the line that tells of a broken one before it."""
CONTINUED: Final = "trail.continued"
"""Kind of the first line of every file but the first."""
STOPPED: Final = "stopped"
"""Kind of the line with which a process closes the trail."""

_TAIL: Final = re.compile(rb',"hash":"([0-9a-f]{64})"\}\Z')
_ENCODER: Final = msgspec.json.Encoder()


class Head(Struct, frozen=True):
    """Where a chain ends."""

    n: int = 0
    """Number of its last line, from 1; 0 before the first."""
    seal: str = BEFORE_ALL
    """Seal of its last line."""


def seal(before: str, body: bytes, key: bytes) -> str:
    """The seal of a line without its seal."""
    text = before.encode() + b"\n" + body
    return hmac.new(key, text, "sha256").hexdigest() if key else hashlib.sha256(text).hexdigest()


def seal_line(head: Head, fields: dict[str, Any], key: bytes) -> tuple[bytes, Head]:
    """The next line of a chain, with its end, and where the chain ends then."""
    body = _ENCODER.encode({"n": head.n + 1, **fields})[:-1]
    own = seal(head.seal, body, key)
    return body + b',"hash":"' + own.encode() + b'"}\n', Head(head.n + 1, own)


def torn_fields(fragment: bytes) -> dict[str, Any]:
    """What is noted of a piece of a line that was left behind."""
    return {"kind": TORN, "bytes": len(fragment), "sha256": hashlib.sha256(fragment).hexdigest()}


UNSEALED: Final = (
    "does not bear the seal that it must: it, or something right before it, was changed or taken away",
    "do not bear the seals that they must: they were changed, or sealed with a former key that was not given",
)
"""What is told of one line whose seal is not right, and of several in a row."""
MOST_KEPT: Final = 100
"""How many findings, of seals and of anything else, and how many notes are kept; the others are counted."""
NO_LINE: Final = ("is no line of an audit trail", "are no lines of an audit trail")


class Place(Struct, frozen=True):
    """Where a line stands."""

    file: str
    """Name of the file."""
    line: int
    """Its number in the file, from 1."""
    order: int
    """Its number among all lines that were read, from 1."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Finding(Struct):
    """Something that is wrong with a trail: with one line, or with several that follow each other."""

    first: Place
    """The first line that it is about."""
    last: Place
    """The last one."""
    what: tuple[str, str]
    """What it is, for people, when it is about one line and when about several."""

    @property
    def place(self) -> str:
        """Files and lines, for people."""
        if self.first == self.last:
            return str(self.first)
        if self.first.file == self.last.file:
            return f"{self.first.file}: lines {self.first.line} to {self.last.line}"
        return f"{self.first} to {self.last}"

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        return self.what[self.first != self.last]


class Verdict(Struct):
    """What can be told of a trail."""

    lines: int = 0
    """Lines that were read, broken ones included."""
    sealed: int = 0
    """Those of them that have a number and a seal, be it right or not."""
    fitting: int = 0
    """Those of them whose seal fits a key that was given."""
    first: int = 0
    """Number of the first line; more than 1 where earlier files are gone."""
    head: Head = Head()
    """Where it ends."""
    bears_expected: bool = False
    """Whether a line bears the seal that was expected."""
    findings: list[Finding] = []
    """What is wrong, in order: the first hundred that are about seals, and the first hundred of the others."""
    unsealed: int = 0
    """How many findings there are in all about lines whose seal is not right."""
    otherwise_wrong: int = 0
    """How many others there are in all."""
    notes: list[str] = []
    """What is not wrong but should be known: where the gateway itself noted a broken line, lost some, deleted files or was killed; the first hundred."""
    noted: int = 0
    """How many notes there are in all."""

    def note(self, sentence: str) -> None:
        """Take note of something that is not wrong."""
        self.noted += 1
        if self.noted <= MOST_KEPT:
            self.notes.append(sentence)

    @property
    def is_of_another_key(self) -> bool:
        """Whether no line at all fits, so that it is the key which is wrong, as far as can be told."""
        return bool(self.sealed) and not self.fitting


class Verifier:
    """Reads a trail in order, file by file, and goes on after what is wrong."""

    def __init__(self, keys: Sequence[bytes] = (), *, begins_at: int = 1, expected: str = "") -> None:
        """Prepare to read.

        Args:
            keys: All that lines were sealed with, in any order; none where they were sealed without one.
            begins_at: Number of the first line that is there, when those before it were put elsewhere on purpose.
            expected: Seal that a line must bear, where one was noted elsewhere.
        """
        self._expected = expected.lower()
        self._begins_at = begins_at
        self._keys = tuple(keys) or (b"",)
        self._fragment: tuple[Place, bytes] | None = None
        self._began = False
        self._cut: Place | None = None  # the first line of all, when it continues a file that is not here
        self._deleted: set[int] = set()  # numbers of files that the gateway noted to have deleted
        self._ends = Ends()
        self._latest: Finding | None = None
        self.verdict = Verdict()

    def read_file(self, name: str, lines: Iterable[bytes]) -> None:
        """Read one file; the last line of the newest may be under way."""
        for number, line in enumerate(lines, 1):
            self._read(Place(name, number, self.verdict.lines + 1), line)

    def finish(self) -> Verdict:
        """Say what is to be said of the end."""
        if self._fragment is not None:
            place, fragment = self._fragment
            self._wrong(place, f"is torn: {len(fragment)} bytes without an end that nobody has noted")
            self._fragment = None
        if self._cut is not None and not self.verdict.is_of_another_key:
            self._judge_cut(self._cut)
        return self.verdict

    def _read(self, place: Place, line: bytes) -> None:
        verdict = self.verdict
        verdict.lines += 1
        text = line.removesuffix(b"\n")
        fields = _fields(text)
        if fields is None or text == line:
            self._keep_fragment(place, text)
            return
        if self._fragment is not None:
            self._settle_fragment(*self._fragment, fields)
        if not self._began:
            self._begin(place, fields)
        body, told = text[: _TAIL.search(text).start()], str(fields["hash"])  # type: ignore[union-attr]
        if fields["n"] != verdict.head.n + 1:
            self._wrong(
                place,
                f"has the number {fields['n']} where {verdict.head.n + 1} is due: lines are missing or moved",
            )
        verdict.sealed += 1
        if any(hmac.compare_digest(seal(verdict.head.seal, body, key), told) for key in self._keys):
            verdict.fitting += 1
            self._note_deleted(fields)
            if crash := self._ends.read(fields):
                verdict.note(f"{place} {crash}")
        else:
            self._wrong(place, *UNSEALED)
        verdict.head = Head(int(fields["n"]), told)
        verdict.bears_expected = verdict.bears_expected or told == self._expected
        if fields.get("kind") == "trail.lost":
            verdict.note(f"{place} says that {fields.get('lines')} lines could not be written")

    def _begin(self, place: Place, fields: dict[str, Any]) -> None:
        """The first line of all says where the chain comes from."""
        self._began = True
        verdict = self.verdict
        verdict.first = int(fields["n"])
        if verdict.first != 1 and isinstance(fields.get("after"), str):
            verdict.head = Head(verdict.first - 1, fields["after"])
            self._cut = place
        elif verdict.first != 1:
            self._wrong(place, f"has the number {verdict.first}: the beginning of the trail is missing")
            verdict.head = Head(verdict.first - 1)

    def _note_deleted(self, fields: dict[str, Any]) -> None:
        """Files are known by their numbers: a copy of the trail may have another name."""
        deleted = fields.get("deleted") if fields.get("kind") == CONTINUED else None
        for name in deleted if isinstance(deleted, list) else ():
            number = str(name).rpartition(".")[2]
            if number.isdecimal():
                self._deleted.add(int(number))

    def _judge_cut(self, place: Place) -> None:
        """That a file is gone is no finding where a line tells that the gateway deleted it."""
        before = self.verdict.first - 1
        if before in self._deleted or before + 1 == self._begins_at:
            why = (
                "the gateway deleted, as it noted itself" if before in self._deleted else "was put elsewhere"
            )
            self.verdict.note(f"{place} continues a file that {why}; nothing can be said of what was before")
        else:
            self._wrong(
                place,
                f"continues line {before}, whose file is not here and was not deleted by the gateway:"
                " it was taken away; put it back beside this one",
            )

    def _keep_fragment(self, place: Place, text: bytes) -> None:
        if self._fragment is not None:
            self._wrong(self._fragment[0], *NO_LINE)
        self._fragment = place, text

    def _settle_fragment(self, place: Place, fragment: bytes, fields: dict[str, Any]) -> None:
        """A broken line is no finding where the next one tells of just these bytes."""
        self._fragment = None
        noted = torn_fields(fragment)
        if all(fields.get(name) == value for name, value in noted.items()):
            self.verdict.note(f"{place} is torn, as the gateway noted itself when it went on")
        else:
            self._wrong(place, *NO_LINE)

    def _wrong(self, place: Place, one: str, many: str = "") -> None:
        """Tell what is wrong with a line; where the same is wrong with the line before, it is one finding."""
        verdict, latest = self.verdict, self._latest
        if many and latest and latest.what == (one, many) and latest.last.order + 1 == place.order:
            latest.last = place
            return
        self._latest = finding = Finding(place, place, (one, many))
        if finding.what == UNSEALED:
            verdict.unsealed += 1
            kept = verdict.unsealed <= MOST_KEPT
        else:
            verdict.otherwise_wrong += 1
            kept = verdict.otherwise_wrong <= MOST_KEPT
        if kept:
            verdict.findings.append(finding)


def _fields(text: bytes) -> dict[str, Any] | None:
    """The fields of a line; None when it is none of a trail."""
    if not _TAIL.search(text):
        return None
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    number = fields.get("n")
    is_line = isinstance(number, int) and not isinstance(number, bool) and isinstance(fields.get("hash"), str)
    return fields if is_line else None


def head_of(line: bytes) -> Head | None:
    """Where the chain ends with a line, without its end; None when it is none of a trail."""
    fields = _fields(line)
    return Head(int(fields["n"]), str(fields["hash"])) if fields is not None else None


def last_line(data: bytes) -> tuple[Head, bytes]:
    """Where a file's chain ends, and the bytes of a torn line behind that.

    Raises:
        ValueError: when there is no good line in what is not empty.
    """
    whole, _, fragment = data.rpartition(b"\n")
    if not data:
        return Head(), b""
    text = whole.rpartition(b"\n")[2]
    if whole and (head := head_of(text)) is not None:
        return head, fragment
    raise ValueError("its last line is none of an audit trail")


def was_stopped(data: bytes) -> bool:
    """Whether a file ends with the line of a process that closed the trail; also where it is empty."""
    whole, _, fragment = data.rpartition(b"\n")
    last = _fields(whole.rpartition(b"\n")[2])
    return not data or (not fragment and last is not None and last.get("kind") == STOPPED)


def last_sections(data: bytes) -> dict[str, str]:
    """Digests of the configuration's sections in the last line that has them."""
    found = data.rfind(b'"sections":{')
    line = data[data.rfind(b"\n", 0, found) + 1 :].partition(b"\n")[0] if found >= 0 else b""
    sections = (_fields(line) or {}).get("sections")
    return {str(name): str(digest) for name, digest in sections.items()} if isinstance(sections, dict) else {}
