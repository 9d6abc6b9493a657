"""Every wire, message by message, in both directions; the format of the files is told in `wires`."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import wires

from gateway.contracts import Codec
from gateway.errors import WireError

PARTS = {**wires.adapters(), **wires.agent_kinds()}
FILES = wires.vector_files()


class Reading:
    """One vector file being read: the connection, and where we are."""

    def __init__(self, path: Path) -> None:
        self.name = path.parent.name
        self.codec: Codec | None = None

    def take(self, line: dict[str, Any]) -> None:
        """Carry out a line and compare."""
        if "setup" in line:
            self.codec = None
            if error := line.get("error"):
                with pytest.raises(WireError) as caught:
                    wires.new_codec(self.name, line["setup"])
                assert_sentence(caught.value, error)
                return
            self.codec = wires.new_codec(self.name, line["setup"])
        elif keys := line.keys() - {"note"}:
            self.codec = self.codec or wires.new_codec(self.name)
            self._talk(self.codec, line, keys)

    def _talk(self, codec: Codec, line: dict[str, Any], keys: set[str]) -> None:
        if keys == {"command", "wire"}:
            assert_same(codec.encode(wires.command(line["command"])), line["wire"])
        elif keys == {"refuse", "wire"}:
            assert_same(codec.refuse(line["refuse"]), line["wire"])  # type: ignore[attr-defined]
        elif keys == {"opening"}:
            assert_events(codec.opening(), line["opening"], "")  # type: ignore[attr-defined]
        elif keys == {"wire", "events"}:
            message = wires.message(line["wire"])
            assert_events(codec.decode(message), line["events"], message)
        elif keys == {"wire", "error"}:
            with pytest.raises(WireError) as caught:
                codec.decode(wires.message(line["wire"]))
            assert_sentence(caught.value, line["error"])
        else:
            pytest.fail(f"nobody knows what a line with {sorted(keys)} means")


def assert_sentence(error: WireError, part: str) -> None:
    """Compare a refusal: one line that says what the vector says."""
    assert part in str(error)
    assert "\n" not in str(error)


def assert_events(found: list[Any], written: list[Any], message: str | bytes) -> None:
    """Compare events, field by field as far as they are written."""
    expected = [{**event, "raw": message} if event.get("raw") == "$wire" else event for event in written]
    shown = [wires.shown(event) for event in found]
    assert wires.fits(expected, shown), f"expected {expected}, found {shown}"


def assert_same(found: list[str | bytes], written: list[Any]) -> None:
    """Compare messages: binary byte for byte, text that is JSON by its content."""
    expected = [wires.message(one) for one in written]
    assert [comparable(one) for one in found] == [comparable(one) for one in expected]


def comparable(message: str | bytes) -> Any:
    """A message without the order and spacing of JSON."""
    try:
        return msgspec.json.decode(message) if isinstance(message, str) else message
    except msgspec.DecodeError:
        return message


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_wire_speaks_as_its_vectors_say(path: Path) -> None:
    """Each line of each vector file gives exactly the events, messages and refusals that it names."""
    reading = Reading(path)
    for number, line in enumerate(wires.lines(path), 1):
        try:
            reading.take(line)
        except Exception as error:
            error.add_note(f"{path.parent.name}/{path.name}, line {number}: {line.get('note', '')}")
            raise


@pytest.mark.parametrize("name", sorted(wires.adapters()))
def test_adapter_has_vectors(name: str) -> None:
    """No adapter is registered without a conversation that shows its wire."""
    assert any(path.parent.name == name for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_vectors_belong_to_a_part(path: Path) -> None:
    """Every folder of vectors is named after something that is registered, so that none is forgotten."""
    assert path.parent.name in PARTS
