"""What all tests share: real parts are used where they are there, and asked for by name."""

import os
import shutil
from collections.abc import Callable

import pytest
from figures import LINES

HOW = "install it, or unset TALKPATH_REQUIRE to skip the tests that need it"


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, and with which seed, for whoever reads the log of a run."""
    if LINES:
        terminalreporter.section("what was measured")
        for line in LINES:
            terminalreporter.write_line(line)
