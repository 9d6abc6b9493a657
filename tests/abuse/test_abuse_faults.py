"""The suite finds deliberate faults: each is put into a copy of the gateway, and the case that must say so is run."""

from pathlib import Path

import pytest
from faults import FAULTS, Fault, copy_into, red_with


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_fits(fault: Fault, tmp_path: Path) -> None:
    """What is put wrong is still there, once; when the code has changed, so must the fault in tests/abuse/faults.py."""
    fault.put_into(copy_into(tmp_path, ("gateway",)))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found(fault: Fault, tmp_path: Path) -> None:
    """With the fault in place, the case that is named for it is red; without it the suite itself runs it green."""
    copy = copy_into(tmp_path)
    fault.put_into(copy)
    assert red_with(copy, fault.node) == [fault.node]
