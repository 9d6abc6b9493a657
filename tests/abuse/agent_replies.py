"""Cases of agents whose replies, words and tools come wrongly: too late, too fast, too much, or never to an end."""

import asyncio
import json

from case import AgentCase, GoesOn, GoesOnAnew
from handmade import PING, frame
from hosts import ANSWER, SPEECH, AgentDeed, AgentHost, AgentPeer, first, raw, saying, text
from peers import Peer

LATE = bytes(range(0x15, 0x65)) * 2
LEAD_MS = 2000.0
"""Sound that may lie in a caller's buffer; the default where it can be cleared."""
SLACK_MS = 1000.0
"""Measuring on a busy machine, where the first piece comes late."""
STORM = 2000


# What must be true of what was heard


def in_time(peer: Peer, _host: AgentHost) -> str:
    """Sound came no faster than it is played, but for the lead."""
    begin, sound_ms = peer.heard_at[0][0], 0.0
    for at, size_bytes in peer.heard_at:
        sound_ms += size_bytes / 8
        ahead_ms = sound_ms - (at - begin) * 1000
        if ahead_ms > LEAD_MS + SLACK_MS:
            return f"{ahead_ms:.0f} ms of sound were sent ahead"
    return ""


def never(sound: bytes) -> "_Heard":
    """This was not heard."""
    return _Heard(sound, wanted=False)


def once(sound: bytes) -> "_Heard":
    """This was heard, in one piece."""
    return _Heard(sound, wanted=True)


class _Heard:
    def __init__(self, sound: bytes, *, wanted: bool) -> None:
        self._sound = sound
        self._wanted = wanted

    def __call__(self, peer: Peer, _host: AgentHost) -> str:
        if (self._sound in peer.ever_heard) is self._wanted:
            return ""
        return f"sound was{' not' * self._wanted} heard that must{' not' * (not self._wanted)} be"


# Replies


async def _stalls(peer: AgentPeer) -> None:
    if await peer.begin():
        peer.ready()
        peer.tell("reply.started", reply_id="r1")
        peer.sound("r1", SPEECH[:800])
        await peer.until(lambda: peer.kinds("reply.create"), 8)
        peer.reply(ANSWER)
        await peer.go_on()


def _was_asked_again(_peer: Peer, host: AgentHost) -> str:
    return "" if host.peers[-1].kinds("reply.create") else "the agent was not asked to go on"


def _bursting(pieces: int, piece: bytes, apart_s: float = 0.0) -> AgentDeed:
    """Send a long reply at this pace, let it be interrupted, and be good from then on."""

    async def deed(peer: AgentPeer) -> None:
        if not await peer.begin():
            return
        peer.ready()
        peer.tell("reply.started", reply_id="long")
        loop = asyncio.get_running_loop()
        due = loop.time()
        for _ in range(pieces):
            peer.sound("long", piece)
            if apart_s:
                due += apart_s
                await asyncio.sleep(max(0.0, due - loop.time()))
            if not await peer.drain():
                return
        await asyncio.sleep(0.3)
        peer.tell("input.speech.started")
        peer.tell("transcript.agent", reply_id="long", text="A long", interrupted=True)
        peer.tell("reply.done", reply_id="long", status="interrupted")
        await peer.go_on()

    return deed


async def _slowly(peer: AgentPeer) -> None:
    if await peer.begin():
        peer.ready()
        peer.tell("reply.started", reply_id="slow")
        for at in range(0, 1600, 160):
            peer.sound("slow", SPEECH[at : at + 160])
            await asyncio.sleep(0.15)
        peer.tell("reply.done", reply_id="slow", status="completed")
        await peer.go_on()


async def _twice(peer: AgentPeer) -> None:
    if await peer.begin():
        for kind, fields in (
            ("session.updated", {"config": peer.session}),
            ("session.ready", {"session_id": "s", "config": peer.session}),
            ("input.speech.started", {}),
            ("input.speech.stopped", {}),
            ("transcript.user", {"text": "Hello?"}),
            ("reply.started", {"reply_id": "r1"}),
            ("transcript.agent.delta", {"reply_id": "r1", "delta": "Yes"}),
            ("transcript.agent", {"reply_id": "r1", "text": "Yes"}),
            ("reply.done", {"reply_id": "r1", "status": "completed"}),
        ):
            peer.tell(kind, **fields)
            peer.tell(kind, **fields)
        await peer.go_on()


async def _stops_in_mid_message(peer: AgentPeer) -> None:
    if await peer.begin():
        peer.ready()
        peer.sound("r1", SPEECH[:160])
        await peer.until(lambda: peer.pings, 5)
        peer.answers_pings = False
        peer.write(raw(json.dumps({"type": "reply.audio", "data": "A" * 5000}))[:2000])
        await peer.ending(15)


REPLY = [text("reply.audio", reply_id="r1", data="kJCQkJCQkJA=")] * 20
REPLIES = [
    AgentCase(name="reply: stalls", does="Begins a reply and never ends it.", answer="after `stalled_reply_s` asks it to go on", deed=_stalls, then=GoesOn(), also=_was_asked_again),
    AgentCase(name="reply: stops in mid-message", does="Stops in the middle of a message, and answers no ping.", answer="a new connection after `lost_after_s`", deed=first(_stops_in_mid_message), then=GoesOnAnew()),
    AgentCase(name="reply: sound after its end", does="Sends more sound of a reply that it has ended.", answer="nobody hears it", deed=saying(text("reply.started", reply_id="r1"), *REPLY, text("reply.done", reply_id="r1"), *[text("reply.audio", reply_id="r1", sound=LATE)] * 50), then=GoesOn(), also=never(LATE)),
    AgentCase(name="reply: sound before its beginning", does="Sends sound of a reply that never began.", answer="it is heard", deed=saying(text("reply.audio", reply_id="r9", sound=LATE), text("reply.done", reply_id="r9")), then=GoesOn(), also=once(LATE)),
    AgentCase(name="reply: sound of nobody", does="Sends sound without an id while there is no reply.", answer="nobody hears it", deed=saying(*[text("reply.audio", sound=LATE)] * 50), then=GoesOn(), also=never(LATE)),
    AgentCase(name="reply: ends without a beginning", does="Ends and interrupts replies that never were.", answer="ignores that", deed=saying(*[text("reply.done", reply_id=f"x{n}", status=("completed", "interrupted")[n % 2]) for n in range(200)]), then=GoesOn()),
    AgentCase(name="reply: a hundred at once", does="Begins a hundred replies and ends none.", answer="goes on", deed=saying(*[text("reply.started", reply_id=f"x{n}") for n in range(100)]), then=GoesOn()),
    AgentCase(name="reply: two at once", does="Mixes the sounds of two replies.", answer="plays one after the other", deed=saying(*[text("reply.audio", reply_id=f"x{n % 2}", sound=SPEECH[:160]) for n in range(20)], text("reply.done", reply_id="x0"), text("reply.done", reply_id="x1")), then=GoesOn()),
    AgentCase(name="reply: strange ids", does="Names its replies with nothing, an emoji and 50 kB.", answer="goes on", deed=saying(*[text(kind, reply_id=name, sound=SPEECH[:160]) for name in ("", "🤖\u0000", "x" * 50_000) for kind in ("reply.started", "reply.audio", "reply.done")]), then=GoesOn()),
    AgentCase(name="reply: everything twice", does="Says everything twice.", answer="once is enough", deed=_twice, then=GoesOn()),
    AgentCase(name="reply: ten times too slow", does="Sends 20 ms of sound every 150 ms.", answer="plays it as it comes", deed=_slowly, then=GoesOn(), also=once(SPEECH[:160])),
    AgentCase(name="reply: ten times too fast", does="Sends ten seconds of sound in one.", answer="sends it on at the pace of speech, two seconds ahead", deed=_bursting(500, SPEECH[:160], 0.002), then=GoesOn(), also=in_time, loud=True),
    AgentCase(name="reply: all at once", does="Sends a minute of sound at once.", answer="sends it on at the pace of speech", deed=_bursting(3000, SPEECH[:160]), then=GoesOn(), also=in_time, loud=True),
    AgentCase(name="reply: largest messages", does="Sends minutes of sound in messages of nearly 1 MiB.", answer="sends it on at the pace of speech", deed=_bursting(3, SPEECH * 90), then=GoesOn(), also=in_time, loud=True),
    AgentCase(name="reply: a flood", does="Sends five minutes of sound as fast as the network takes it.", answer="sends it on at the pace of speech", deed=_bursting(15_000, SPEECH[:160]), then=GoesOn(), also=in_time, loud=True),
]  # fmt: skip

# Words, tools, and the rest


def _answered(count: int) -> "_Answered":
    """The agent got as many answers to its tool calls, each once."""
    return _Answered(count)


class _Answered:
    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, _peer: Peer, host: AgentHost) -> str:
        ids = [told["call_id"] for told in host.peers[-1].kinds("tool.result")]
        if len(ids) == len(set(ids)) == self._count:
            return ""
        return f"{len(ids)} answers to {len(set(ids))} tool calls, not {self._count}"


def _ran_once(_peer: Peer, host: AgentHost) -> str:
    """The agent got the same answer however often, of a tool that counts how often it is run."""
    answers = {(told["call_id"], told["result"]) for told in host.peers[-1].kinds("tool.result")}
    return "" if len(answers) == 1 else f"{len(answers)} different answers to one tool call"


async def _tool_storm(peer: AgentPeer) -> None:
    if await peer.begin():
        peer.ready()
        for number in range(400):
            peer.tell("tool.call", call_id=f"good{number}", name="drive", arguments={"meters": number})
            peer.tell("tool.call", call_id=f"unknown{number}", name="fly", arguments={})
            peer.tell("tool.call", call_id=f"wrong{number}", name="drive", arguments="{[}")
            if number % 100 == 99:
                answers = 3 * (number + 1)
                await peer.until(lambda: len(peer.kinds("tool.result")) >= answers, 6)  # noqa: B023 - awaited at once
        await peer.go_on()


async def _same_tool(peer: AgentPeer) -> None:
    if await peer.begin():
        peer.ready()
        for _ in range(50):
            peer.tell("tool.call", call_id="t1", name="drive", arguments={"meters": 1})
        await peer.until(lambda: peer.kinds("tool.result"), 6)
        await peer.go_on()


def _storm(name: str, does: str, answer: str, *frames: bytes, loud: bool = False) -> AgentCase:
    deed = saying(*frames * (STORM // len(frames)))
    return AgentCase(name=f"storm: {name}", does=does, answer=answer, deed=deed, then=GoesOn(), loud=loud)


STORMS = [
    _storm("speech", "Hears the caller begin and stop a thousand times.", "interrupts nothing that is not said", text("input.speech.started"), text("input.speech.stopped")),
    _storm("errors", "Complains two thousand times of what is not fatal.", "passes the warnings on", text("session.error", code="invalid_audio", message="no"), text("session.error", code="weird", message="?"), text("error", code="audio_rate_violation", message="too fast")),
    _storm("unknown", "Sends two thousand messages of kinds that do not exist yet.", "passes them on", text("weather", rain=True), text("session.weather", rain=True)),
    AgentCase(name="storm: tools", does="Calls three hundred tools at once, four times, of which a third does not exist and a third has broken arguments.", answer="answers each, once", deed=_tool_storm, then=GoesOn(), also=_answered(1200), loud=True),
    AgentCase(name="storm: the same tool", does="Makes the same tool call fifty times.", answer="runs it once", deed=_same_tool, then=GoesOn(), also=_ran_once),
    AgentCase(name="storm: words", does="Sends ten thousand words at once.", answer="passes them on", deed=saying(*[text("transcript.agent.delta", reply_id="r1", delta="word ")] * 10_000), then=GoesOn(), loud=True),
    AgentCase(name="storm: longest words", does="Sends a word of 900 kB, five times.", answer="passes them on", deed=saying(*[text("transcript.user.delta", text="x" * 900_000)] * 5), then=GoesOn(), loud=True),
    AgentCase(name="storm: pings", does="Pings twenty thousand times.", answer="answers at its own pace", deed=saying(frame(b"", PING, mask=None) * 20_000), then=GoesOn(), loud=True),
]  # fmt: skip
