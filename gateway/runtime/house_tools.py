"""The tools of the house, brought by the same hook as yours.

Owns `hang_up`. Its description is read by a model, so it is reviewed as code: it must not teach the model to end
a call on silence or early (reference: field notes, 22). It takes no arguments, because the provider refuses a
call whose argument values nobody has said (reference: Voice Agent API, 9.3).
"""

from gateway.hookspecs import hookimpl
from gateway.tools import CallHandle, Tool


async def hang_up(call: CallHandle) -> dict[str, str]:
    """End the phone call. Use it only after the caller has said goodbye or has clearly said that they need nothing more, and you have said your own last words. Never use it because the caller is silent, hesitates, is hard to understand or has not answered yet: ask again instead. If you are not sure, ask whether there is anything else. After calling it, say nothing more."""
    call.hang_up()
    return {"status": "the call ends once your last words were heard"}


@hookimpl
def register_tools() -> list[Tool]:
    """Bring ``hang_up``."""
    return [Tool.of(hang_up)]
