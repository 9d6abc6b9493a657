"""``talkpath hosts``: which hosts were contacted for recorded calls, when, and by which book."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from gateway.cli.check import Json
from gateway.cli.printing import Output
from gateway.cli.refusing import print_json, refuse
from gateway.cli.replay import Files, journals
from gateway.events import HostContacted
from gateway.observers.journal_file import Journal, read_journal

_COLUMNS = ("call", "at", "host", "port", "address", "purpose", "region", "refused")


def hosts(*, files: Files, json: Json = False) -> None:
    """List every connection that was begun, or refused, for recorded calls.

    A folder gives those of all calls in it. Exit code 0: all files were read; 2: one cannot be read, or wrong usage.

    Example: talkpath hosts records.db
    """
    found: list[dict[str, Any]] = []
    try:
        for path in journals(files):
            found += _contacts(_read(path))
    except OSError as error:
        refuse("hosts", f"{error.filename} cannot be read: {error.strerror}", as_json=json)
    except ValueError as error:
        refuse("hosts", str(error), as_json=json)
    if json:
        print_json({"contacts": found})
        return
    if not found:
        Output().print("No host was contacted for these calls.")
        return
    table = Table(*_COLUMNS)
    for column in table.columns:
        column.overflow = "fold"
    for contact in found:
        shown = {**contact, "refused": "refused" if contact["refused"] else ""}
        table.add_row(*(str(shown[name]) for name in _COLUMNS))
    Output().print(table)


def _read(path: Path) -> Journal:
    """The journal in a file.

    Raises:
        ValueError: in one sentence, with the file, when it is none.
    """
    with path.open("rb") as lines:
        try:
            return read_journal(lines)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def _contacts(journal: Journal) -> Iterator[dict[str, Any]]:
    """The contacts of one call, with their moments in UTC."""
    began_at = journal.entries[0].at if journal.entries else 0.0
    for entry in journal.entries:
        contact = entry.item
        if isinstance(contact, HostContacted):
            at = datetime.fromtimestamp(journal.header.began_at + entry.at - began_at, UTC)
            yield {
                "call": journal.header.call.call_id,
                "at": at.isoformat(timespec="milliseconds"),
                "host": contact.host,
                "port": contact.port,
                "address": contact.address,
                "purpose": contact.purpose,
                "region": contact.region,
                "refused": contact.refused,
            }
