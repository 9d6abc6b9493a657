"""What a cut on the caller's side has cost: measured from what the caller heard and the agent said, and from clocks."""

from caller_cuts import CallerCut
from msgspec import Struct
from numbered import FRAME_BYTES, word_sound

from gateway.events import CallerLost, CallerReturned

FRAME_MS = 20.0
SPOKEN_S = 2.5
"""How long before a cut the agent may have begun to say what was in the carrier's buffer when it came."""


class CallerAccount(Struct, frozen=True):
    """The cost of one cut."""

    noticed_ms: float | None
    """From the cut until the gateway knew; None where it did not miss the caller before it was back."""
    gap_ms: float | None
    """From the cut until the caller was there again; None where it was not cut off, or not for the last time."""
    late_ms: float
    """How much of that was this process's own lateness."""
    stalled_ms: float
    """The longest that it stood still while the agent was speaking, or the caller away."""
    goes_on: bool
    """The agent said goodbye after the cut, and the call ended for that."""
    missing_ms: float
    """Of what the agent said and nobody interrupted: never heard."""
    repeated_ms: float
    """Of what the agent said: heard more than once."""
    unheard_frames: int
    """Frames of the caller that were said on the new connection and did not reach the agent."""


def caller_account(cut: CallerCut) -> CallerAccount:
    """Measure a cut."""
    struck_at = cut.struck_at
    lost = [at for at, _ in cut.story.items(CallerLost) if struck_at is not None and at >= struck_at]
    back = [at for at, _ in cut.story.items(CallerReturned) if struck_at is not None and at >= struck_at]
    missing_ms, repeated_ms = heard_wrong(cut)
    return CallerAccount(
        noticed_ms=(lost[0] - struck_at) * 1000 if lost and struck_at is not None else None,
        gap_ms=(back[0] - struck_at) * 1000 if back and struck_at is not None else None,
        late_ms=cut.lateness.lost_ms(struck_at or 0.0, (back or lost or [struck_at or 0.0])[0]),
        stalled_ms=cut.lateness.worst_ms(
            (struck_at or 0.0) - SPOKEN_S, (back or [cut.story.span[1]])[0] + 0.5
        ),
        goes_on=cut.result.end_reason == "agent_hung_up" and bool(cut.persona.answered),
        missing_ms=missing_ms,
        repeated_ms=repeated_ms,
        unheard_frames=unheard_frames(cut),
    )


def heard_wrong(cut: CallerCut) -> tuple[float, float]:
    """How much of the agent's words was never heard, and how much twice; what was interrupted need not be heard."""
    heard = cut.result.heard_audio
    missing = repeated = 0
    for said in cut.persona.said:
        fact = cut.story.heard.get(said.reply_id)
        for word in range(said.first_word, cut.persona.words):
            sound = word_sound(cut.case.name, said.sentence, word)
            for at in range(0, len(sound), FRAME_BYTES):
                times = heard.count(sound[at : at + FRAME_BYTES])
                repeated += max(0, times - 1)
                missing += times == 0 and fact is not None and fact.cut_ms == 0
    return missing * FRAME_MS, repeated * FRAME_MS


def unheard_frames(cut: CallerCut) -> int:
    """Of the frames after the last return, those between the first and the last that the agent heard and did not hear."""
    (session,) = cut.persona.sessions
    heard = set(session.frames)
    readies = [at for at, _ in cut.story.items(CallerReturned)]
    since_at = readies[-1] if readies else session.zero_at
    first = max(0, int((since_at - session.zero_at) * 1000 / FRAME_MS) + 1)
    after = [n for n in heard if n >= first]
    return sum(n not in heard for n in range(min(after), max(after))) if after else 0
