"""Vector files: a conversation message by message, as the carrier's documentation or a capture has it.

Owns the format of a line, which is one JSON object, and how it is compared:

* ``{"note": …}`` says where the lines below come from; any line may carry one.
* ``{"setup": {…}}`` begins a new connection with ``upgrade`` (fields of `Upgrade`) and ``settings``; without one the
  first line begins it with defaults. With ``"error": TEXT`` the connection must be refused.
* ``{"opening": [EVENT…]}`` for dialects without a start message: what an opened connection means.
* ``{"wire": MESSAGE, "events": [EVENT…]}`` or ``{"wire": MESSAGE, "error": TEXT}`` decodes.
* ``{"command": COMMAND, "wire": [MESSAGE…]}`` encodes; ``{"refuse": SENTENCE, "wire": [MESSAGE…]}`` refuses.

A MESSAGE is an object (sent as JSON text), a string (text as it is) or ``{"$hex": "00ff"}`` (binary). In events only
the fields that are written are compared; bytes are base64 and ``"raw": "$wire"`` is the text of the message. TEXT must be
part of the error's sentence. The clock of every upgrade stands at `CLOCK_S`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.certify.speaker import Message
from gateway.commands import AnyCommand, Command
from gateway.contracts import Adapter, Codec, Upgrade
from gateway.errors import WireError
from gateway.events import Event
from gateway.settings import Secret, Secrets

CLOCK_S: Final = 1790210425.654


class Differs(Exception):  # noqa: N818 - what a line has found
    """A line is not carried out as it is written: what was found, and what is expected."""


def lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a vector file.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is no text, or a line is no JSON object; with the line's number.
    """
    found = []
    for number, text in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not text.strip():
            continue
        try:
            found.append(msgspec.json.decode(text, type=dict[str, Any]))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"line {number} is no JSON object ({error})") from error
    return found


def first_difference(adapter: Adapter, written: list[dict[str, Any]]) -> str:
    """What the first line is that an adapter's codec does not carry out as it is written; empty when it does all."""
    codec: Codec | None = None
    for number, line in enumerate(written, 1):
        try:
            codec = _take(adapter, codec, line)
        except Exception as error:  # noqa: BLE001 - whatever leaves a codec is a finding
            kind = "" if isinstance(error, Differs) else f"{type(error).__name__}: "
            return f"vector {number} ({line.get('note', 'without a note')}): {kind}{error}"
    return ""


def _take(adapter: Adapter, codec: Codec | None, line: dict[str, Any]) -> Codec | None:
    """Carry out a line; gives the codec of the connection that is open then."""
    if "setup" in line:
        if "error" not in line:
            return new_codec(adapter, line["setup"])
        try:
            new_codec(adapter, line["setup"])
        except WireError as error:
            _compare_sentence(error, line["error"])
            return None
        raise Differs(f"the connection was taken; expected a refusal with {line['error']!r}")
    keys = line.keys() - {"note"}
    if not keys:
        return codec
    codec = codec or new_codec(adapter, {})
    _talk(codec, line, keys)
    return codec


def _talk(codec: Any, line: dict[str, Any], keys: set[str]) -> None:
    if keys == {"command", "wire"}:
        _compare_messages(codec.encode(command(line["command"])), line["wire"])
    elif keys == {"refuse", "wire"}:
        _compare_messages(codec.refuse(line["refuse"]), line["wire"])
    elif keys == {"opening"}:
        _compare_events(codec.opening(), line["opening"], "")
    elif keys == {"wire", "events"}:
        given = message(line["wire"])
        _compare_events(codec.decode(given), line["events"], given)
    elif keys == {"wire", "error"}:
        try:
            found = codec.decode(message(line["wire"]))
        except WireError as error:
            _compare_sentence(error, line["error"])
            return
        raise Differs(f"the message gave {found}; expected a refusal with {line['error']!r}")
    else:
        raise Differs(f"nobody knows what a line with {sorted(keys)} means")


def _compare_sentence(error: WireError, part: str) -> None:
    if part not in str(error) or "\n" in str(error):
        raise Differs(f"it was refused with {str(error)!r}; expected one line with {part!r}")


def _compare_events(found: list[Event], written: list[Any], given: Message) -> None:
    expected = [{**event, "raw": given} if event.get("raw") == "$wire" else event for event in written]
    seen = [shown(event) for event in found]
    if not fits(expected, seen):
        raise Differs(f"the message gave {seen}; expected {expected}")


def _compare_messages(found: list[Message], written: list[Any]) -> None:
    seen, expected = (
        [_comparable(one) for one in some] for some in (found, [message(one) for one in written])
    )
    if seen != expected:
        raise Differs(f"{seen} was said; expected {expected}")


def _comparable(one: Message) -> Any:
    """A message without the order and spacing of JSON."""
    try:
        return msgspec.json.decode(one) if isinstance(one, str) else one
    except msgspec.DecodeError:
        return one


def new_codec(adapter: Adapter, setup: Mapping[str, Any]) -> Codec:
    """Codec of a new connection.

    Raises:
        WireError: when the dialect refuses the connection.
    """
    upgrade = filled(Upgrade, {"call_id": "call-1", "session_id": "sess_1", **setup.get("upgrade", {})})
    upgrade = msgspec.structs.replace(upgrade, clock=lambda: CLOCK_S)
    return adapter.codec(upgrade, filled(adapter.settings, setup.get("settings", {})))


def filled(kind: type, fields: Mapping[str, Any]) -> Any:
    """A struct from the fields of a vector file: one secret counts as a list of them, a missing one is invented."""
    values = dict(fields)
    for field in msgspec.structs.fields(kind):
        if field.type == Secrets:
            given = values.get(field.name, ["secret"] if field.required else [])
            values[field.name] = [given] if isinstance(given, str) else given
    return msgspec.convert(values, kind, dec_hook=_secret)


def _secret(kind: type, value: Any) -> Any:
    return Secret(value) if kind is Secret else value


def message(written: Any) -> Message:
    """The message that a vector file writes."""
    if isinstance(written, str):
        return written
    if set(written) == {"$hex"}:
        return bytes.fromhex(written["$hex"])
    return msgspec.json.encode(written).decode()


def command(written: Mapping[str, Any]) -> Command:
    """The command that a vector file writes."""
    return msgspec.convert(written, AnyCommand)  # type: ignore[no-any-return]


def shown(event: Event) -> dict[str, Any]:
    """An event as a vector file writes it."""
    return msgspec.to_builtins(event)  # type: ignore[no-any-return]


def fits(written: Any, found: Any) -> bool:
    """Whether everything that is written is found; numbers may differ by a tenth."""
    if isinstance(written, dict) and isinstance(found, dict):
        return all(name in found and fits(value, found[name]) for name, value in written.items())
    if isinstance(written, list) and isinstance(found, list):
        return len(written) == len(found) and all(map(fits, written, found))
    if isinstance(written, float) and isinstance(found, int | float):
        return abs(written - found) < 0.1
    return bool(written == found) and type(written) is type(found)
