"""``talkpath talk`` from outside: what it prints, and how it leaves."""

import asyncio
import shlex
import sys
from pathlib import Path

import pytest

from gateway.simulate.provider import Provider


async def talk(*arguments: str, lines: str = "", redirected: str = "") -> tuple[int, str, str]:
    """Run it with lines from a pipe, or with its input redirected as a shell does it."""
    command = [sys.executable, "-m", "gateway", "talk", *arguments]
    if redirected:
        command = ["/bin/sh", "-c", f"exec {shlex.join(command)} {redirected}"]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(lines.encode()), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_lines_that_are_piped_are_answered() -> None:
    """What is piped reaches the agent, its answer is waited for and shown, and the end of the input says goodbye."""
    async with Provider(port=0) as provider:
        code, out, err = await talk(provider.url, "--text", lines="what are your opening hours\n")
    assert (code, err) == (0, "")
    assert "connected: session" in out
    assert 0 < out.find("you    what are your opening hours") < out.find("agent  We are open")


async def test_lines_of_a_file_are_said_in_turns(tmp_path: Path) -> None:
    """Each waits until the agent has done speaking, the last without a line end too, and all are answered."""
    said = tmp_path / "said.txt"
    said.write_text("hello\n\nhello again")
    async with Provider(port=0) as provider:
        code, out, err = await talk(provider.url, "--text", redirected=f"< {said}")
    assert (code, err) == (0, "")
    speakers = [line.split()[0] for line in out.splitlines() if line.startswith(("you ", "agent "))]
    assert speakers[speakers.index("you") :] == ["you", "agent", "you", "agent"]


@pytest.mark.parametrize("redirected", ["", "< /dev/null", "<&-"])
async def test_an_empty_input_says_goodbye_at_once(redirected: str) -> None:
    """Nothing was said and nothing can be: the session ends in the orderly way, and no agent is waited for."""
    async with Provider(port=0) as provider:
        code, out, err = await talk(provider.url, "--text", redirected=redirected)
    assert (code, err) == (0, "")
    assert "agent  " not in out


@pytest.mark.parametrize("options", [[], ["--text"]])
async def test_an_address_that_is_none(options: list[str]) -> None:
    """Wrong usage is one sentence, and exit code 2; of microphones nothing is said."""
    code, out, err = await talk("ftp://example.com", *options)
    assert (code, out) == (2, "")
    assert err.startswith("talkpath talk: ")
    assert len(err.splitlines()) == 1


async def test_nobody_there() -> None:
    """Nobody at the address is one sentence, and exit code 1."""
    code, _, err = await talk("http://127.0.0.1:9", "--text")
    assert code == 1
    assert "nobody answers" in err
    assert len(err.splitlines()) == 1
