"""The suite itself: what it does with speakers that are wrong, machines that are busy, and gateways that break."""

import asyncio
import json

import msgspec
import pytest
import wires

from gateway.adapters.pcm import PcmCodec
from gateway.adapters.vonage import VonageCodec
from gateway.certify import Check, Message, Speaker, certify, suite
from gateway.certify.speakers.pcm import PcmSpeaker
from gateway.certify.speakers.vonage import VonageSpeaker
from gateway.certify.trial import Failed, NotApplicable, Trial
from gateway.commands import Clear, Command
from gateway.events import CallStarted, Event


async def found(speaker: type[Speaker], check: str, adapter: object = "pcm") -> tuple[str, str]:
    """What came of one check."""
    certificate = await certify(adapter, speaker, only=[check], tries=1)  # type: ignore[arg-type]
    (finding,) = certificate.findings
    assert certificate.is_clean == (finding.verdict != "failed")
    return finding.verdict, finding.sentence


def run_as_the_only_check(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    check = Check("only", "It is tried.", "here", run)  # type: ignore[arg-type]
    monkeypatch.setattr(suite, "CHECKS", (check,))


class ForgetsKeys(PcmSpeaker):
    lacks = {name: why for name, why in PcmSpeaker.lacks.items() if name != "keys"}  # noqa: RUF012 - as declared


class CannotRead(PcmSpeaker):
    def read(self, message: Message) -> list[object]:  # type: ignore[override]
        raise ValueError(f"{len(message)} is too much")


async def test_speaker_that_neither_has_nor_lacks_something_is_told_so() -> None:
    """A method that is not written is a finding with advice, not a crash."""
    verdict, sentence = await found(ForgetsKeys, "keys")
    assert verdict == "failed"
    assert sentence == "the speaker has no press(); write it, or name in its `lacks` what the dialect has not"


async def test_speaker_that_breaks_is_told_where() -> None:
    """What a speaker raises is a finding with its place."""
    verdict, sentence = await found(CannotRead, "reply")
    assert verdict == "failed"
    assert sentence.startswith("the speaker itself failed with ValueError: ")
    assert "(test_suite.py:" in sentence


class Breaks(PcmCodec):
    def decode(self, message: Message) -> list[Event]:
        if message == "hello":
            raise KeyError("hello")
        return super().decode(message)


class CannotClear(PcmCodec):
    def encode(self, command: Command) -> list[Message]:
        return [] if isinstance(command, Clear) else super().encode(command)


class KeepsTheToken(VonageCodec):
    def decode(self, message: Message) -> list[Event]:
        events = super().decode(message)
        if events and isinstance(started := events[0], CallStarted):
            given = {"token": json.loads(message)["token"]}
            return [CallStarted(msgspec.structs.replace(started.info, parameters=given))]
        return events


async def test_proof_among_the_facts_of_a_call_is_found() -> None:
    """A one-time token that a codec passes on would reach logs and tools."""
    careless = msgspec.structs.replace(wires.adapters()["vonage"], codec=KeepsTheToken)
    verdict, sentence = await found(VonageSpeaker, "once", careless)
    assert verdict == "failed"
    assert "is among the facts of the call" in sentence


async def test_fault_that_the_gateway_logs_is_told() -> None:
    """An exception that leaves a codec is named in the sentence."""
    broken = msgspec.structs.replace(wires.adapters()["pcm"], codec=Breaks)
    verdict, sentence = await found(PcmSpeaker, "nonsense", broken)
    assert verdict == "failed"
    assert "KeyError" in sentence


@pytest.mark.parametrize(
    ("changes", "check", "says"),
    [
        ({"clears": False}, "clear", "does not say clears=True"),
        ({"codec": CannotClear}, "clear", "expected a clear"),
    ],
)
async def test_adapter_that_does_not_do_what_its_dialect_can_is_found(
    changes: dict[str, object], check: str, says: str
) -> None:
    """What the far end can do must be promised and done."""
    verdict, sentence = await found(
        PcmSpeaker, check, msgspec.structs.replace(wires.adapters()["pcm"], **changes)
    )
    assert verdict == "failed"
    assert says in sentence


@pytest.mark.parametrize(("late_ms", "tries"), [(0.0, 1), (1000.0, 3)])
async def test_failure_on_a_busy_machine_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, late_ms: float, tries: int
) -> None:
    """A check that fails is believed at once where the clock was kept, and after three tries where it was not."""
    tried = []

    async def fail(trial: Trial) -> None:
        tried.append(1)
        trial.late_ms = late_ms
        raise Failed("it was seen, and it is not expected")

    run_as_the_only_check(monkeypatch, fail)
    (finding,) = (await certify("pcm", PcmSpeaker)).findings
    assert (finding.verdict, len(tried)) == ("failed", tries)
    assert finding.sentence == "it was seen, and it is not expected"


async def test_check_that_never_ends_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience with one check is bounded."""

    async def wait_for_ever(_trial: Trial) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(suite, "CHECK_S", 0.05)
    run_as_the_only_check(monkeypatch, wait_for_ever)
    (finding,) = (await certify("pcm", PcmSpeaker)).findings
    assert finding.verdict == "failed"
    assert "was not done after 0.05 s" in finding.sentence


async def test_what_does_not_apply_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that does not apply has a verdict of its own, with the reason."""

    async def leave_out(_trial: Trial) -> None:
        raise NotApplicable("there is none")

    run_as_the_only_check(monkeypatch, leave_out)
    (finding,) = (await certify("pcm", PcmSpeaker)).findings
    assert (finding.verdict, finding.sentence) == ("not applicable", "there is none")
