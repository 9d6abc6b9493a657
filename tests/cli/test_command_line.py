"""The command line as a whole: wrong usage, the version, and readers that leave early."""

import asyncio
import importlib
import json
import os
import signal
import socket
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from gateway import cli
from gateway.audio import PCM_16K
from gateway.cli.usage import LATER, listed
from gateway.observers.audit_file import AuditFile
from gateway.simulate import CallResult
from gateway.simulate.address import gateway_address, socket_address
from gateway.simulate.measure import ALERT_P99_MS, RELIABLE_P99_MS
from gateway.simulate.report import summary, tables
from gateway.simulate.result import Pacing

ROOT = Path(__file__).parents[2]
LIMIT_S = 30


def typed(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Exit code, output and complaint."""
    with pytest.raises(SystemExit) as left:
        cli.main(line.split())
    said = capsys.readouterr()
    return left.value.code, said.out, said.err


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("serve --port abc", "talkpath serve: --port takes a whole number from 0 to 65535"),
        ("serve --port 70000", "talkpath serve: --port takes a whole number from 0 to 65535"),
        ("serve --port", "talkpath serve: --port needs a value behind it; talkpath serve --help shows what it takes"),
        ("serve --prt 1", "talkpath serve: there is no option --prt; did you mean --port?"),
        ("serve --bogus", "talkpath serve: there is no option --bogus; talkpath serve --help shows what it takes"),
        ("serve now", "talkpath serve: now: that is too much; talkpath serve --help shows what it takes"),
        ("call", "talkpath call: the URL is missing; talkpath call --help shows an example"),
        ("call http://h", "talkpath call: --as is missing; add --as twilio|vonage|browser|pcm"),
        ("call http://h --as pcm --max-seconds 0", "talkpath call: --max-seconds takes a number, 0.1 or more"),
        ("call http://h --as pcm --max-seconds nan", "talkpath call: --max-seconds takes a number, 0.1 or more"),
        ("call http://h --as pcm --json=1", "talkpath call: --json takes no value; write --json alone"),
        ("bench --calls 0", "talkpath bench: --calls takes whole numbers from 1 with commas between them, such as 10,50,100; not 0"),
        ("agent --profile slow", "talkpath agent: --profile takes realtime or burst"),
        ("certify twilio --vectors none.jsonl", "talkpath certify: --vectors none.jsonl cannot be read: No such file or directory"),
        ("certify twilio --speaker none.py:None", "talkpath certify: --speaker none.py:None cannot be loaded: No such file or directory"),
        ("srve", "talkpath: there is no command srve; did you mean serve?"),
        ("--loud", "talkpath: there is no option --loud; talkpath --help shows what it takes"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence(line: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2; standard error names the option and what to do, in one line without a frame."""
    assert typed(line, capsys) == (2, "", f"{complaint}\n")


@pytest.mark.parametrize("command", ["check", "route-test", "call", "bench"])
def test_wrong_usage_is_a_document_where_one_was_asked_for(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that asked for JSON gets it, whatever was wrong with what it typed."""
    _, _, sentence = typed(f"{command} --nonsense", capsys)
    code, out, err = typed(f"{command} --json --nonsense", capsys)
    assert (code, err) == (2, "")
    problem = sentence.strip().removeprefix(f"talkpath {command}: ")
    assert json.loads(out) == {"ok": False, "problems": [problem]}


@pytest.mark.parametrize("name", LATER)
def test_commands_of_later_versions_are_known(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are not there yet, and what is there is named."""
    sentence = f"talkpath {name} is not there yet; there are {listed(cli.COMMANDS)}\n"
    assert typed(name, capsys) == (2, "", sentence)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 0."""
    code, out, err = typed("--version", capsys)
    assert (code, err) == (0, "")
    assert out.startswith("talkpath ")
    assert out.count("\n") == 1


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command stands in it, and the exit code is that of wrong usage."""
    code, out, _ = typed("", capsys)
    assert code == 2
    assert all(name in out for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_is_wrapped_where_the_terminal_ends(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a narrow one too each line of a paragraph is filled: the first word of the next would not have fitted."""
    monkeypatch.setenv("COLUMNS", "60")
    _, page, _ = typed(f"{command} --help", capsys)
    prose = [line.strip() for line in page.partition("\n╭")[0].splitlines()]
    told = prose[prose.index("", 1) + 1 :]  # behind the usage
    assert len(told) > 2
    for line, following in pairwise(told):
        if line and following:
            assert len(f"{line} {following.split()[0]}") > 58, line


def test_the_exit_code_of_a_command_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """What a command leaves with is what the process leaves with."""
    assert typed("agent --fault nonsense", capsys)[0] == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:0",
        "http://[::1",
        "http://",
        "http://two words",
        "http://a..b",
        "ftp://127.0.0.1",
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    """Scheme, host and port are looked at before anything is dialled, for every kind of caller."""
    with pytest.raises(ValueError, match=r"no address of a gateway.*give one like http://127.0.0.1:8080"):
        gateway_address(url)


def test_addresses_that_can_be_dialled_are_taken() -> None:
    """With and without a scheme, a port and a path."""
    assert gateway_address("127.0.0.1:8080").port == 8080
    assert gateway_address("wss://voice.example.com/a/b").path == "/a/b"
    assert gateway_address("http://[::1]:8080").hostname == "::1"


def test_an_address_of_a_gateway_leads_to_its_socket() -> None:
    """It means the socket of the dialect, at its path; a path of its own means what it says, and a query is kept."""
    path = "/v1/ws/pcm"
    assert socket_address("http://127.0.0.1:8080", path) == "ws://127.0.0.1:8080/v1/ws/pcm"
    assert socket_address("https://voice.example.com/", path) == "wss://voice.example.com/v1/ws/pcm"
    assert socket_address("wss://a.example.com/v1/ws?x=1", path) == "wss://a.example.com/v1/ws?x=1"
    asked = socket_address("a.example.com?x=1", path, {"caller": "+1 415"})
    assert asked == "ws://a.example.com/v1/ws/pcm?x=1&caller=%2B1+415"
    with pytest.raises(ValueError, match="no address of a gateway"):
        socket_address("ftp://x", path)


def test_lateness_is_warned_of_only_where_a_person_should_know() -> None:
    """The figure is always in the table, the verdict for benchmarks in the JSON, the warning from 10 ms on."""
    for late_ms, reliable, warned in ((1.0, True, False), (5.0, False, False), (12.0, False, True)):
        result = CallResult(end_reason="x", format=PCM_16K)
        result.pacing = Pacing(100, late_ms, late_ms)
        assert summary(result)["pacing_is_reliable"] is reliable
        assert any("was busy" in str(part) for part in tables(result)) is warned
    assert RELIABLE_P99_MS < ALERT_P99_MS


async def read_one_line(*words: str, folder: Path) -> tuple[int | None, str, str]:
    """Run a command, read a line and close the pipe; its exit code, the line and its complaints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALKPATH")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *words),
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(folder)},
        stdout=(pipe := os.pipe())[1],
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(pipe[1])
    loop = asyncio.get_running_loop()
    try:
        line = await asyncio.wait_for(loop.run_in_executor(None, os.read, pipe[0], 20), LIMIT_S)
        os.close(pipe[0])
        if words[0] in {"serve", "agent"}:
            process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, line.decode(), err.decode()


@pytest.mark.parametrize("words", [("check",), ("route-test", "--adapter", "pcm"), ("check", "--json")])
async def test_a_reader_that_was_never_there_is_no_error(words: tuple[str, ...], tmp_path: Path) -> None:
    """With the pipe closed before anything is printed, nothing is complained about, and the exit code is 1."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *words),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    _, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert (process.returncode, err.decode()) == (1, "")


async def test_a_call_whose_reader_leaves_hangs_up(tmp_path: Path) -> None:
    """The caller takes its leave as after a hang-up, says nothing and leaves with 1."""
    farewells: list[str] = []

    async def attend(connection: ServerConnection) -> None:
        async for message in connection:
            if isinstance(message, str):
                farewells.append(message)
                return

    async with serve(attend, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        words = (
            "call",
            f"http://127.0.0.1:{port}",
            "--as",
            "pcm",
            "--audio",
            "goforward.wav",
            "--max-seconds",
            "20",
        )
        code, line, err = await read_one_line(*words, folder=tmp_path)
    assert "answered" in line
    assert (code, err) == (1, "")
    assert farewells == ['{"type":"session.end"}']


async def test_a_gateway_and_an_agent_serve_on_without_a_reader(tmp_path: Path) -> None:
    """What they print at the start may be left unread; SIGTERM ends them as always."""
    code, line, err = await read_one_line("serve", "--port", "0", "--admin-port", "0", folder=tmp_path)
    assert (code, line[:16], "Traceback" in err) == (0, "Talkpath listens", False)
    code, line, err = await read_one_line("agent", "--port", "0", folder=tmp_path)
    assert (code, line[:15], "Traceback" in err) == (0, "agent listening", False)


async def test_a_demo_whose_reader_leaves_ends_early(tmp_path: Path) -> None:
    """The simulated phone hangs up, and nothing is complained about."""
    code, _, err = await read_one_line("demo", "--stay", folder=tmp_path)
    assert (code, "Traceback" in err, "never retrieved" in err) == (1, False, False)


async def test_an_interrupted_demo_hangs_up_and_tells_what_there_was(tmp_path: Path) -> None:
    """Ctrl-C in the call is the caller's hang-up: the call ends in order, and its table follows."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "demo", "--stay"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        await asyncio.wait_for(process.stdout.readuntil(b"rings"), LIMIT_S)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, err.decode()) == (1, "")
    assert "the call ended because caller_hung_up" in " ".join(out.decode().split())


def test_an_interrupt_before_a_command_has_begun_shows_no_frames(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while modules are still being read leaves with 130 and not a word."""

    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert typed("check", capsys) == (130, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
@pytest.mark.parametrize("words", [("--help",), ("check",), ("check", "--json")])
async def test_a_full_disk_behind_standard_output_is_one_sentence(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """What is printed into a file on a full disk is lost; the command says so, without a frame, and leaves with 1."""
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *words),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=full,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(full)
    _, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert (process.returncode, err.decode()) == (
        1,
        "talkpath: what it prints cannot be written (No space left on device); send it elsewhere\n",
    )


def test_public_and_admin_port_must_differ(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same port for both is said to be that, not another program's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, _, err = typed(f"serve --port {port} --admin-port {port}", capsys)
    assert code == 1
    assert err.startswith(f"talkpath serve: the public and the admin port are both {port}; choose another")


def test_a_trail_of_another_process_is_told_by_whoever_refuses_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found only when the gateway opens its files names the command too, like everything found before."""
    (tmp_path / "gateway.yaml").write_text("server: {port: 0, admin_port: 0}\naudit: {path: trail}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)
    other = AuditFile(tmp_path / "trail")
    other.open()
    code, out, err = typed("serve", capsys)
    other.close()
    assert (code, out) == (2, "")
    assert err.startswith("talkpath serve: audit.path: ")
    assert "is written by another process" in err
    assert err.count("\n") == 1


def test_a_level_of_the_log_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants to see more is told how to write it, instead of getting what there always is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)
    monkeypatch.setenv("TALKPATH_LOG", "verbose")
    assert typed("serve --port 0 --admin-port 0", capsys) == (
        2,
        "",
        "talkpath serve: TALKPATH_LOG=VERBOSE is no level of a log; use DEBUG, INFO, WARNING, ERROR or CRITICAL\n",
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "serve --host 192.0.2.1 --port 0",
            "talkpath serve: the public port: 192.0.2.1 is no address of this machine",
        ),
        ("agent --host 192.0.2.1", "talkpath agent: 192.0.2.1 is no address of this machine"),
        (f"agent --host {'a' * 70}", "is no address of this machine"),
    ],
)
def test_an_address_of_another_machine_is_told_by_its_option(
    line: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remedy is another address, never another port."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)
    code, _, err = typed(line, capsys)
    assert code == 1
    assert told in err
    assert "--host" in err
    assert "--port" not in err
