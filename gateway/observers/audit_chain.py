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

BEFORE_ALL: Final = "0" * 64
"""What stands in place of the seal before the first line."""
TORN: Final = "trail.torn"
"""Kind of the line that tells of a broken one before it."""
CONTINUED: Final = "trail.continued"
"""Kind of the first line of every file but the first."""

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


class Finding(Struct, frozen=True):
    """Something that is wrong with a trail."""

    place: str
    """File and line."""
    sentence: str
    """What it is, for people."""


class Verdict(Struct):
    """What can be told of a trail."""

    lines: int = 0
    """Lines that were read, broken ones included."""
    first: int = 0
    """Number of the first line; more than 1 where earlier files are gone."""
    head: Head = Head()
    """Where it ends."""
    seals: set[str] = set()
    """Seals of all good lines."""
    findings: list[Finding] = []
    """Everything that is wrong."""
    notes: list[str] = []
    """What is not wrong but should be known: places where the gateway itself noted a broken line, or lost some."""


class Verifier:
    """Reads a trail in order, file by file, and goes on after what is wrong."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = tuple(keys) or (b"",)
        self._fragment: tuple[str, bytes] | None = None
        self._began = False
        self.verdict = Verdict()

    def read_file(self, name: str, lines: Iterable[bytes]) -> None:
        """Read one file; the last line of the newest may be under way."""
        for number, line in enumerate(lines, 1):
            self._read(f"{name}:{number}", line)

    def finish(self) -> Verdict:
        """Say what is to be said of the end."""
        if self._fragment is not None:
            place, fragment = self._fragment
            self._wrong(place, f"is torn: {len(fragment)} bytes without an end that nobody has noted")
            self._fragment = None
        return self.verdict

    def _read(self, place: str, line: bytes) -> None:
        verdict = self.verdict
        verdict.lines += 1
        text = line.removesuffix(b"\n")
        fields = _fields(text)
        if fields is None or text == line:
            self._keep_fragment(place, text)
            return
        if self._fragment is not None:
            self._settle_fragment(fields)
        if not self._began:
            self._begin(place, fields)
        body, told = text[: _TAIL.search(text).start()], str(fields["hash"])  # type: ignore[union-attr]
        if fields["n"] != verdict.head.n + 1:
            self._wrong(
                place,
                f"has the number {fields['n']} where {verdict.head.n + 1} is due: lines are missing or moved",
            )
        if not any(hmac.compare_digest(seal(verdict.head.seal, body, key), told) for key in self._keys):
            self._wrong(
                place,
                "does not bear the seal that it must: it, or something right before it, was changed or taken away",
            )
        verdict.head = Head(int(fields["n"]), told)
        verdict.seals.add(told)
        if fields.get("kind") == "trail.lost":
            verdict.notes.append(f"{place} says that {fields.get('lines')} lines could not be written")

    def _begin(self, place: str, fields: dict[str, Any]) -> None:
        """The first line of all says where the chain comes from."""
        self._began = True
        verdict = self.verdict
        verdict.first = int(fields["n"])
        if verdict.first != 1 and isinstance(fields.get("after"), str):
            verdict.head = Head(verdict.first - 1, fields["after"])
            verdict.notes.append(
                f"{place} continues a file that is not here; nothing can be said of what was before"
            )
        elif verdict.first != 1:
            self._wrong(place, f"has the number {verdict.first}: the beginning of the trail is missing")
            verdict.head = Head(verdict.first - 1)

    def _keep_fragment(self, place: str, text: bytes) -> None:
        if self._fragment is not None:
            self._wrong(self._fragment[0], "is no line of an audit trail")
        self._fragment = place, text

    def _settle_fragment(self, fields: dict[str, Any]) -> None:
        """A broken line is no finding where the next one tells of just these bytes."""
        place, fragment = self._fragment or ("", b"")
        self._fragment = None
        noted = torn_fields(fragment)
        if all(fields.get(name) == value for name, value in noted.items()):
            self.verdict.notes.append(f"{place} is torn, as the gateway noted itself when it went on")
        else:
            self._wrong(place, "is no line of an audit trail")

    def _wrong(self, place: str, sentence: str) -> None:
        self.verdict.findings.append(Finding(place, sentence))


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


def last_sections(data: bytes) -> dict[str, str]:
    """Digests of the configuration's sections in the last line that has them."""
    found = data.rfind(b'"sections":{')
    line = data[data.rfind(b"\n", 0, found) + 1 :].partition(b"\n")[0] if found >= 0 else b""
    sections = (_fields(line) or {}).get("sections")
    return {str(name): str(digest) for name, digest in sections.items()} if isinstance(sections, dict) else {}
