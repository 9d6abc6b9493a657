"""``talkpath check --online`` against real servers: which keys work where, and what to do about those that do not."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner, Result

from gateway.cli.check import check
from gateway.server.app import _in_words
from gateway.simulate.provider import Provider

KEY = "the-good-key-of-the-account-0123456789"
SECRET = "12345678901234567890123456789012"
CONFIGURATION = """
server: {{public_url: "{public_url}"}}
regions: {{here: {{voice_agent: "{socket}", rest: "{rest}"}}}}
agents:
  main: {{kind: voice_agent, region: here, api_key: {keys}, ready_s: 3, fallback: twin}}
  twin: {{kind: voice_agent, region: here, api_key: {keys}}}
  unused: {{kind: voice_agent, region: eu, api_key: never-tried}}
routes: [{{name: default, agent: main}}]
adapters: {{twilio: {{auth_token: "{secret}"}}, pcm: {{}}}}
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)


def configure(host: str, *, secure: bool = False, **given: str) -> None:
    schemes = ("wss", "https") if secure else ("ws", "http")
    values = {"public_url": "", "keys": KEY, "secret": SECRET, **given}
    text = CONFIGURATION.format(
        socket=f"{schemes[0]}://{host}/v1/ws", rest=f"{schemes[1]}://{host}/v1", **values
    )
    Path("gateway.yaml").write_text(text, encoding="utf-8")


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, ["--online", *arguments])


async def tried() -> tuple[int, dict[str, tuple[str, str, str]], bool]:
    """Exit code, outcomes by what was tried, and whether it is all well; no secret is in what was printed."""
    ran = await asyncio.to_thread(run, "--json")
    assert "the-good-key" not in ran.output
    assert "wrong-key" not in ran.output
    assert SECRET not in ran.output
    document: dict[str, Any] = msgspec.json.decode(ran.stdout)
    found = {one["what"]: (one["outcome"], one["detail"], one["advice"]) for one in document["online"]}
    assert len(found) == len(document["online"])
    return ran.exit_code, found, document["ok"]


async def test_a_good_key_opens_and_ends_one_session() -> None:
    """A key that two agents of a region share is tried once; agents that no route leads to are not tried."""
    async with Provider(key=KEY) as provider:
        configure(f"127.0.0.1:{provider.port}")
        code, found, ok = await tried()
        assert (code, ok) == (0, True)
        assert found == {
            "agents.main.api_key: token": ("ok", "given", ""),
            "agents.main.api_key: session": ("ok", "opened and ended", ""),
            "adapters.twilio.auth_token": ("ok", "present", ""),
            "server.public_url": (
                "note",
                "is empty",
                "set it to the origin that carriers call and sign, once they are to call",
            ),
        }
        (record,) = provider.sessions.values()
        assert [message["type"] for message in record.messages][-1] == "session.end"
        assert record.close_code == 1000


async def test_a_wrong_key_is_told_beside_a_good_one() -> None:
    """Each of several keys is tried, exit 1, and the advice says where to get a good one."""
    async with Provider(key=KEY) as provider:
        configure(f"127.0.0.1:{provider.port}", keys=f"[{KEY}, a-wrong-key]")
        code, found, ok = await tried()
    assert (code, ok) == (1, False)
    assert found["agents.main.api_key: session"][0] == "ok"
    assert found["agents.main.api_key, key 2: token"][:2] == ("failed", "refused with 404")
    outcome, detail, advice = found["agents.main.api_key, key 2: session"]
    assert (outcome, detail) == ("failed", "the key was refused")
    assert "keys are good in the region of their account only" in advice


async def test_a_dead_host_is_told_with_what_to_look_at() -> None:
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        configure(f"127.0.0.1:{probe.getsockname()[1]}")
        code, found, _ = await tried()
    assert code == 1
    for what in ("token", "session"):
        outcome, detail, advice = found[f"agents.main.api_key: {what}"]
        assert outcome == "failed"
        assert "Connect" in detail or "refused" in detail
        assert "firewall" in advice


async def test_a_name_that_nobody_has_is_told() -> None:
    """The name service knows nothing of it."""
    configure("agents.eu.invalid:9")
    code, found, _ = await tried()
    assert code == 1
    assert {found[f"agents.main.api_key: {what}"][0] for what in ("token", "session")} == {"failed"}


def certificate(folder: Path) -> ssl.SSLContext:
    """One that nobody has signed, for another name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agents.other.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem")
    return context


async def test_a_wrong_certificate_is_told_as_such(tmp_path: Path) -> None:
    """Nothing is said to whoever cannot show that it is the host."""
    spoken: list[bytes] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoken.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=certificate(tmp_path))
    async with server:
        configure(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", secure=True)
        code, found, _ = await tried()
    assert code == 1
    for what in ("token", "session"):
        outcome, detail, advice = found[f"agents.main.api_key: {what}"]
        assert outcome == "failed"
        assert "certificate" in detail
        assert advice.startswith("its certificate is not good for this name here")
    assert not any(spoken)


@pytest.mark.parametrize(
    ("fault", "detail"),
    [("no-ready", "not ready within 3 s"), ("at-capacity", "refused: at_capacity")],
)
async def test_a_session_that_does_not_begin_is_told(fault: str, detail: str) -> None:
    """A key can be good and the host cannot serve it all the same."""
    async with Provider(key=KEY, faults=[fault]) as provider:
        configure(f"127.0.0.1:{provider.port}")
        code, found, _ = await tried()
    assert code == 1
    assert found["agents.main.api_key: token"][0] == "ok"
    assert found["agents.main.api_key: session"][0] == "failed"
    told = found["agents.main.api_key: session"][1]
    assert detail in told or "capacity" in told


@asynccontextmanager
async def public(status: int) -> AsyncIterator[str]:
    """What stands at the public URL: our own application's words, or somebody else."""

    async def other(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="welcome", headers={"Location": "/elsewhere"})

    ours = _in_words("clients call at /v1/ws/{adapter}, carriers at /twilio/voice")
    app = web.Application(middlewares=[] if status else [ours])
    if status:
        app.router.add_get("/{any:.*}", other)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "outcome", "detail"),
    [
        (0, "ok", "a Talkpath answers there"),
        (200, "failed", "something else answers there (200)"),
        (302, "failed", "it redirects (302)"),
    ],
)
async def test_the_public_url_leads_to_a_talkpath(status: int, outcome: str, detail: str) -> None:
    """Whoever else answers is no use to a carrier."""
    async with Provider(key=KEY) as provider, public(status) as url:
        configure(f"127.0.0.1:{provider.port}", public_url=url)
        code, found, _ = await tried()
    assert found["server.public_url"][:2] == (outcome, detail)
    assert code == (0 if outcome == "ok" else 1)


async def test_a_missing_secret_is_told() -> None:
    """With a public URL nothing stands in for it."""
    async with Provider(key=KEY) as provider, public(0) as url:
        configure(f"127.0.0.1:{provider.port}", public_url=url, secret="")
        code, found, _ = await tried()
    assert code == 1
    assert found["adapters.twilio.auth_token"][:2] == ("failed", "is empty")


async def test_people_get_a_table() -> None:
    """With what to do in its last column; a stand-in for a secret is a note."""
    async with Provider(key=KEY) as provider:
        configure(f"127.0.0.1:{provider.port}", keys="a-wrong-key", secret="")
        ran = await asyncio.to_thread(run)
    assert ran.exit_code == 1
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in ran.stdout.splitlines() if "│" in line
    ]
    online = {row[0]: row[2:] for row in rows if len(row) == 5}
    assert online["agents.main.api_key: session"][:2] == ["failed", "the key was refused"]
    assert online["adapters.twilio.auth_token"][:2] == ["note", "the development secret stands in"]
    assert "wrong-key" not in ran.output


def test_a_wrong_configuration_is_not_tried() -> None:
    """Exit 2, as without --online."""
    Path("gateway.yaml").write_text("server: {port: x}\n", encoding="utf-8")
    ran = run()
    assert (ran.exit_code, "server.port" in ran.stderr) == (2, True)
