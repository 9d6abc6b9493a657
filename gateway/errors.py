"""The exceptions that cross levels of the house; expected trouble is an event, not one of these."""

from typing import Final

SENTENCE_CHARACTERS: Final = 400
"""Longest sentence about a message; a close frame holds a third of it, the log a half."""


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

    ``fatal`` says that nothing which follows on this connection can be believed or used; the leg closes it. Its text
    is one line that can be read and sent, whatever of the message it quotes.
    """

    def __init__(self, sentence: str, *, fatal: bool = False) -> None:
        if not sentence.isprintable():
            sentence = "".join(letter if letter.isprintable() else " " for letter in sentence)
        super().__init__(sentence[:SENTENCE_CHARACTERS])
        self.fatal = fatal


class NotProven(WireError):  # noqa: N818 - a fact about a request, in the house's words
    """A carrier's proof is good for a request, and not for what is read in it; answered as a wrong proof is."""


class ToolError(Exception):
    """Raised by a tool to tell the agent something useful: the text is what the agent reads."""
