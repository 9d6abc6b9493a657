"""Firefox for tests, by the WebDriver that is built into it: a WebSocket on which it takes commands (WebDriver BiDi)."""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

LIMIT_S = 30.0
PREFERENCES = {
    "media.navigator.permission.disabled": True,  # the microphone is given without asking
    "media.navigator.streams.fake": True,  # and it hums
    "media.cubeb.force_mock_context": True,  # a sound device that keeps time, where there is none
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


class Firefox:
    """One window."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._window = ""

    async def open(self, url: str) -> None:
        """Show a page and wait until it is loaded."""
        if not self._window:
            await self._command("session.new", capabilities={})
            tree = await self._command("browsingContext.getTree")
            self._window = tree["contexts"][0]["context"]
        await self._command("browsingContext.navigate", context=self._window, url=url, wait="complete")

    async def press(self, selector: str) -> None:
        """Click on an element as a person does."""
        found = await self._command(
            "browsingContext.locateNodes", context=self._window, locator={"type": "css", "value": selector}
        )
        origin = {"type": "element", "element": {"sharedId": found["nodes"][0]["sharedId"]}}
        steps: list[dict[str, Any]] = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": steps}
        await self._command("input.performActions", context=self._window, actions=[mouse])

    async def find(self, expression: str) -> Any:
        """Evaluate an expression in the page."""
        answer = await self._command(
            "script.evaluate", expression=expression, target={"context": self._window}, awaitPromise=True
        )
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression holds in the page."""
        polling = f"new Promise((done) => {{ const look = () => ({condition}) ? done(true) : setTimeout(look, 50); look(); }})"
        async with asyncio.timeout(LIMIT_S):
            await self.find(polling)

    async def _command(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(await self._socket.recv())
            if answer.get("id") == self._number:
                assert answer["type"] == "success", answer
                result: dict[str, Any] = answer["result"]
                return result


@asynccontextmanager
async def firefox(path: str) -> AsyncIterator[Firefox]:
    """A browser of its own, without a screen."""
    with tempfile.TemporaryDirectory(prefix="talkpath-firefox-") as profile:
        lines = [f'user_pref("{name}", {json.dumps(value)});' for name, value in PREFERENCES.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines))
        arguments = ("--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0")
        process = await asyncio.create_subprocess_exec(
            path, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                address = await _address(process)
            async with connect(f"{address}/session", proxy=None, max_size=None) as socket:
                yield Firefox(socket)
        finally:
            process.terminate()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr
    async for line in process.stderr:
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line.decode(errors="replace")):
            return found[1]
    raise AssertionError("Firefox ended before it listened")
