"""``talkpath talk`` from outside: what it prints, and how it leaves."""

import asyncio
import sys

from gateway.simulate.provider import Provider


async def talk(*arguments: str, lines: str = "") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "talk", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(lines.encode()), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_lines_that_are_typed() -> None:
    """What is typed reaches the agent, its words are shown, and the end of the input says goodbye."""
    async with Provider(port=0) as provider:
        code, out, err = await talk(provider.url, "--text", lines="what are your opening hours\n")
    assert (code, err) == (0, "")
    assert "connected: session" in out


async def test_an_address_that_is_none() -> None:
    """Wrong usage is one sentence, and exit code 2."""
    code, _, err = await talk("ftp://example.com", "--text")
    assert code == 2
    assert err.startswith("talkpath talk: ")
    assert len(err.splitlines()) == 1


async def test_nobody_there() -> None:
    """Nobody at the address is one sentence, and exit code 1."""
    code, _, err = await talk("http://127.0.0.1:9", "--text")
    assert code == 1
    assert "nobody answers" in err
    assert len(err.splitlines()) == 1
