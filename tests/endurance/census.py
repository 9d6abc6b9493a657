"""A plugin that tells what lives in the gateway's process whenever a call begins; the endurance test puts it there."""

import asyncio
import json
from pathlib import Path

from gateway import hookimpl
from gateway.commands import Entry
from gateway.contracts import ObserverKind
from gateway.events import CallInfo
from gateway.terms import CallTerms

BOOK = Path(__file__).parent / "census.jsonl"


class Census:
    """Watches nothing; its beginning is what counts."""

    wants: tuple[type, ...] = ()

    def see(self, entry: Entry) -> None:
        """Never called."""

    def close(self) -> None:
        """Nothing is held."""


def count(_info: CallInfo, _terms: CallTerms) -> Census:
    """Write a line: how many tasks there are."""
    line = {"tasks": len(asyncio.all_tasks())}
    with BOOK.open("a", encoding="ascii") as book:
        book.write(json.dumps(line) + "\n")
    return Census()


@hookimpl
def register_observers() -> list[ObserverKind]:
    """Bring the census."""
    return [ObserverKind("census", count)]
