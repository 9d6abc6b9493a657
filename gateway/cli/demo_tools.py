"""The tool of the demonstration, as anybody would write one: a rover that drives where it is told."""

from typing import Literal

from gateway.hookspecs import hookimpl
from gateway.tools import Tool


async def drive(direction: Literal["forward", "backward"], meters: int) -> dict[str, object]:
    """Drive the rover, given a direction and a distance in meters."""
    return {"direction": direction, "meters": meters, "status": "arrived"}


@hookimpl
def register_tools() -> list[Tool]:
    """Bring the rover."""
    return [Tool.of(drive, timeout_s=3)]
