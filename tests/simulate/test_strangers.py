"""Simulated callers at an address where somebody else answers."""

import pytest
from aiohttp import web

from gateway.simulate.media_socket import SocketError, open_socket
from gateway.simulate.webhook import WebhookError, open_session, request_text

PAGE = "<!DOCTYPE html><html><body><h1>Nothing to see</h1></body></html>"
WORDS = "This number is\n  not in service."


async def complaints(kind: str, body: str) -> list[str]:
    """What is said of a webhook and of an upgrade that are answered 404, behind the status."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=404, text=body, content_type=kind)

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        authority = f"127.0.0.1:{runner.addresses[0][1]}"
        async with open_session() as session:
            with pytest.raises(WebhookError) as webhook:
                await request_text(session, "POST", f"http://{authority}/", body=b"", headers={})
        with pytest.raises(SocketError) as upgrade:
            await open_socket(f"ws://{authority}/", {}, None)
    finally:
        await runner.cleanup()
    assert (webhook.value.status, upgrade.value.status) == (404, 404)
    return [str(error.value).partition("was answered ")[2] for error in (webhook, upgrade)]


async def test_words_are_told_on_one_line() -> None:
    """What a gateway says of a refusal stands behind the status."""
    assert await complaints("text/plain", WORDS) == ["404: This number is not in service."] * 2


@pytest.mark.parametrize(
    ("kind", "body"), [("text/html", PAGE), ("application/json", "{}"), ("text/plain", " ")]
)
async def test_pages_are_not_told(kind: str, body: str) -> None:
    """A page for browsers is no part of a sentence; the status has a name."""
    assert await complaints(kind, body) == ["404 (Not Found)"] * 2
