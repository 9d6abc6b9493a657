"""Attacks on proofs: none, wrong, old, used, another's, or for another place."""

import asyncio
import json
from urllib.parse import urlsplit

import msgspec
from attack import POLICY, Attack, is_adapter, is_carrier, with_code, with_status, without_proof
from castle import KEY, OTHER_KEY, TOKEN_S, VONAGE_SECRET, Attempt, Castle, Found
from gates import Gate, TwilioGate, VonageGate, bearer, changed
from gates_of_clients import GATES, BrowserGate, PcmGate


async def tried(castle: Castle, gate: Gate, attempts: list[Attempt]) -> list[Found]:
    """Carry out attempts one after the other."""
    return [await castle.knock(attempt, gate.dialect) for attempt in attempts]


async def unproven(castle: Castle, gate: Gate) -> list[Found]:
    return await tried(castle, gate, await gate.unproven(castle))


async def wrongly_proven(castle: Castle, gate: Gate) -> list[Found]:
    return await tried(castle, gate, await gate.wrongly_proven(castle))


async def grow_old(castle: Castle) -> None:
    """Mint what will be too old when it is used."""
    castle.aged = {gate.name: await gate.aged(castle) for gate in GATES.values() if gate.own_token}
    castle.aged_at = asyncio.get_running_loop().time()


async def aged(castle: Castle, gate: Gate) -> list[Found]:
    """Wait until what was minted at the beginning is too old."""
    if not castle.aged:
        await grow_old(castle)
    await asyncio.sleep(max(0.0, castle.aged_at + TOKEN_S + 0.3 - asyncio.get_running_loop().time()))
    return await tried(castle, gate, castle.aged[gate.name])


def ages(gate: Gate) -> bool:
    return gate.own_token


# Used before


async def replayed(castle: Castle, gate: Gate) -> list[Found]:
    """Call as an honest peer, hang up, and come again with the same proof."""
    good = await gate.invite(castle, "good") if gate.is_carrier else await gate.invite(castle)
    before = await castle.knock(good, gate.dialect)
    assert before.heard, f"the honest call was refused: {before}"
    castle.honest_prizes += not gate.is_carrier
    return [await castle.knock(changed(good, "once more"), gate.dialect)]


async def replayed_at_once(castle: Castle, gate: Gate) -> list[Found]:
    """Come with one proof ten times at once: the one that is let in is not told of."""
    good = await gate.invite(castle, "good") if gate.is_carrier else await gate.invite(castle)
    found = await asyncio.gather(*[castle.knock(changed(good, "at once"), gate.dialect) for _ in range(10)])
    won = [one for one in found if one.heard]
    castle.honest_prizes += min(1, len(won)) * (not gate.is_carrier)
    assert won, "none of them was let in"
    return [one for one in found if one is not won[0]]


async def webhook_replayed(castle: Castle, gate: Gate) -> list[Found]:
    """Use the proof of an answered webhook for another question, and to another address."""
    assert isinstance(gate, VonageGate)
    asked = gate.webhook(castle, fields={"to": "good"})
    assert (await castle.knock(asked)).status == 200
    got = Attempt(
        what="as a GET", method="GET", target="/vonage/answer?uuid=2&from=1&to=prize", fields=asked.fields[1:]
    )
    elsewhere = changed(asked, "to another route", target="/vonage/answer/prize")
    event = changed(asked, "as an event", target="/vonage/event")
    return [await castle.knock(one) for one in (got, elsewhere, event)]


async def stream_replayed(castle: Castle, gate: Gate) -> list[Found]:
    """Where a signature is enough, play a recorded upgrade and its messages again."""
    assert isinstance(gate, TwilioGate)
    url = castle.origin.replace("http", "ws", 1) + "/v1/ws/twilio"
    good = gate.socket(castle, url, "CA" + "e" * 32)
    before = await castle.knock(good, gate.dialect)
    assert before.heard, f"the honest call was refused: {before}"
    castle.honest_prizes += 1
    return [await castle.knock(changed(good, "the same stream"), gate.dialect)]


# Another's


async def swapped_call(castle: Castle, gate: Gate) -> list[Found]:
    """Bring a token of one's own, and say to be another call."""
    mine, other = await gate.invite(castle, "good"), await gate.invite(castle, "good")
    assert mine.way.call != other.way.call
    if isinstance(gate, TwilioGate):
        said = msgspec.structs.replace(mine.way, call=other.way.call)
        return [await castle.knock(changed(mine, "another callSid", way=said), gate.dialect)]
    first = {**json.loads(mine.way.first), "call_uuid": other.way.call}
    said = msgspec.structs.replace(mine.way, first=json.dumps(first))
    return [await castle.knock(changed(mine, "another call_uuid", way=said), gate.dialect)]


async def another_session(castle: Castle, gate: Gate) -> list[Found]:
    """Go on with a session that belongs to another key, by its id, and with tokens of one's own."""
    assert isinstance(gate, BrowserGate)
    owner = changed(gate.somewhere(castle, gate.target(castle, "good"), bearer(KEY)), "the owner")
    socket = await castle.connect()
    try:
        socket.write(castle.written(owner))
        assert await socket.opened() == 101
        await socket.say(*gate.dialect.begin(owner.way))
        assert await socket.until(lambda: any("session.ready" in str(one) for one in socket.received), 5)
        ready = next(json.loads(one) for one in socket.received if "session.ready" in str(one))
        resume = (json.dumps({"type": "session.resume", "session_id": ready["session_id"]}),)
        minted = await gate.mint(castle, KEY), await gate.mint(castle, OTHER_KEY)
        # with the token with which one may come back, no other call may be begun
        back = f"/v1/ws/browser?token={ready['resume_token']}"
        attempts = [
            changed(gate.somewhere(castle, "/v1/ws/browser", bearer(OTHER_KEY)), "another key", begin=resume),
            changed(gate.with_token(castle, minted[1]), "another key's token", begin=resume),
            changed(gate.with_token(castle, minted[0]), "a token of the key that began it", begin=resume),
            changed(gate.somewhere(castle, back, ()), "a new call with a token to come back"),
            changed(gate.somewhere(castle, back[:-1], ()), "a token to come back, cut short", begin=resume),
        ]
        return [await castle.knock(attempt, gate.dialect) for attempt in attempts]
    finally:
        await socket.leave()


# For another place


async def on_other_adapters(castle: Castle, gate: Gate) -> list[Found]:
    """Bring a good proof and a good token to every other adapter."""
    attempts = []
    for other in GATES.values():
        if other.name in ("api", gate.name):
            continue
        mine = await gate.invite(castle, "good" if gate.is_carrier else "prize")
        token = mine.target.rpartition("/" if gate.is_carrier else "=")[2]
        theirs = await other.invite(castle)
        if other.is_carrier and gate.is_carrier:
            # signed as it must be there: only the token is another's
            target = f"/v1/ws/{other.name}/{token}"
            url = castle.origin.replace("http", "ws", 1) + target
            signed = (
                TwilioGate().socket(castle, url, "CA1").fields
                if other.name == "twilio"
                else VonageGate().proof()
            )
            way = msgspec.structs.replace(theirs.way, call=mine.way.call, first=_first_of(theirs, mine))
            told = f"{gate.name}'s token"
            attempts.append((other, changed(theirs, told, target=target, fields=signed, way=way)))
        elif gate.is_carrier:
            fields = () if castle.place == "loopback" else mine.fields
            places: tuple[str, ...] = (f"/v1/ws/{other.name}/{token}", f"/v1/ws/{other.name}?token={token}")
            told = f"{gate.name}'s token"
            attempts += [(other, changed(theirs, told, target=target, fields=fields)) for target in places]
        elif other.is_carrier:
            here = f"/v1/ws/{other.name}"
            places = (here, f"{here}/{token}", f"{here}?token={token}")
            told, fields = f"{gate.name}'s proof", bearer(KEY) if castle.place != "loopback" else ()
            attempts += [(other, changed(theirs, told, target=target, fields=fields)) for target in places]
    return [await castle.knock(attempt, other.dialect) for other, attempt in attempts]


def _first_of(theirs: Attempt, mine: Attempt) -> str:
    """The first message of another dialect, in which stands the call that a token is for."""
    first = json.loads(theirs.way.first or "{}")
    return json.dumps({**first, "call_uuid": mine.way.call}) if first else ""


async def on_other_routes(castle: Castle, gate: Gate) -> list[Found]:
    """Use what is good for one route on another one."""
    if isinstance(gate, TwilioGate):
        signed = gate.webhook(castle, {}, "/twilio/voice/good")
        after = gate.webhook(castle, {}, "/twilio/status")
        return [
            await castle.knock(changed(signed, "a webhook of another route", target="/twilio/voice/prize")),
            await castle.knock(changed(signed, "a webhook of no route", target="/twilio/voice")),
            await castle.knock(changed(after, "a status as a call", target="/twilio/voice")),
        ]
    assert isinstance(gate, PcmGate)
    return await tried(castle, gate, await gate.beyond_its_route(castle))


async def for_other_addresses(castle: Castle, gate: Gate) -> list[Found]:
    """Bring a right signature for another address, and header fields that claim it."""
    assert isinstance(gate, TwilioGate)
    good = await gate.invite(castle)
    path = urlsplit(good.way.url).path
    claims = (
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "host=evil.example;proto=https"),
    )
    others = {
        "another host": f"wss://evil.example{path}",
        "the address behind the proxy": f"ws://127.0.0.1:{castle.ground.port}{path}",
        "another port": f"wss://voice.example.com:8443{path}",
        "another path": "wss://voice.example.com/v1/ws/twilio",
        "with a query": f"{good.way.url}?a=b",
        "a user in front": f"wss://evil@voice.example.com{path}",
    }
    found = []
    for what, url in others.items():
        signed = gate.socket(castle, good.way.url, good.way.call, signed=url)
        host = urlsplit(url).netloc.rpartition("@")[2]
        for claimed, fields in ((what, ()), (f"{what}, claimed", claims)):
            attempt = changed(signed, claimed, fields=(*signed.fields, *fields), host=host)
            found.append(await castle.knock(attempt, gate.dialect))
    for origin in ("https://evil.example", f"http://127.0.0.1:{castle.ground.port}"):
        hook = gate.webhook(castle, {}, signed=f"{origin}/twilio/voice")
        attempt = changed(
            hook, f"a webhook at {origin}", fields=(*hook.fields, *claims), host=origin.partition("://")[2]
        )
        found.append(await castle.knock(attempt))
    return found


async def downgraded(castle: Castle, gate: Gate) -> list[Found]:
    """Bring a proof of a weaker kind."""
    good = await gate.invite(castle)
    attempts = []
    if isinstance(gate, TwilioGate):
        for scheme in ("ws", "http"):
            url = good.way.url.replace("wss", scheme, 1)
            attempts.append(
                changed(gate.socket(castle, good.way.url, good.way.call, signed=url), f"signed as {scheme}")
            )
        attempts.append(gate.webhook(castle, {}, signed=f"http://{castle.host}/twilio/voice"))
    elif isinstance(gate, VonageGate):
        none = gate.proof(alg="none")[0][1].rpartition(".")[0] + "."
        attempts.append(changed(good, "alg none", fields=(("Authorization", none),)))
        weak = ("none", "None", "HS512", "HS1", "RS256", "ES256")
        attempts += [changed(good, f"alg {alg}", fields=gate.proof(alg=alg)) for alg in weak]
        hook = gate.webhook(castle, alg="none")
        attempts.append(changed(hook, "a webhook with alg none"))
        attempts.append(changed(gate.webhook(castle), "the secret itself", fields=bearer(VONAGE_SECRET)))
    return await tried(castle, gate, attempts)


LATE = "refuses: 403, or 1008 on an open socket"
PROOFS = [
    Attack(name="no proof", does="Comes without a proof, or with a part of it.", answer=LATE, deed=unproven, refused=without_proof),
    Attack(name="wrong proof", does="Comes with a proof that resembles a good one.", answer=LATE, deed=wrongly_proven, refused=without_proof),
    Attack(name="expired", does="Comes with a proof that was good.", answer=LATE, deed=aged, refused=without_proof, suits=ages),
    Attack(name="replayed", does="Comes a second time with the proof of a call that was.", answer=LATE, deed=replayed, refused=without_proof, suits=ages),
    Attack(name="replayed at once", does="Comes ten times at once with one proof.", answer="takes one of them", deed=replayed_at_once, refused=without_proof, suits=ages),
    Attack(name="replayed webhook", does="Uses the proof of one webhook for another one.", answer="403", deed=webhook_replayed, refused=with_status(403), suits=lambda gate: gate.name == "vonage"),
    Attack(name="replayed stream", does="Plays a stream again, where its signature is enough.", answer="closes with 1008", deed=stream_replayed, refused=with_code(POLICY), place="loopback", suits=lambda gate: gate.name == "twilio"),
    Attack(name="swapped call", does="Comes with its own token and says to be another call.", answer="closes with 1008", deed=swapped_call, refused=with_code(POLICY), suits=is_carrier),
    Attack(name="swapped session", does="Goes on with the session of somebody else.", answer="closes with 1008", deed=another_session, refused=with_code(POLICY), suits=lambda gate: gate.name == "browser"),
    Attack(name="wrong adapter", does="Uses a good token and a good proof on another adapter.", answer=LATE, deed=on_other_adapters, refused=without_proof, suits=is_adapter),
    Attack(name="wrong adapter: this machine", does="Uses a carrier's token on an adapter that asks this machine for none.", answer=LATE, deed=on_other_adapters, refused=without_proof, suits=is_carrier, place="loopback"),
    Attack(name="wrong route", does="Uses a proof that is good for one route on another one.", answer="403 or 404, or 1008 on an open socket", deed=on_other_routes, refused=without_proof, suits=lambda gate: gate.name != "vonage"),
    Attack(name="wrong address", does="Brings a right signature for another address, and header fields that claim it.", answer="403", deed=for_other_addresses, refused=with_status(403), suits=lambda gate: gate.name == "twilio"),
    Attack(name="downgraded", does="Signs for a scheme, or by an algorithm, that is weaker.", answer="403", deed=downgraded, refused=with_status(403), suits=is_carrier),
]  # fmt: skip
