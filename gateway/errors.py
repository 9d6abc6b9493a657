"""The five exceptions that cross levels of the house; expected trouble is an event, not one of these."""


class ConfigError(Exception):
    """The configuration cannot be used.

    ``problems`` holds every one found in the run, each ``place: what is wrong; what to do``.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PluginError(Exception):
    """A plugin cannot be loaded or registered something unusable; names the plugin and what to mend."""


class WireError(Exception):
    """A peer sent a message that its dialect does not know; raised by codecs only, counted by the leg."""


class LegClosed(Exception):  # noqa: N818 - a fact about a leg, in the house's words
    """The connection of one side is gone; ``code`` is the WebSocket close code, 1006 where none was sent."""

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(f"the connection was closed ({code}{': ' + reason if reason else ''})")
        self.code = code
        self.reason = reason


class ToolError(Exception):
    """Raised by a tool to tell the agent something useful: the text is what the agent reads."""
