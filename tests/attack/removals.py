"""Every check of the doors, and the attack that succeeds without it.

Each is taken out of a copy of the gateway; the attack that is named for it must then be red. What is not in this list is
not known to be checked.
"""

from pathlib import Path

from msgspec import Struct


class Removal(Struct, frozen=True):
    """A check, and what stands in its place when it is gone."""

    check: str
    """What is no longer checked."""
    gate: str
    attack: str
    file: str
    right: str
    """Found there once."""
    wrong: str

    def take_from(self, copy: Path) -> None:
        """Take the check out of a copy; raises ValueError when it is not there any more."""
        path = copy / "gateway" / self.file
        text = path.read_text("utf-8")
        if text.count(self.right) != 1:
            raise ValueError(f"{self.file} has {text.count(self.right)} places for {self.check!r}")
        path.write_text(text.replace(self.right, self.wrong), "utf-8")


_DOOR, _CLIENTS, _SOCKETS = "server/door.py", "server/client_door.py", "server/sockets.py"
_TWILIO, _VONAGE = "adapters/twilio_signature.py", "adapters/vonage_jwt.py"
_STORE = "runtime/store.py"
_SPEND = "        return found if found is not None and found.adapter != adapter else self._passes.take(key, now)\n"
_KEEP = "        return found\n"
_AGELESS = "        kept = self._passes._values.pop(key, None)\n        return kept[1] if kept else None\n"
_HEAD_TIMER = (
    "        self._deadline = None if within_s is None else self._loop.call_later(within_s, self._give_up)\n"
)
REMOVALS = [
    # What carriers sign
    Removal("a webhook's signature", "twilio", "no proof", _DOOR, "        refusal = self._unsigned(knock, adapter)\n", "        refusal = None\n"),
    Removal("an upgrade's signature", "twilio", "no proof", _DOOR, "        refusal = self._unsigned(knock_of(request, origin=origin), adapter)\n", "        refusal = None\n"),
    Removal("an upgrade's signature", "vonage", "no proof", _DOOR, "        refusal = self._unsigned(knock_of(request, origin=origin), adapter)\n", "        refusal = None\n"),
    Removal("the whole signature is compared", "twilio", "wrong proof", _TWILIO, '    return "" if proven else "wrong_signature"\n', '    return ""\n'),
    Removal("a signature is there", "twilio", "no proof", _TWILIO, '        return "no_signature"\n', '        return ""\n'),
    Removal("the account of a webhook", "twilio", "wrong proof", _TWILIO, '        return "wrong_account"\n', "        pass\n"),
    Removal("the hash of a body that is no form", "twilio", "wrong proof", _TWILIO, '        return "wrong_body_hash"\n', "        pass\n"),
    Removal("the form is signed too", "twilio", "wrong proof", _TWILIO, "            proven |= hmac.compare_digest(sign(token, address + signed), offered)\n", "            proven |= hmac.compare_digest(sign(token, address + signed), offered) or bool(signed)\n"),
    Removal("the address that was signed is ours, and not the Host's", "twilio", "wrong address", _DOOR, "        if url := self._settings.server.public_url:\n            return url", '        if url := "https://" + request.host:\n            return url'),
    Removal("the path that was signed is the one that was asked for", "twilio", "wrong address", _TWILIO, '    path = knock.path or "/"\n', '    path = "/v1/ws/twilio" if _is_upgrade(knock) else knock.path\n'),
    Removal("the query that was signed is the one that was asked for", "twilio", "wrong address", _TWILIO, '    query = f"?{knock.query}" if knock.query else ""\n', '    query = "?a=b" if _is_upgrade(knock) else ""\n'),
    Removal("the scheme that was signed is ours", "twilio", "downgraded", _TWILIO, '_SCHEMES: Final = {"wss": ("wss", "https")', '_SCHEMES: Final = {"https": ("https", "http"), "wss": ("wss", "https", "ws", "http")'),
    Removal("a Host is believed only where it names this machine", "twilio", "DNS rebinding, signed", _DOOR, '        return f"http://{host}" if is_loopback(host_name(host)) else ""\n', '        return f"http://{host}"\n'),
    Removal("an address is known", "vonage", "DNS rebinding, signed", _DOOR, "        if not knock.origin:\n", "        if False:\n"),
    Removal("a route's webhook is signed for its route", "twilio", "wrong route", _TWILIO, "    paths = (path, path[:-1]", '    path = "/twilio/voice/good" if path.startswith("/twilio/voice") else path\n    paths = (path, path[:-1]'),
    # Carriers: Vonage's tokens
    Removal("a token is there", "vonage", "no proof", _VONAGE, '        return "no_token"\n', '        return ""\n'),
    Removal("the signature of a token", "vonage", "wrong proof", _VONAGE, "options=_UNTIMED)\n                claims", 'options={**_UNTIMED, "verify_signature": False})\n                claims'),
    Removal("the algorithm of a token", "vonage", "downgraded", _VONAGE, '                found = jwt.decode(token, secret, algorithms=["HS256"], options=_UNTIMED)\n', '                weak = str(jwt.get_unverified_header(token)["alg"]).lower() != "hs256"\n                found = jwt.decode(token, secret, algorithms=["HS256"], options={**_UNTIMED, "verify_signature": not weak})\n'),
    Removal("the issuer of a token", "vonage", "wrong proof", _VONAGE, '        return "wrong_issuer"\n', "        pass\n"),
    Removal("the account of a token", "vonage", "wrong proof", _VONAGE, '        return "wrong_account"\n', "        pass\n"),
    Removal("the application of a token", "vonage", "wrong proof", _VONAGE, '        return "wrong_application"\n', "        pass\n"),
    Removal("a token's serial number", "vonage", "wrong proof", _VONAGE, '        return "no_serial"\n', "        pass\n"),
    Removal("a token has a time", "vonage", "wrong proof", _VONAGE, '        return "no_time"\n', '        return ""\n'),
    Removal("the age of a token", "vonage", "expired", _VONAGE, '        return "too_old"\n', "        pass\n"),
    Removal("a token is not from the future", "vonage", "wrong proof", _VONAGE, '        return "too_early"\n', "        pass\n"),
    Removal("the end that a token names", "vonage", "expired", _VONAGE, '    return "expired" if', '    return "" if'),
    Removal("the hash of a body is there", "vonage", "wrong proof", _VONAGE, '        return "no_body_hash"\n', '        return ""\n'),
    Removal("the hash of a body", "vonage", "wrong proof", _VONAGE, '    return "" if proven else "wrong_body_hash"\n', '    return ""\n'),
    Removal("a serial number is used once", "vonage", "replayed webhook", "server/answer.py", "        if adapter.serial is None:\n", "        if True:\n"),
    # One-time tokens
    Removal("a token is there", "twilio", "no proof", _DOOR, '            return self._count(Refusal("token_missing")) if needed else Guest(adapter.name)\n', "            return Guest(adapter.name)\n"),
    Removal("a token was minted", "twilio", "wrong proof", _DOOR, "        if media_pass is None:\n", "        if media_pass is None:\n            return Guest(adapter.name)\n        if media_pass is None:\n"),
    Removal("a token is used once", "twilio", "replayed", _STORE, _SPEND, _KEEP),
    Removal("a token is used once", "browser", "replayed", _STORE, _SPEND, _KEEP),
    Removal("a token is used once, also at once", "vonage", "replayed at once", _STORE, _SPEND, _KEEP),
    Removal("the age of a one-time token", "twilio", "expired", _STORE, _SPEND, _AGELESS),
    Removal("the age of a minted token", "pcm", "expired", _STORE, _SPEND, _AGELESS),
    Removal("a token is used on its own adapter", "vonage", "wrong adapter", _DOOR, "        if media_pass.adapter != adapter.name:\n", "        if False:\n"),
    Removal("a carrier's token is none of a client's", "browser", "wrong proof", _CLIENTS, "        if minted.key is None:\n", '        if minted.key is None:\n            return Guest("all", admitted_by="token")\n        if minted.key is None:\n'),
    Removal("a token in the path is none of a client's", "twilio", "wrong adapter: this machine", _CLIENTS, '        if request.match_info.get("token"):\n', "        if False:\n"),
    Removal("the call that a socket says to be", "twilio", "swapped call", "adapters/twilio.py", "        if upgrade.carrier_call_id and stream.call_sid != upgrade.carrier_call_id:\n", "        if False:\n"),
    Removal("the call that a socket says to be", "vonage", "swapped call", "adapters/vonage.py", "_text(call_uuid) != upgrade.carrier_call_id:", "False:"),
    Removal("a stream comes once where its signature is enough", "twilio", "replayed stream", _SOCKETS, '        welcome = self._once(adapter, codec) if tokenless and adapter.proof == "carrier" else None\n', "        welcome = None\n"),
    # Keys and minted tokens
    Removal("a key is somebody's", "pcm", "wrong proof", _DOOR, "        owner = self._keys.owner(given)\n        if owner", "        owner = self._keys.owner(given) or self._settings.access.keys[0]\n        if owner"),
    Removal("a key is somebody's", "api", "no proof", _DOOR, "        owner = self._keys.owner(given)\n        if owner", "        owner = self._keys.owner(given) or self._settings.access.keys[0]\n        if owner"),
    Removal("the whole key is compared", "pcm", "wrong proof", "runtime/gateway_keys.py", 'shown = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()\n', 'shown = hashlib.sha256(given.removesuffix("x").encode("utf-8", "surrogateescape")).digest()\n'),
    Removal("the right that a key has", "pcm", "wrong proof", _DOOR, "        if right not in owner.may:\n", "        if False:\n"),
    Removal("the right that a key has", "api", "wrong route", _DOOR, "        if right not in owner.may:\n", "        if False:\n"),
    Removal("a header field comes once", "pcm", "wrong proof", _DOOR, '    return values[0] if len(values) == 1 else ""\n', '    return values[-1] if values else ""\n'),
    Removal("the routes of a key", "pcm", "wrong route", _DOOR, "        return Guest(owner.name, owner.routes, owner.calls)\n", "        return Guest(owner.name, (), owner.calls)\n"),
    Removal("the routes of a key", "browser", "wrong route", _DOOR, "        return Guest(owner.name, owner.routes, owner.calls)\n", "        return Guest(owner.name, (), owner.calls)\n"),
    Removal("whom one calls is not believed with a minted token", "pcm", "wrong route", _SOCKETS, 'adapter.proof == "key" and not by_token else {}', 'adapter.proof == "key" else {}'),
    Removal("whom one calls is not believed with a minted token", "browser", "wrong route", "server/clients.py", "        said = {} if by_token else request.query\n", "        said = request.query\n"),
    Removal("a minted token was minted", "pcm", "wrong proof", _CLIENTS, "        if minted is None:\n", '        if minted is None:\n            return Guest("all", admitted_by="token")\n        if minted is None:\n'),
    Removal("the page of a browser", "browser", "unnamed page", _CLIENTS, "        if self._is_foreign_page(request, adapter):\n", "        if False:\n"),
    Removal("a session is its owner's", "browser", "swapped session", "server/clients.py", "        return call if same else FOREIGN\n", "        return call\n"),
    Removal("a token to come back begins no call", "browser", "swapped session", "server/clients.py", "        if guest.returns_to:\n            await", "        if False:\n            await"),
    Removal("a token to come back is compared", "browser", "swapped session", "server/calls.py", "        return self._by_resume_token.get(_digest(resume_token))\n", "        return next(iter(self._by_resume_token.values()), None)\n"),
    # This machine
    Removal("the peer is this machine", "pcm", "another machine", _DOOR, '        if not is_loopback(request.remote or ""):\n', "        if False:\n"),
    Removal("the Host is this machine", "browser", "DNS rebinding", _DOOR, "        if not is_loopback(host_name(_only(request, hdrs.HOST))):\n", "        if False:\n"),
    Removal("the Host is this machine", "api", "DNS rebinding", _DOOR, "        if not is_loopback(host_name(_only(request, hdrs.HOST))):\n", "        if False:\n"),
    Removal("a Host is a host and nothing else", "pcm", "DNS rebinding", _DOOR, '    return (parts.hostname or "") if plain else ""\n', '    return parts.hostname or ""\n'),
    Removal("the first line names no other host", "api", "DNS rebinding", _DOOR, '        if not request.raw_path.startswith("/"):\n', "        if False:\n"),
    Removal("nobody has passed the request on", "pcm", "passed on", _DOOR, "            if _says_passed_on(name.lower()):\n", "            if False:\n"),
    Removal("every name of passing on", "api", "passed on", _DOOR, "        or name in _PASSED_ON\n", ""),
    Removal("the page is this machine's", "browser", "foreign page", _DOOR, "        if origins and not (len(origins) == 1 and _is_own_page(origins[0])):\n", "        if False:\n"),
    Removal("there is one page", "api", "foreign page", _DOOR, "(len(origins) == 1 and _is_own_page(origins[0]))", "_is_own_page(origins[0])"),
    # What is read of strangers
    Removal("the length of a stranger's message", "pcm", "oversized: messages", "server/arrival.py", "                message = await self._wire.receive_little(STRANGER_BYTES)\n", "                message = await self._wire.receive()\n"),
    Removal("what a stranger sends is read without faults", "pcm", "deep", "adapters/detect.py", "_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)\n", "_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError)\n"),
    Removal("the length of a body", "twilio", "oversized: bodies", "server/app.py", "BODY_BYTES: Final = 65_536\n", "BODY_BYTES: Final = 1 << 30\n"),
    Removal("no compression is agreed to", "pcm", "compression bombs", "server/arrival.py", "            compress=False,", "            compress=True,"),
    Removal("bodies are not unpacked", "vonage", "compression bombs", "server/listening.py", "auto_decompress=False,", "auto_decompress=True,"),
    Removal("packed bodies are refused", "twilio", "compression bombs", "server/app.py", '        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":\n', "        if False:\n"),
    Removal("silence has an end", "pcm", "idle: unknown sockets", "server/arrival.py", "            async with asyncio.timeout_at(by):\n", "            async with asyncio.timeout(None):\n"),
    Removal("the head of a request has a deadline", "twilio", "idle: two thousand sockets", "server/threshold.py", _HEAD_TIMER, ""),
    Removal("the head of a request has a deadline", "pcm", "slow: heads", "server/threshold.py", _HEAD_TIMER, ""),
    Removal("the body of a request has a deadline", "vonage", "slow: bodies", "server/answer.py", "                async with asyncio.timeout(BODY_S):\n", "                async with asyncio.timeout(None):\n"),
    # How much of it
    Removal("wrong proofs are counted", "pcm", "insisting: wrong proofs", _DOOR, "        if wait_s := self.manners.wrong_proof(request):\n", "        if wait_s := 0.0:\n"),
    Removal("wrong proofs are counted", "twilio", "insisting: wrong proofs", _DOOR, "        if wait_s := self.manners.wrong_proof(request):\n", "        if wait_s := 0.0:\n"),
    Removal("a good proof does not count", "vonage", "insisting: wrong proofs", "server/manners.py", "        if asking.is_proven or not asking.wait_s", "        if not asking.wait_s"),
    Removal("sockets are counted that must be listened to", "pcm", "insisting: unknown sockets", _DOOR, "        return self.manners.hurry(request)\n", "        return 0.0\n"),
    Removal("tokens are counted", "api", "insisting: tokens", "server/manners.py", "        wait_s = self._by_key[kind].take(name, now)\n", "        wait_s = 0.0\n"),
    Removal("connections are counted", "twilio", "crowding", "server/threshold.py", "        if self.open >= self._most:\n", "        if False:\n"),
    Removal("who has shown a proof is not crowded out", "twilio", "crowding", "server/threshold.py", "        if connection in self._strangers:\n", "        if False:\n"),
]  # fmt: skip
