"""Lets the agent note that somebody wants to be called back, and end the call politely."""

from typing import Annotated

from msgspec import Meta

from gateway import CallHandle, Tool, ToolError, hookimpl

Hour = Annotated[int, Meta(ge=8, le=18, description="hour of the day, 8 to 18")]


async def call_back(hour: Hour, call: CallHandle) -> dict[str, str]:
    """Note that the caller wants to be called back at an hour of the day. Use it once the caller has named the hour."""
    if not call.info.caller:
        raise ToolError("the caller's number is withheld; ask for a number to call back")
    call.note(f"call back at {hour}:00")
    call.say(f"Say that somebody will call back at {hour} o'clock, then say goodbye.")
    call.hang_up("a callback was arranged")  # once the goodbye was heard; the caller may still interrupt it
    return {"status": "noted"}


@hookimpl
def register_tools() -> list[Tool]:
    """Bring the tool to the gateway."""
    return [Tool.of(call_back, timeout_s=5)]
