"""What a journal costs per frame of the caller, beside a comparator in the same run: decoding and encoding the frame.

A frame is two entries, the event and the command. Prints microseconds on the event loop (the fan-out and the gathering)
and in the writing thread (coding and writing to a temporary file), the best of several rounds, for both forms. Exits 1
when both together cost more than the budget.
"""

import base64
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.audio import MULAW_8K
from gateway.commands import AnyCommand, Entry, SendAudio
from gateway.contracts import ObserverKind
from gateway.events import AnyEvent, CallerAudio, CallInfo
from gateway.observers.journal import CallJournal, JournalFile, WritingThread
from gateway.observers.journal_file import Form, JournalHeader
from gateway.observers.journal_folder import JournalFolder
from gateway.runtime.journal import Journal
from gateway.terms import AgentTerms, CallTerms

BUDGET_US: Final = 2.0
ROUNDS: Final = 15
FRAMES: Final = 10_000
BATCH: Final = 500

INFO: Final = CallInfo("bench", "twilio", MULAW_8K)
TERMS: Final = CallTerms(agents=(AgentTerms("main"),), audio=MULAW_8K)


class Media(msgspec.Struct):
    """The part of a Twilio media message that carries sound."""

    payload: bytes


class Frame(msgspec.Struct):
    """A Twilio media message."""

    event: str
    streamSid: str  # noqa: N815 - the carrier's name
    media: Media


class NoThread(WritingThread):
    """Takes what is handed over and does nothing with it."""

    def submit(self, work: Callable[..., object], *_arguments: Any) -> None:
        """Give the place back at once."""
        if work.__name__ == "_write":
            work.__self__._places.release()  # type: ignore[attr-defined]  # noqa: SLF001


def frames() -> list[tuple[float, AnyEvent, AnyCommand]]:
    """A caller at real time, in moments as the event loop of `serve` has them."""
    sound = MULAW_8K.silence(20)
    moments = [(1_000_000 + 20 * place + place % 3 % 2) / 1000 for place in range(FRAMES)]
    return [(at, CallerAudio(sound, -60.3 - place % 9), SendAudio(sound)) for place, at in enumerate(moments)]


def microseconds(work: Callable[[], object]) -> float:
    """Best time of one frame."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        best = min(best, (time.perf_counter() - begin) / FRAMES)
    return best * 1e6


def on_the_loop(given: list[tuple[float, AnyEvent, AnyCommand]], *, kept: bool) -> float:
    """Showing frames to a journal that is kept, or to nobody."""

    def watch(_info: CallInfo, _terms: CallTerms) -> CallJournal:
        header = JournalHeader(INFO, TERMS, {}, 0.0, "compact", words=False)
        folder = JournalFolder(Path(), keep_days=1, max_bytes=1)
        return CallJournal(
            NoThread(), JournalFile(folder, "bench", header, max_bytes=1 << 40), lambda _journal: None
        )

    journal = Journal([ObserverKind("journal", watch)] if kept else [], INFO, TERMS)

    def run() -> None:
        write = journal.write
        for at, event, command in given:
            write(at, event)
            write(at, command)

    return microseconds(run)


def in_the_thread(given: list[tuple[float, AnyEvent, AnyCommand]], form: Form) -> float:
    """Coding and writing frames."""
    entries = [Entry(at, item) for at, *items in given for item in items]
    batches = [entries[at : at + BATCH] for at in range(0, len(entries), BATCH)]
    with tempfile.TemporaryDirectory(prefix="talkpath-bench-") as folder:
        header = JournalHeader(INFO, TERMS, {}, 0.0, form, words=True)
        kept = JournalFolder(Path(folder), keep_days=1, max_bytes=1 << 40)
        file = JournalFile(kept, "bench", header, max_bytes=1 << 40)

        def run() -> None:
            for batch in batches:
                file.write(batch, 0)

        try:
            return microseconds(run)
        finally:
            file.close(0)


def round_trip() -> float:
    """Reading and writing a media frame."""
    payload = base64.b64encode(bytes(160)).decode()
    text = f'{{"event":"media","streamSid":"MZ{"0" * 32}","media":{{"payload":"{payload}"}}}}'
    decoder, encoder = msgspec.json.Decoder(Frame), msgspec.json.Encoder()

    def run() -> None:
        for _ in range(FRAMES):
            encoder.encode(decoder.decode(text))

    return microseconds(run)


def main() -> int:
    """Print the figures; 1 when the budget is passed."""
    given = frames()
    loop_us = on_the_loop(given, kept=True) - on_the_loop(given, kept=False)
    print(f"comparator: decode and encode a media frame   {round_trip():6.2f} µs")
    over = False
    forms: tuple[Form, ...] = ("compact", "full")
    for form in forms:
        thread_us = in_the_thread(given, form)
        over |= loop_us + thread_us > BUDGET_US
        print(
            f"{form:8} journal, per frame of the caller        {loop_us:6.2f} µs on the loop, {thread_us:.2f} µs in "
            f"the thread, {loop_us + thread_us:.2f} µs in all (budget {BUDGET_US:g})"
        )
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
