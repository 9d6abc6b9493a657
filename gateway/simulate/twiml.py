"""Reads the TwiML that a gateway answers with, as strictly as a carrier that must carry it out.

Owns the verbs a voice gateway may use. Refuses what is not a ``<Response>`` document, verbs it does not know
and every document type declaration (so no entity can be declared). (Reference: carriers 2.1.)
"""

from typing import Any
from xml.parsers import expat

import msgspec

MAX_DOCUMENT_BYTES = 65536  # Twilio's limit for a document


class TwimlError(Exception):
    """The document cannot be carried out; one sentence that says why."""


class Verb(msgspec.Struct):
    """One element of the document."""

    name: str
    """Its tag."""
    attributes: dict[str, str] = {}
    """Its attributes as they were written."""
    text: str = ""
    """The text directly inside it."""
    children: list["Verb"] = []
    """Elements inside it, in order."""

    def child(self, name: str) -> "Verb | None":
        """The first element of that name inside it."""
        return next((child for child in self.children if child.name == name), None)

    @property
    def parameters(self) -> dict[str, str]:
        """Names and values of the ``<Parameter>`` elements inside it."""
        return {
            child.attributes.get("name", ""): child.attributes.get("value", "")
            for child in self.children
            if child.name == "Parameter"
        }


_VERBS = {"Connect", "Say", "Play", "Pause", "Dial", "Redirect", "Reject", "Hangup"}


def read_twiml(document: str | bytes) -> list[Verb]:
    """Read the verbs of a document in order; an empty body is an empty document.

    Raises:
        TwimlError: when it is no TwiML that this carrier can carry out.
    """
    data = document.encode() if isinstance(document, str) else document
    if len(data) > MAX_DOCUMENT_BYTES:
        raise TwimlError(f"the document has {len(data)} bytes, more than {MAX_DOCUMENT_BYTES}")
    if not data.strip():
        return []
    root = _read_tree(data)
    if root.name != "Response":
        raise TwimlError(f"the document is a <{root.name}>, not a <Response>")
    for verb in root.children:
        if verb.name not in _VERBS:
            raise TwimlError(f"<{verb.name}> is no verb that this carrier knows")
        if verb.name == "Connect":
            _check_connect(verb)
    return root.children


def _check_connect(verb: Verb) -> None:
    stream = verb.child("Stream")
    if stream is None:
        raise TwimlError("<Connect> has no <Stream>")
    url = stream.attributes.get("url", "")
    if not url:
        raise TwimlError("<Stream> has no url")
    for name, value in stream.parameters.items():
        if not name or len(name) + len(value) >= 500:
            raise TwimlError(f"the <Parameter> {name!r} has no name or is longer than 499 characters")


def _read_tree(data: bytes) -> Verb:
    document = Verb("")
    stack = [document]

    def start(name: str, attributes: dict[str, str]) -> None:
        element = Verb(name, attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_name: str) -> None:
        stack.pop()

    def text(characters: str) -> None:
        stack[-1].text += characters

    def refuse(*_arguments: Any) -> None:
        raise TwimlError("the document has a document type declaration, which is not allowed")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise TwimlError(f"the document is not well-formed XML ({error})") from error
    return document.children[0]
