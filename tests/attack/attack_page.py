"""The tables of attacks and of removed checks, as they stand in docs/explanation/attacks.md.

``python tests/attack/attack_page.py`` writes them there.
"""

from itertools import groupby
from pathlib import Path

from gates_of_clients import GATES
from removals import REMOVALS
from siege import ATTACKS

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "attacks.md"
BEGIN, END = "<!-- attacks -->", "<!-- end of attacks -->"
REMOVED_BEGIN, REMOVED_END = "<!-- removals -->", "<!-- end of removals -->"


def attacks_table() -> str:
    """Every attack, at which doors, and what is answered."""
    rows = []
    for attack in ATTACKS:
        doors = ", ".join(f"`{gate.name}`" for gate in GATES.values() if attack.suits(gate))
        rows.append(f"| {attack.name} | {attack.does} | {doors} | {attack.answer} |")
    return "\n".join(["| attack | what it does | at | what the gateway does |", "|---|---|---|---|", *rows])


def removals_table() -> str:
    """Every check, and the attacks that succeed without it."""
    rows = []
    for check, removals in groupby(REMOVALS, key=lambda removal: removal.check):
        red = "; ".join(f"{removal.attack} (`{removal.gate}`)" for removal in removals)
        rows.append(f"| {check} | {red} |")
    return "\n".join(["| check | without it succeeds |", "|---|---|", *rows])


def refreshed(page: str) -> str:
    """The page with its tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    page = f"{before}{BEGIN}\n{attacks_table()}\n{END}{rest.partition(END)[2]}"
    before, _, rest = page.partition(REMOVED_BEGIN)
    return f"{before}{REMOVED_BEGIN}\n{removals_table()}\n{REMOVED_END}{rest.partition(REMOVED_END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text("utf-8")), "utf-8")
