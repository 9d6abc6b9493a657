"""The four exceptions that cross levels of the house; expected trouble is an event, not one of these."""


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
    """A peer sent a message that its dialect does not know; raised by codecs only, counted by the leg.

    ``fatal`` says that nothing which follows on this connection can be believed or used; the leg closes it.
    """

    def __init__(self, sentence: str, *, fatal: bool = False) -> None:
        super().__init__(sentence)
        self.fatal = fatal


class ToolError(Exception):
    """Raised by a tool to tell the agent something useful: the text is what the agent reads."""
