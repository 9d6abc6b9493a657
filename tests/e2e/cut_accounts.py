"""What a cut has cost: measured from what both ends sent and heard, and from the journal's clock."""

from cuts import VOICE, Cut
from msgspec import Struct
from numbered import FRAME_BYTES, word_sound

from gateway.commands import Remember, WatchdogFired
from gateway.events import AgentLost, AgentReady

FRAME_MS = 20.0
KEEP_S = 5.0
"""`catch_up.keep_s`, as it is unless it is set."""
SLACK_S = 0.1
"""How much less than that may be kept: what was on its way when the agent was ready."""
IN_FLIGHT_FRAMES = 5
"""What a connection that breaks in good health may cost a session that goes on, either way: nobody can know it."""


class Account(Struct, frozen=True):
    """The cost of one cut."""

    noticed_ms: float | None
    """From the cut until the gateway knew; None where it never missed the agent."""
    gap_ms: float | None
    """From the cut until an agent listened again."""
    late_ms: float
    """How much of that was this process's own lateness."""
    goes_on: bool
    """The agent understood a turn that began after the cut, and its answer was heard to the last word."""
    repeated_ms: float
    """Of the agent's words: heard more than once."""
    missing: list[int]
    """Frames of the newest seconds in which the caller spoke and that no session was told."""
    broken: list[int]
    """Utterances that no session heard whole, by their first frames; without those of which frames are missing."""
    told_twice_ms: float
    """Sound that one session was told twice."""


def account_of(cut: Cut) -> Account:
    """Measure a cut."""
    noticed_at, ready_at = noticed(cut)
    struck_at = cut.struck_at[-1] if cut.struck_at else 0.0
    missing = missing_frames(cut)
    return Account(
        noticed_ms=None if noticed_at is None else (noticed_at - struck_at) * 1000,
        gap_ms=None if ready_at is None else (ready_at - struck_at) * 1000,
        late_ms=cut.lateness.lost_ms(struck_at, ready_at or noticed_at or struck_at),
        goes_on=goes_on(cut),
        repeated_ms=repeated_ms(cut),
        missing=missing,
        broken=broken_utterances(cut, set(missing)),
        told_twice_ms=told_twice_ms(cut),
    )


def noticed(cut: Cut) -> tuple[float | None, float | None]:
    """When the last cut was noticed, and when an agent was ready after that."""
    if not cut.struck_at:
        return None, None
    losses = [at for at, _ in cut.story.items(AgentLost)]
    losses += [
        at
        for at, item in cut.story.items(Remember)
        if isinstance(item.fact, WatchdogFired) and item.fact.kind in ("no_ready", "deaf_agent")
    ]
    noticed_at = min((at for at in losses if at >= cut.struck_at[-1]), default=None)
    if noticed_at is None:
        return None, None
    readies = [at for at, _ in cut.story.items(AgentReady) if at >= noticed_at]
    return noticed_at, min(readies, default=None)


def goes_on(cut: Cut) -> bool:
    """Both ways: the caller was understood, and the agent heard."""
    if cut.result.end_reason != "agent_hung_up" or not cut.persona.said:
        return False
    if cut.case.stage == "hang_up":
        return True  # its last words were on their way; what of them arrived is the cut's doing
    last = cut.persona.said[-1]
    sounds = [
        word_sound(cut.case.name, last.sentence, word) for word in range(last.first_word, cut.persona.words)
    ]
    return all(sound[:FRAME_BYTES] in cut.result.heard_audio for sound in sounds)


def repeated_ms(cut: Cut) -> float:
    """Of all that the agent said, what the caller heard more than once."""
    heard = cut.result.heard_audio
    words = {(s.sentence, word) for s in cut.persona.said for word in range(s.first_word, cut.persona.words)}
    times = 0
    for sentence, word in words:
        sound = word_sound(cut.case.name, sentence, word)
        for at in range(0, len(sound), FRAME_BYTES):
            times += max(0, heard.count(sound[at : at + FRAME_BYTES]) - 1)
    return times * FRAME_MS


def missing_frames(cut: Cut) -> list[int]:
    """Frames of utterances that no session was told, between the first and the last that one was.

    Those are excused that were older than `keep_s` when an agent was ready again: so much is kept and no more.
    """
    heard = {n for session in cut.persona.sessions for n in session.frames}
    if not heard:
        return []
    zero_at = min(session.zero_at for session in cut.persona.sessions)
    span = range(min(heard), max(heard))
    missing = [n for n in span if VOICE.is_loud(n) and n not in heard]
    slack_s = SLACK_S + 2 * cut.lateness.worst_ms(*cut.story.span) / 1000
    readies = [at for at, _ in cut.story.items(AgentReady)]

    def was_too_old(number: int) -> bool:
        """Whether it could not be kept any more when the next agent was ready."""
        said_at = zero_at + number * FRAME_MS / 1000
        return any(at - said_at >= KEEP_S - slack_s for at in readies)

    return [n for n in missing if not was_too_old(n)]


def broken_utterances(cut: Cut, missing: set[int]) -> list[int]:
    """Utterances of which every session heard only a part."""
    sessions = [set(session.frames) for session in cut.persona.sessions]
    heard = set().union(*sessions)
    firsts = {first for n in heard if (first := VOICE.utterance_of(n)) is not None}
    broken = []
    for first in sorted(firsts):
        frames = set(VOICE.utterance(first))
        whole = any(frames <= session for session in sessions)
        if not whole and frames <= heard and not frames & missing:
            broken.append(first)
    return broken


def told_twice_ms(cut: Cut) -> float:
    """What sessions heard more than once."""
    return sum(len(s.frames) - len(set(s.frames)) for s in cut.persona.sessions) * FRAME_MS
