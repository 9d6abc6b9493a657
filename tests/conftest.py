"""What all tests share: real parts are used where they are there, and asked for by name."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from figures import LINES

from gateway.redaction import REDACTION

TIMED = (
    "tests/e2e/",
    "tests/abuse/",
    "tests/attack/",
    "tests/certify/",
    "tests/web/",
    "tests/endurance/",
    "tests/simulate/",
    "tests/runtime/test_clear_latency",
)
"""Where tests measure time, or need the whole machine."""
HOW = "install it, or unset TALKPATH_REQUIRE to skip the tests that need it"


@pytest.fixture(autouse=True)
def _nothing_learned() -> Iterator[None]:
    """What a configuration of one test calls secret may be an ordinary word in the next."""
    yield
    REDACTION.__init__()  # type: ignore[misc]


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """Give the path of a program; without it the test skips, or fails where TALKPATH_REQUIRE=all."""

    def find(program: str) -> str:
        if path := shutil.which(program):
            return path
        if os.environ.get("TALKPATH_REQUIRE") == "all":
            pytest.fail(f"{program} is not on this machine; {HOW}")
        pytest.skip(f"{program} is not on this machine; {HOW}")

    return find


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that must run alone, by where they are."""
    for item in items:
        if item.nodeid.startswith(TIMED):
            item.add_marker(pytest.mark.timed)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what was measured, where several processes share the tests."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = LINES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what another process has measured."""
    LINES.extend(getattr(node, "workeroutput", {}).get("figures", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, and with which seed, for whoever reads the log of a run."""
    if LINES:
        terminalreporter.section("what was measured")
        for line in LINES:
            terminalreporter.write_line(line)
