"""The words of one reply, and which of them were heard.

Owns how a reply's text is put together from what the agent sends, and where it is cut when only a part of its
sound was played. Refuses clocks, sound and any knowledge of calls; the text shown to people, the transcript
and the prompt of a rebuilt session all come from here, so that they agree.
"""

from typing import Final

from gateway.commands import ReplyHeard
from gateway.events import AgentSaid

MAX_CHARACTERS: Final = 20_000
"""Longest reply that is kept, about twenty minutes of speech; what an agent sends beyond it is dropped."""


def join_words(text: str, word: str) -> str:
    """Append a word as the provider means it: a space between them only when neither side has one.

    Greeting words come without trailing spaces, the others with them (reference: Voice Agent API, 4.8).
    """
    if not text or not word or text[-1].isspace() or word[0].isspace():
        return text + word
    return f"{text} {word}"


class ReplyWords:
    """Collects the words of one reply and divides them into heard and unheard."""

    def __init__(self) -> None:
        self._spoken = ""  # the deltas, joined
        self._middles_ms: list[float | None] = []  # of each of its words, where the agent said
        self._final = ""
        self._trimmed = False

    def __bool__(self) -> bool:
        return bool(self._spoken or self._final)

    def add(self, said: AgentSaid) -> None:
        """Take a delta or the whole text, in any order; an empty one says nothing."""
        if said.final:
            if said.text.strip():
                self._final, self._trimmed = said.text[:MAX_CHARACTERS], said.interrupted
            return
        spoken = join_words(self._spoken, said.text)
        if len(spoken) > MAX_CHARACTERS:
            return
        for part, end in _parts(said.text):
            self._middles_ms.append(_place(said, (end - len(part) / 2) / len(said.text)))
        self._spoken = spoken

    @property
    def text(self) -> str:
        """The whole reply as composed, spoken or not.

        The agent trims the final text of an interrupted reply to what it has spoken, and may send none at all;
        the deltas describe the whole reply (reference: Voice Agent API, 4.8 and 4.9).
        """
        if not self._final:
            return self._spoken
        final, spoken = _plain(self._final), _plain(self._spoken)
        if final in spoken or (self._trimmed and spoken and spoken not in final):
            return self._spoken
        return self._final

    @property
    def source(self) -> str:
        """Where `text` comes from: ``final`` or ``deltas``; empty when there is none."""
        return ("final" if self.text == self._final else "deltas") if self else ""

    @property
    def timed(self) -> bool:
        """Whether the agent said where its words lie in the audio; else `split` estimates."""
        return any(self._middles_ms) and len(self.text.split()) == len(self._middles_ms)

    def split(self, heard_ms: float, total_ms: float, audible_from_ms: float = 0.0) -> tuple[str, str]:
        """Divide the text after the last word of which at least half was heard; the halves add up to `text`.

        Args:
            heard_ms: What the caller heard of the reply's audio, from its first chunk.
            total_ms: What there is of the reply's audio.
            audible_from_ms: Digital silence in front, of which the estimate takes no notice.
        """
        text = self.text
        if heard_ms <= 0:
            return "", text
        if heard_ms >= total_ms and self._final and not self._trimmed:
            return text, ""  # nothing was cut, and the agent's times may point past the end of its audio
        if self.timed:
            return _cut(text, self._heard_by_time(text, heard_ms))
        # An interrupted agent sent the audio of the trimmed text only, the deltas tell the rest as well.
        trimmed = self._trimmed and text.startswith(self._final)
        with_audio = len(self._final) if trimmed else len(text)
        length_ms = total_ms - audible_from_ms
        share = (heard_ms - audible_from_ms) / length_ms if length_ms > 0 else 0.0
        return _cut(text, _word_end(text, with_audio * min(1.0, max(0.0, share))))

    def split_by(self, fact: ReplyHeard) -> tuple[str, str]:
        """Divide the text by what is known of the playback; a reply of which only silence was heard is unheard.

        Text of a reply that stayed silent can arrive all the same (reference: Voice Agent API, 2.4).
        """
        if fact.audible_from_ms is None or fact.heard_ms <= fact.audible_from_ms:
            return "", self.text
        return self.split(fact.heard_ms, fact.heard_ms + fact.cut_ms, fact.audible_from_ms)

    def _heard_by_time(self, text: str, heard_ms: float) -> int:
        """Characters of the text up to the last heard word; a word without a time is heard with its follower.

        The final text may write the same words in another way, such as figures; then they are counted.
        """
        heard = 0
        for middle_ms, (_, end) in zip(self._middles_ms, _parts(text), strict=True):
            if middle_ms is None:
                continue
            if middle_ms > heard_ms:
                break
            heard = end
        return heard


def _place(said: AgentSaid, share: float) -> float | None:
    """Where a share of a delta's text lies in the reply's audio."""
    start, end = said.start_ms, said.end_ms
    if start is None or end is None:
        return start if end is None else end
    return start + (end - start) * share


def _plain(text: str) -> str:
    """The text without its white space, for comparing."""
    return "".join(text.split())


def _parts(text: str) -> list[tuple[str, int]]:
    """The words of a text, each with the place where it ends."""
    parts = []
    end = 0
    for part in text.split():
        end = text.index(part, end) + len(part)
        parts.append((part, end))
    return parts


def _word_end(text: str, characters: float) -> int:
    """End of the last word of which at least half lies within so many characters."""
    heard = 0
    for part, end in _parts(text):
        if end - len(part) / 2 > characters:
            break
        heard = end
    return heard


def _cut(text: str, end: int) -> tuple[str, str]:
    """Divide a text; white space at the cut goes to the second half, or to the first when nothing follows."""
    heard = text[:end].rstrip()
    return (text, "") if not text[end:].strip() and heard else (heard, text[len(heard) :])
