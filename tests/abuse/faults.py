"""Deliberate faults, each put into a copy of the gateway, of which the suite must say so.

Owns the list, and how one is tried. A suite that stays green with one of them in place would not have found it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
LIMIT_S = 900.0
PARTS = ("gateway", "tests", "docs", "pyproject.toml")
"""What a copy needs, of the whole repository."""
_RED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?::\w+(?:\[.*?\])?)(?: - |$)", re.MULTILINE)


class Fault(Struct, frozen=True):
    """Something that somebody might get wrong."""

    name: str
    does: str
    """A sentence for the page."""
    file: str
    right: str
    """Found there once."""
    wrong: str
    """Stands there instead."""
    test: str
    """Where the suite looks."""
    case: str
    """Which of its cases says so."""

    @property
    def node(self) -> str:
        """The test, as pytest names it."""
        return f"{self.test}::{self.case}"

    def put_into(self, copy: Path) -> None:
        """Put it into a copy; raises ValueError when it does not fit there any more."""
        path = copy / self.file
        text = path.read_text("utf-8")
        if text.count(self.right) != 1:
            raise ValueError(f"{self.file} has {text.count(self.right)} places for {self.name!r}")
        path.write_text(text.replace(self.right, self.wrong), "utf-8")


def copy_into(folder: Path, parts: Sequence[str] = PARTS) -> Path:
    """Make a copy of what is tested, and perhaps of its tests."""
    skip = shutil.ignore_patterns("__pycache__", "node_modules")
    for part in parts:
        place = folder / part
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, place, ignore=skip)
        else:
            shutil.copy(ROOT / part, place)
    return folder


def red_with(copy: Path, *arguments: str) -> list[str]:
    """Run tests of a copy; gives those that are red. Raises RuntimeError when none of them ran."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:cov", "-rfE", *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return _RED.findall(done.stdout)


ABUSE = "tests/abuse/test_abuse.py"
ORDER = "tests/abuse/test_abuse_order.py"
ANSWERED = "test_abuse_is_answered_and_leaves_nothing"
FUZZ = "tests/test_fuzz_codecs.py"
FAULTS = [
    Fault(
        name="nesting escapes",
        does="The codec of `twilio` lets Python's own error for deep nesting out.",
        file="gateway/adapters/twilio.py",
        right="_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)",
        wrong="_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError)",
        test=FUZZ,
        case="test_codec_survives_many_mutations[twilio]",
    ),
    Fault(
        name="another stream is believed",
        does="The codec of `twilio` reads messages of a stream that is not its own.",
        file="gateway/adapters/twilio.py",
        right="        if wire.stream_sid != self.stream_sid:\n",
        wrong="        if not wire.stream_sid:\n",
        test=ABUSE,
        case=ANSWERED + "[twilio-caller-contradictory: another stream]",
    ),
    Fault(
        name="early sound without bound",
        does="The codec of `vonage` keeps all sound that comes before the first message.",
        file="gateway/adapters/vonage.py",
        right="while self._held_bytes > HELD_BYTES:",
        wrong="while self._held_bytes < 0:",
        test=ORDER,
        case="test_sound_before_the_beginning_is_bounded[vonage]",
    ),
    Fault(
        name="half a sample is lost",
        does="The codec of `vonage` drops half a sample, and what follows is noise.",
        file="gateway/adapters/vonage.py",
        right="sound, self._rest = sound[:whole], sound[whole:]",
        wrong='sound, self._rest = sound[:whole], b""',
        test=ORDER,
        case="test_sound_may_be_cut_anywhere[vonage]",
    ),
    Fault(
        name="broken sound is ignored",
        does="The codec of `browser` says nothing of sound that is no base64.",
        file="gateway/adapters/browser.py",
        right="                raise self._bad_sound(message)\n",
        wrong="                return []\n",
        test=ABUSE,
        case=ANSWERED + "[browser-caller-base64: truncated]",
    ),
    Fault(
        name="new kinds are refused",
        does="The codec of agents cannot read kinds of messages that do not exist yet.",
        file="gateway/agents/voice_agent.py",
        right="            case _:\n                return [AgentForwarded(raw)]\n",
        wrong='            case _:\n                raise WireError("an unknown message")\n',
        test=ABUSE,
        case=ANSWERED + "[pcm-agent-storm: unknown]",
    ),
    Fault(
        name="late sound is played",
        does="The machine plays sound of a reply that is over.",
        file="gateway/call/floor.py",
        right="        return reply_id in self._gone\n",
        wrong="        return False\n",
        test=ABUSE,
        case=ANSWERED + "[pcm-agent-reply: sound after its end]",
    ),
    Fault(
        name="a tool runs twice",
        does="The machine runs a tool again when it is asked for again.",
        file="gateway/call/tools.py",
        right="if known := self._calls.get(event.tool_call_id):",
        wrong="if (known := self._calls.get(event.tool_call_id)) and not event.arguments:",
        test=ABUSE,
        case=ANSWERED + "[pcm-agent-storm: the same tool]",
    ),
    Fault(
        name="ready is waited for for ever",
        does="The machine has no limit for an agent that is never ready.",
        file="gateway/call/clocks.py",
        right="        if now >= self._ready_by:\n",
        wrong="        if False:\n",
        test=ABUSE,
        case=ANSWERED + "[pcm-agent-ready: never]",
    ),
    Fault(
        name="nothing is forgiven",
        does="A leg counts all unreadable messages, and not those in a row.",
        file="gateway/runtime/legs.py",
        right="        self._errors_in_a_row = 0\n        if len(message)",
        wrong="        if len(message)",
        test=ABUSE,
        case=ANSWERED + "[pcm-agent-unreadable: nine in a row]",
    ),
    Fault(
        name="nobody asks",
        does="A caller that may be silent is never asked whether it is there.",
        file="gateway/server/caller_leg.py",
        right="            lost_after_s=server.lost_after_s,\n",
        wrong="            lost_after_s=server.lost_after_s if steady else None,\n",
        test=ABUSE,
        case=ANSWERED + "[pcm-caller-connection: vanishes]",
    ),
    Fault(
        name="nobody may be silent",
        does="A caller that may be silent is lost when it is, whatever it answers.",
        file="gateway/server/caller_leg.py",
        right="            asks=not steady,\n",
        wrong="            asks=False,\n",
        test=ABUSE,
        case=ANSWERED + "[pcm-caller-silence: muted]",
    ),
    Fault(
        name="endless patience",
        does="A leg waits for ever for a peer that reads nothing.",
        file="gateway/runtime/legs.py",
        right="            self._patience.reschedule(self._loop.time())\n",
        wrong="            pass\n",
        test=ABUSE,
        case=ANSWERED + "[pcm-caller-connection: never reads, for long]",
    ),
]
