"""The process that recognises speech: it holds its interpreter's lock, so that no call has to wait for it.

Reads requests from standard input and answers on standard output. A request is one line of JSON, ``{"grammar", "size"}``,
and ``size`` bytes of PCM at 16 kHz; the answer one line, ``{"text"}`` with ``null`` for what fits no phrase, or
``{"problem"}``. Ends when its input ends. Started by `gateway.runtime.hearing`; nothing else may import it.
"""

import contextlib
import math
import os
import re
import sys
from collections import OrderedDict
from typing import Any, BinaryIO, Final

import msgspec

_KEPT_GRAMMARS: Final = 8
_RATE_HZ: Final = 16000
# A closed grammar finds something in everything. What was found must therefore sound nearly as likely as free
# phones do, and its words must fill most of the utterance. Measured on the recordings in gateway/simulate/speech:
# people's commands lie above -13 (log likelihood per frame, in ten-thousandths), other speech mostly below -20.
_LEAST_LIKELY: Final = -17.0
_LEAST_FILLED: Final = 0.45
_AIR_FRAMES: Final = 30
# Frames the recogniser may count as one word before the "word" is suspected to have swallowed other speech.
_LONGEST_WORD_FRAMES: Final = 110


class _Request(msgspec.Struct):
    grammar: str
    size: int


class Recogniser:
    """Pocketsphinx with closed grammars, and a phone loop to compare with."""

    def __init__(self) -> None:
        import pocketsphinx  # noqa: PLC0415 - the optional part; only this process loads it

        self._decoder: Any = pocketsphinx.Decoder(
            lm=None, loglevel="FATAL", samprate=float(_RATE_HZ), wip=0.1, silprob=0.3
        )
        self._decoder.add_allphone_file("phones", None)
        self._grammars: OrderedDict[str, str] = OrderedDict()
        self._count = 0

    def load(self, grammar: str) -> str:
        """Make a grammar ready; the name under which the decoder knows it.

        Raises:
            ValueError: naming the words that the dictionary does not have.
        """
        if name := self._grammars.get(grammar):
            self._grammars.move_to_end(grammar)
            return name
        words = set(
            re.findall(r"[a-z][a-z'.-]*", re.sub(r"<[^>]*>|#JSGF.*|grammar \w+;|public ", " ", grammar))
        )
        if missing := sorted(word for word in words if self._decoder.lookup_word(word) is None):
            raise ValueError(
                f"the recogniser does not know {', '.join(missing)}; use other words in the script"
            )
        self._count += 1
        name = f"g{self._count}"
        self._decoder.add_jsgf_string(name, grammar)
        self._grammars[grammar] = name
        while len(self._grammars) > _KEPT_GRAMMARS:
            self._decoder.remove_search(self._grammars.popitem(last=False)[1])
        return name

    def recognise(self, grammar: str, pcm: bytes) -> str | None:
        """The phrase that was said, or ``None``."""
        name = self.load(grammar)
        if len(pcm) < _RATE_HZ // 5:
            return None
        found, score, filled, longest = self._decode(name, pcm)
        if not found or filled < _LEAST_FILLED or longest > _LONGEST_WORD_FRAMES:
            return None
        _, free, _, _ = self._decode("phones", pcm)
        frames = len(pcm) / 2 / _RATE_HZ * 100
        return found if (score - free) / frames * 10_000 >= _LEAST_LIKELY else None

    def _decode(self, search: str, pcm: bytes) -> tuple[str, float, float, int]:
        """What was found, its log likelihood, the share of time that is words, and the longest word in frames."""
        decoder = self._decoder
        decoder.activate_search(search)
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        if best is None or best.best_score <= 0:
            return "", -math.inf, 0.0, 0
        spans = [
            segment.end_frame - segment.start_frame + 1
            for segment in decoder.seg()
            if segment.word[0] not in "<[("
        ]
        frames = max(30.0, len(pcm) / 2 / _RATE_HZ * 100 - _AIR_FRAMES)
        return best.hypstr, math.log(best.best_score), sum(spans) / frames, max(spans, default=0)


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer requests until the input ends."""
    recogniser = Recogniser()
    decoder = msgspec.json.Decoder(_Request)
    target.write(b'{"ready":true}\n')
    target.flush()
    while line := source.readline():
        request = decoder.decode(line)
        pcm = source.read(request.size)
        try:
            answer: dict[str, str | None] = {"text": recogniser.recognise(request.grammar, pcm)}
        except (ValueError, RuntimeError) as error:
            answer = {"problem": str(error) or "the grammar cannot be used"}
        target.write(msgspec.json.encode(answer) + b"\n")
        target.flush()


if __name__ == "__main__":
    os.nice(5)  # a word recognised later is better than sound sent late
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
