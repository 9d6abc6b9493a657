"""The admin port: whether the process lives and whether it takes calls.

Owns ``/healthz`` and ``/readyz``. Refuses anything about single calls; this port asks for no proof.
"""

from aiohttp import web

from gateway.server.calls import CallRegistry


class Health:
    """Answers probes."""

    def __init__(self, registry: CallRegistry) -> None:
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """Addresses of the probes."""
        return [web.get("/healthz", self.handle_alive), web.get("/readyz", self.handle_ready)]

    async def handle_alive(self, _request: web.Request) -> web.Response:
        """Say that the event loop turns."""
        return web.Response(text="alive\n")

    async def handle_ready(self, _request: web.Request) -> web.Response:
        """Say whether a new call would be taken."""
        if self._registry.draining:
            return web.Response(status=503, text="draining: takes no new calls\n")
        if self._registry.full:
            return web.Response(status=503, text="full: limits.calls is reached\n")
        return web.Response(text="ready\n")
