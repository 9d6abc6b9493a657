"""``talkpath call`` as a command: options, order, secrets, output and exit codes, against a stand-in."""

import asyncio
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import typer
import vonage_stand_in
from twilio_stand_in import TOKEN, Handler, StandIn, greet_and_close, greet_and_listen, serving
from typer.testing import CliRunner, Result
from websockets.sync.server import ServerConnection, serve

from gateway.audio import PCM_8K, PCM_16K, convert, read_wav
from gateway.cli.call import COMMAND_CLASS, Spoken, call
from gateway.simulate.ear import audible_extent
from gateway.simulate.voice import VoiceError, keys, recording, sentence

G = TypeVar("G")
CONFIG = f"""
server: {{public_url: "https://voice.example.com"}}
adapters:
  twilio: {{account_sid: "AC{"1" * 32}", auth_token: ["{TOKEN}", "an older one"]}}
access:
  keys: [{{name: backend, key: "a key of the gateway", may: [connect]}}]
"""


@contextmanager
def in_background(stand_in: AbstractAsyncContextManager[G]) -> Iterator[G]:
    """Serve from a thread of its own, as the command runs the loop of this one."""
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    opened: list[G] = []

    async def serve_until_done() -> None:
        async with stand_in as gateway:
            opened.append(gateway)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve_until_done(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield opened[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("call", cls=COMMAND_CLASS)(call)
    return CliRunner().invoke(app, list(arguments))


def public_stand_in(handler: Handler) -> StandIn:
    stand_in = StandIn(handler)
    stand_in.stream_host, stand_in.public_url = "wss://voice.example.com", "https://voice.example.com"
    return stand_in


def test_a_twilio_call_is_printed_and_recorded(tmp_path: Path) -> None:
    """With a configuration the call is signed for its public address; what was heard is printed and recorded."""
    Path("gateway.yaml").write_text(CONFIG)
    record = tmp_path / "call.wav"
    with in_background(serving(public_stand_in(greet_and_close))) as gateway:
        result = run(gateway.url, "--as", "twilio", "--record", str(record), "--callee", "+15550004444")
    assert result.exit_code == 0, result.output
    assert all(proven for _, _, proven in gateway.requests)
    assert gateway.asked("/twilio/voice")[0]["To"] == "+15550004444"
    assert gateway.asked("/twilio/voice")[0]["AccountSid"] == "AC" + "1" * 32
    for expected in (
        "the document says: Connect",
        "the agent is audible",
        "agent first heard",
    ):
        assert expected in result.stdout
    assert record.read_bytes()[22:24] == b"\x02\x00"  # two channels


def test_json_is_one_document_and_nothing_else() -> None:
    """With --json the whole of stdout is one JSON document with the measurements."""
    Path("other.yaml").write_text(CONFIG)
    with in_background(serving(public_stand_in(greet_and_listen))) as gateway:
        result = run(
            gateway.url,
            "--as",
            "twilio",
            "--config",
            "other.yaml",
            "--json",
            "--dtmf",
            "1",
            "--max-seconds",
            "1.8",
        )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["agent_was_heard"] is True
    assert report["turns"][0]["label"] == "keys 1"
    assert report["pacing"]["frames"] >= 80
    assert report["received_audio_bytes"] == 4000
    assert [message["dtmf"]["digit"] for message in gateway.sent("dtmf")] == ["1"]


def test_a_configuration_that_cannot_be_used_is_named_with_its_problems() -> None:
    """On standard error, or with --json as one document; wrong usage is one too."""
    Path("bad.yaml").write_text("server: {port: x}\nagent: {}\n")
    options = ("http://127.0.0.1:1", "--as", "pcm", "--config", "bad.yaml")
    ran = run(*options)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[0] == "talkpath call: bad.yaml has 2 problems"
    assert (
        "missing.yaml: cannot be read"
        in run("http://127.0.0.1:1", "--as", "pcm", "--config", "missing.yaml").stderr
    )
    ran = run(*options, "--json")
    assert (ran.exit_code, ran.stderr) == (2, "")
    document = json.loads(ran.stdout)
    assert (document["ok"], document["source"], len(document["problems"])) == (False, "bad.yaml", 2)
    ran = run("http://127.0.0.1:1", "--as", "pigeon", "--json")
    assert json.loads(ran.stdout) == {
        "ok": False,
        "problems": [
            "--as pigeon is no caller we know; use --as twilio, --as vonage, --as browser or --as pcm"
        ],
    }


def test_an_unheard_agent_and_a_refused_call_exit_with_1() -> None:
    """The development secret signs where nothing is configured; a refusal is told on stderr in the gateway's words."""
    with in_background(serving(StandIn())) as gateway:
        refused = run(gateway.url + "/refused", "--as", "twilio")
        gateway.voice_document = "<Response><Hangup/></Response>"
        unheard = run(gateway.url, "--as", "twilio")
    assert refused.exit_code == unheard.exit_code == 1
    assert "the signature does not match" in refused.stderr
    assert "the agent was not heard" in unheard.stderr


def test_a_pcm_call_presents_the_configured_key() -> None:
    """The gateway key of the configuration opens the door, and the agent is heard at the asked rate."""
    seen = []

    def greet(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append((connection.request.path, connection.request.headers.get("Authorization")))
        connection.send(recording("goforward.wav").pcm[:32000])
        for message in connection:
            if isinstance(message, str):
                break

    Path("gateway.yaml").write_text(CONFIG)
    with serve(greet, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = "http://{}:{}".format(*server.socket.getsockname()[:2])
        result = run(url, "--as", "pcm", "--sample-rate", "8000", "--no-events", "--max-seconds", "1.2")
        server.shutdown()
        thread.join(10)
    assert result.exit_code == 0, result.output
    assert seen == [("/v1/ws/pcm?encoding=pcm_s16le&sample_rate=8000", "Bearer a key of the gateway")]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--as", "browser", "--dtmf", "1"), "no keys to press"),
        (("--as", "browser", "--events"), "--events or --no-events is for pcm callers only"),
        (("--as", "browser", "--key", "k", "--token", "t"), "two proofs"),
        (("--as", "pcm", "--token", "t"), "--token is for browser callers only"),
        (("--as", "pigeon"), "is no caller"),
        (("--as", "pcm", "--dtmf", "1"), "no keys to press"),
        (("--as", "twilio", "--dtmf", "1x"), "cannot be pressed"),
        (("--as", "pcm", "--audio", "missing.wav"), "goforward.wav"),
        (("--as", "pcm", "--audio", "noise.wav"), "not a WAV file"),
        (("--as", "pcm", "--barge-in-after", "1"), "nothing to say"),
        (
            ("--as", "pcm", "--barge-in-after", "-1", "--audio", "goforward.wav"),
            "--barge-in-after takes seconds",
        ),
        (
            ("--as", "pcm", "--barge-in-after", "nan", "--audio", "goforward.wav"),
            "--barge-in-after takes seconds",
        ),
        (("--as", "pcm", "--barge-in-after", "1", "--barge-in-after", "2", "--dtmf", "1"), "no keys"),
        (("--as", "twilio", "--barge-in-after", "1", "--barge-in-after", "2", "--dtmf", "1"), "give it once"),
        (("--as", "twilio", "--key", "x"), "--key is for browser and pcm callers only"),
        (("--as", "twilio", "--sample-rate", "16000"), "--sample-rate is for pcm callers only"),
        (("--as", "twilio", "--encoding", "pcm_alaw"), "--encoding is for browser and pcm callers only"),
        (("--as", "twilio", "--no-events"), "--no-events is for pcm callers only"),
        (("--as", "vonage", "--sample-rate", "16000"), "--sample-rate is for pcm callers only"),
        (("--as", "pcm", "--say", " "), "empty text"),
        (("--as", "pcm", "--sample-rate", "11025"), "no rate"),
        (("--as", "pcm", "--record", "missing/call.wav"), "cannot be written"),
    ],
)
def test_wrong_usage_exits_with_2_and_one_sentence(arguments: tuple[str, ...], complaint: str) -> None:
    """Nothing is dialled, and stderr says what to do."""
    Path("noise.wav").write_bytes(b"RIFFnoise")
    result = run("http://127.0.0.1:9", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_an_address_that_is_none_is_wrong_usage() -> None:
    """An address that cannot be dialled is refused in a sentence before anything is, as either caller."""
    for url in ("ftp://127.0.0.1", "http://127.0.0.1:99999", "http://127.0.0.1:abc"):
        for caller in ("twilio", "vonage", "pcm"):
            result = run(url, "--as", caller)
            assert result.exit_code == 2
            assert "no address of a gateway" in result.stderr
            assert result.stderr.count("\n") == 1


def test_a_forbidden_call_is_told_of_the_option_for_secrets() -> None:
    """Where no configuration was named, 403 may mean another secret, and the option for it is named."""
    Path("own.yaml").write_text(CONFIG)
    with in_background(serving(StandIn())) as gateway:
        guessed = run(gateway.url + "/refused", "--as", "twilio")
        named = run(gateway.url + "/refused", "--as", "twilio", "--config", "own.yaml")
    assert ".; " not in guessed.stderr
    assert "; give the gateway's own configuration with --config" in guessed.stderr
    assert guessed.stderr.count("\n") == 1
    assert "--config" not in named.stderr


def test_the_help_says_that_a_telephone_prints_no_words() -> None:
    """Nobody waits for transcripts that Twilio never carries."""
    assert "hears sound only" in (call.__doc__ or "")


@pytest.mark.parametrize(
    ("caller", "key"),
    [("twilio", "adapters.twilio.auth_token"), ("vonage", "adapters.vonage.signature_secret")],
)
def test_a_configuration_without_the_carriers_secret_is_wrong_usage(caller: str, key: str) -> None:
    """There is nothing to sign with, and that is said."""
    Path("gateway.yaml").write_text("adapters: {pcm: {}}\n")
    result = run("http://127.0.0.1:9", "--as", caller)
    assert result.exit_code == 2
    assert f"has no {key}; set it, as {caller.capitalize()} signs its calls with it" in result.stderr


def test_a_vonage_call_is_proven_with_the_configured_secret() -> None:
    """The first secret signs for the configured application and account, and the public address is named."""
    Path("gateway.yaml").write_text(
        'server: {public_url: "https://voice.example.com"}\n'
        f'adapters: {{vonage: {{application_id: app-7, api_key: key-7, signature_secret: ["{vonage_stand_in.SECRET}", older]}}}}\n'
    )
    stand_in = vonage_stand_in.StandIn(vonage_stand_in.greet_and_close)
    stand_in.public_url = "https://voice.example.com"
    with in_background(vonage_stand_in.serving(stand_in)):
        result = run(stand_in.url, "--as", "vonage", "--callee", "+447700900001")
    assert result.exit_code == 0, result.output
    ((_, fields, claims),) = stand_in.calls
    assert fields["to"] == "447700900001"
    assert (claims["application_id"], claims["api_key"]) == ("app-7", "key-7")
    assert "the document says: connect" in result.stdout


def test_a_refused_vonage_call_exits_with_1() -> None:
    """The development secret signs where nothing is configured, and the option for another one is named."""
    stand_in = vonage_stand_in.StandIn()
    stand_in.refuses = True
    with in_background(vonage_stand_in.serving(stand_in)):
        refused = run(stand_in.url, "--as", "vonage")
    assert refused.exit_code == 1
    assert "; give the gateway's own configuration with --config" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_utterances_keep_the_order_of_the_options() -> None:
    """The barge-in belongs to what follows it."""
    order = ["as_", "dtmf", "audio", "barge_in_after", "audio"]
    said = Spoken(order, ["goforward.wav", "something.wav"], [], ["12"], [0.7]).utterances()
    assert [one.label for one in said] == ["keys 12", "goforward.wav", "something.wav"]
    assert [one.over_after_s for one in said] == [None, None, 0.7]


def test_without_a_known_order_recordings_come_before_keys() -> None:
    """Called as a function the usual order holds, and the second one talks over the agent."""
    said = Spoken([], ["goforward.wav", "something.wav"], [], ["12"], [0.7]).utterances()
    assert [one.label for one in said] == ["goforward.wav", "something.wav", "keys 12"]
    assert [one.over_after_s for one in said] == [None, 0.7, None]


def test_a_shipped_recording_is_found_from_anywhere() -> None:
    """Its name alone is enough, and a file here of the same name comes first."""
    shipped = recording("goforward.wav")
    assert shipped.rate_hz == 16000
    Path("goforward.wav").write_bytes(b"not sound")
    with pytest.raises(VoiceError, match="not a WAV file"):
        recording("goforward.wav")


def test_a_sentence_is_spoken_by_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A synthesiser gives audible speech; without one the error names what to install."""
    if (
        not (shutil.which("flite") or shutil.which("espeak-ng"))
        and os.environ.get("TALKPATH_REQUIRE") != "all"
    ):
        pytest.skip("neither flite nor espeak-ng is installed")
    said = sentence("hello there")
    audio = convert(said.pcm, PCM_16K, PCM_8K) if said.rate_hz == 16000 else said.pcm
    assert audible_extent(audio, PCM_8K).end_s > 0.3
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(VoiceError, match="install flite or espeak-ng"):
        sentence("hello there")


def test_keys_of_a_telephone_are_accepted() -> None:
    """Digits, star, hash and the four letters can be pressed."""
    assert keys("0123456789*#ABCD").digits == "0123456789*#ABCD"


def test_a_recording_is_stereo_pcm(tmp_path: Path) -> None:
    """What read_wav reads back is the left channel at the line's rate."""
    with in_background(serving(StandIn(greet_and_close))) as gateway:
        run(gateway.url, "--as", "twilio", "--record", str(tmp_path / "a.wav"))
    audio_format, left = read_wav((tmp_path / "a.wav").read_bytes())
    assert audio_format == PCM_8K
    assert set(left) <= {0}
