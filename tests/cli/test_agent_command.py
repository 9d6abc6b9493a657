"""The command ``talkpath agent``."""

import asyncio
import json
import signal
import socket
import sys

import pytest
import typer
from websockets.asyncio.client import connect

from gateway.cli.agent import agent
from gateway.simulate.faults import FAULTS

RUN = "import typer; from gateway.cli.agent import agent; typer.run(agent)"


async def test_it_serves_until_it_is_told_to_stop() -> None:
    """One line says where it listens; a session in progress does not keep it from ending with 0."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, "--port", "0", "--profile", "burst", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert line.startswith("agent listening on ws://127.0.0.1:")
        url = line.split()[3]
        async with connect(url, compression=None, proxy=None) as client:
            await client.send(json.dumps({"type": "session.update", "session": {}}))
            assert json.loads(await client.recv())["type"] == "session.updated"
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fault": ["nonsense"]}, "there is no such fault"),
        ({"fault": ["drop-after=abc"]}, "drop-after takes seconds above 0"),
        ({"script": "/nowhere.yaml"}, "no such file, nor one of the shipped scripts (apology, default)"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(
    options: dict[str, object], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what to do, on standard error."""
    with pytest.raises(typer.Exit) as caught:
        agent(**options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    err = capsys.readouterr().err
    assert told in err
    assert all(line.startswith("talkpath agent: ") for line in err.splitlines())


def test_a_port_that_is_taken_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and another port is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(typer.Exit) as caught:
        agent(port=taken.getsockname()[1])
    assert caught.value.exit_code == 1
    assert "choose another port with --port" in capsys.readouterr().err


def test_the_help_names_every_fault_and_shows_an_example() -> None:
    """The table of faults and one full command are in the help."""
    text = agent.__doc__ or ""
    assert all(f"\n{name}" in text for name in FAULTS)
    assert "talkpath agent --port 9000" in text
