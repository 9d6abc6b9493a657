"""All cases of abuse, for every registered adapter and for the agent's side, and the table of them for people."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / place) for place in ("", "e2e")]

from agent_cases import AGENT_CASES  # noqa: E402 - they need what lies beside this folder
from caller_cases import cases_of  # noqa: E402
from case import Case  # noqa: E402
from dialect import Dialect  # noqa: E402
from dialect_pcm import PCM  # noqa: E402
from dialects import DIALECTS  # noqa: E402
from faults import ANSWERED, FAULTS  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "abuse.md"
BEGIN, END = "<!-- from the suite -->", "<!-- end -->"
FAULTS_BEGIN, FAULTS_END = "<!-- faults -->", "<!-- end of faults -->"


def pairs() -> Iterator[tuple[Dialect, Case, bool]]:
    """Every case with the dialect of its caller, and whether it is left to `make slow`.

    A loud case takes a second in which nothing else runs. What it says of one adapter it nearly says of all, so in
    `make test` the adapters take turns.
    """
    dialects = list(DIALECTS.values())
    turns = {case.name: turn for turn, case in enumerate(c for c in cases_of(dialects[0]) if c.loud)}
    for place, dialect in enumerate(dialects):
        for case in cases_of(dialect):
            turn = turns.get(case.name, 0) % len(dialects)
            yield dialect, case, case.slow or (case.loud and turn != place)
    for agent_case in AGENT_CASES:
        yield PCM, agent_case, agent_case.slow


def table() -> str:
    """The cases as they stand in the page."""
    general = {case.name: case for dialect in DIALECTS.values() for case in cases_of(dialect) if not case.own}
    parts = [_part("From any caller", list(general.values()))]
    for dialect in DIALECTS.values():
        own = [case for case in cases_of(dialect) if case.own]
        parts.append(_part(f"From callers of the adapter `{dialect.adapter}`", own))
    parts.append(_part("From agents", AGENT_CASES))
    return "\n".join(parts)


def _part(title: str, cases: Sequence[Case]) -> str:
    rows = [f"| {case.name} | {case.does} | {case.answer} |" for case in cases]
    return "\n".join(
        [f"### {title}", "", "| case | what it does | what the gateway does |", "|---|---|---|", *rows, ""]
    )


def faults_table() -> str:
    """The deliberate faults as they stand in the page."""
    rows = [f"| {fault.does} | {_short(fault.case)} |" for fault in FAULTS]
    return "\n".join(["| fault | what says so |", "|---|---|", *rows])


def _short(case: str) -> str:
    head = f"{ANSWERED}["
    return case.removeprefix(head).removesuffix("]") if case.startswith(head) else f"`{case}`"


def refreshed(page: str) -> str:
    """The page with its tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    page = f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"
    before, _, rest = page.partition(FAULTS_BEGIN)
    return f"{before}{FAULTS_BEGIN}\n{faults_table()}\n{FAULTS_END}{rest.partition(FAULTS_END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text("utf-8")), "utf-8")
