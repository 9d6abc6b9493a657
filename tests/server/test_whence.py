"""Where somebody came from stands in every line about it, in the log and in the audit trail."""

import json
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.runtime.config import load_generation
from gateway.server.listening import serving

KEY = "a-key-of-a-backend"
PROXY = "server: {port: 0, admin_port: 0, close_s: 1, trusted_proxies: [127.0.0.0/8]}\n"
REST = (
    "adapters: {twilio: {auth_token: '12345'}, pcm: {}, browser: {}}\naudit: {path: audit.jsonl}\n"
    f"access: {{keys: [{{name: backend, key: {KEY}, may: [connect, tokens, calls]}}]}}\n"
    "routes: [{name: default, agent: offline}]\nagents: {offline: {kind: offline}}\n"
)
FAR = "2001:db8:1:2:3:4:5:6"
SOUND = "?encoding=pcm_s16le&sample_rate=8000"


async def comes(url: str, address: str, key: str) -> None:
    """One of everything, from one address."""
    headers = {"X-Forwarded-For": address, "Authorization": key}
    async with aiohttp.ClientSession(headers=headers) as http:
        for path in ("/v1/calls", "/v1/token?expires_in_seconds=60", "/v1/agents"):
            await http.get(url + path)
        await http.post(f"{url}/twilio/voice", data={"CallSid": "CA" + 32 * "0"})
        try:
            async with http.ws_connect(f"{url}/v1/ws/pcm{SOUND}") as socket:
                await socket.send_bytes(bytes(320))
                await socket.receive(timeout=10)
        except aiohttp.WSServerHandshakeError:
            assert key != KEY
        async with http.ws_connect(f"{url}/v1/ws/browser") as socket:
            await socket.send_json({"type": "session.update", "session": {}})
            await socket.receive(timeout=10)


async def test_every_line_says_where_it_came_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is let in or refused is named with the whole address, which a trusted proxy may tell."""
    caplog.set_level(logging.INFO)
    (tmp_path / "gateway.yaml").write_text(PROXY + REST)
    async with serving(load_generation(tmp_path / "gateway.yaml")) as bound:
        await comes(bound.url, FAR, KEY)
        await comes(bound.url, "203.0.113.7", "no key of ours")
        await comes(bound.url, "", "no key of ours")
    lines = [r.getMessage() for r in caplog.records if r.name == "talkpath.access"]
    assert {what: sum(line.startswith(what) for line in lines) for what in ("api", "token", "provider")} == {
        "api": 3, "token": 3, "provider": 3,
    }  # fmt: skip
    assert sum(line.startswith("socket") for line in lines) == 6
    for line in lines:
        assert line.endswith((f" from={FAR}", " from=203.0.113.7", " from=127.0.0.1")), line
    _check_trail([json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()])


def _check_trail(trail: list[dict[str, Any]]) -> None:
    """Refusals, uses of keys and beginnings have an address; a beginning has its call's id."""
    told = [line for line in trail if line["kind"] in ("refused", "key.used", "call.joined")]
    assert {line["from"] for line in told if line["kind"] == "key.used"} == {FAR}
    assert {line["from"] for line in told if line["kind"] == "refused"} == {FAR, "203.0.113.7", "127.0.0.1"}
    joined = {line["call_id"]: line["from"] for line in told if line["kind"] == "call.joined"}
    assert joined == {line["call_id"]: FAR for line in trail if line["kind"] == "call.started"}
    assert len(joined) == 2
