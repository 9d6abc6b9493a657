"""Journals as `talkpath serve` keeps them: after an ordinary stop, and after a kill in the middle of a call."""

import asyncio
import signal
from pathlib import Path

import pytest
from command_line import GatewayProcess, gateway_process, talkpath
from together import until

from gateway.observers.journal_file import read_journal
from gateway.simulate import CallScript, Utterance, call_pcm

CONFIGURATION = """
server: {close_s: 1}
agents: {keys: {kind: offline, tools: [hang_up]}}
routes: [{name: all, agent: keys, dtmf: text}]
adapters: {pcm: {}}
records: {path: records.db, keep_days: 30, transcripts: false}
"""
"""With `records` as the contract has it."""
CALLER = "+14155550123"
A_WHILE_BYTES = 4000
"""Size of a journal in which the agent has spoken for a while."""


async def call(gateway: GatewayProcess, *, max_s: float) -> None:
    """A client that listens to the greeting."""
    script = CallScript(utterances=(Utterance(label="nothing", at_s=60.0),), hang_up=False, max_s=max_s)
    await call_pcm(gateway.url, rate_hz=8000, caller=CALLER, script=script)


def journal_in(folder: Path) -> Path:
    [path] = (folder / "records.db").iterdir()
    return path


async def replayed(folder: Path) -> str:
    done = await talkpath("replay", str(journal_in(folder)), folder=folder, runtime_folder=folder)
    assert (done.code, done.err) == (0, ""), done.out
    return done.out


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    tmp_path.chmod(0o700)
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIGURATION)
    return str(path)


async def test_a_stopped_gateway_leaves_a_whole_journal_that_replays(
    tmp_path: Path, configuration: str
) -> None:
    """In a folder beside the configuration, for its owner alone, without the number, with the end of the call."""
    async with gateway_process(tmp_path, "--config", configuration) as gateway:
        await call(gateway, max_s=2.0)
        gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await gateway.process.wait()
    path = journal_in(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert CALLER[5:].encode() not in path.read_bytes()
    assert read_journal(path.read_bytes().splitlines()).is_whole
    out = await replayed(tmp_path)
    assert "The same: 1 turn," in out
    assert "Note" not in out


async def test_a_killed_gateway_leaves_a_journal_that_can_be_read(tmp_path: Path, configuration: str) -> None:
    """What was said up to then replays, and the replay says that the end is missing."""
    async with gateway_process(tmp_path, "--config", configuration) as gateway, asyncio.TaskGroup() as group:
        calling = group.create_task(call(gateway, max_s=30.0))
        folder = tmp_path / "records.db"
        await until(
            lambda: folder.exists() and any(p.stat().st_size > A_WHILE_BYTES for p in folder.iterdir())
        )
        await gateway.kill()
        await calling
    out = await replayed(tmp_path)
    assert "Note: the end of the call is missing" in out
    assert "The same: 1 turn," in out
