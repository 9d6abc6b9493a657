"""What a journal leaves out where words are not kept.

Owns which fields hold what somebody said, typed or is called, and what stands in their place. Refuses to change what
a conversation does: a machine that is given the masked events does what it did with the real ones, so that such a
journal can be replayed. Texts therefore keep their length and their white space, keys their ``#``, a client's
configuration the names of its fields; everything of which the machine reads nothing is emptied.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.audio import AudioFormat
from gateway.client_rules import TURN_DETECTION, typed, without_content, without_values
from gateway.commands import CallEnded
from gateway.events import CallerConfigured, CallerForwarded, CallerPrompted, CallStarted, EndingAsked
from gateway.places import place_of, text_of
from gateway.redaction import REDACTION, dotted_numbers, mask_number

_DOT: Final = "•"
_NOT_UNDERSTOOD: Final = "?"
LONGEST_ID: Final = 200
"""Characters that are kept of a session's id."""
_ID: Final = re.compile(rf"[\w.:-]{{1,{LONGEST_ID}}}", re.ASCII)


class _SessionUpdate(Struct):
    session: dict[str, Any] = {}


def _masked(text: str) -> str:
    """Every letter and figure as a dot."""
    return re.sub(r"\w", _DOT, text)


def _masked_keys(digits: str) -> str:
    """Which key ends an entry is known, which one was pressed is not."""
    return re.sub(r"[^#*]", _DOT, digits)


def _masked_party(party: str) -> str:
    return party if _DOT in party else mask_number(party)


def _without_numbers(sentence: str) -> str:
    """A sentence for people without telephone numbers and secrets; it keeps its length."""
    return dotted_numbers(REDACTION.dotted(sentence))


def _session_id(given: str) -> str:
    """The provider's id of a session; what is more than an id loses numbers and unseen signs. No machine reads it."""
    if _ID.fullmatch(given):
        return REDACTION.dotted(given)
    return "".join(sign if sign.isprintable() else "?" for sign in _without_numbers(given))[:LONGEST_ID]


def _names_of_fields(raw: str) -> str:
    """A client's `session.update` without its values, but for those by which a conversation goes."""
    if not raw:
        return raw
    try:
        session = msgspec.json.decode(raw, type=_SessionUpdate).session
    except (msgspec.DecodeError, RecursionError):
        return _NOT_UNDERSTOOD
    shown = {name: _shown_field(name, value) for name, value in session.items()}
    return msgspec.json.encode({"session": shown}).decode()


def _shown_field(name: str, value: Any) -> Any:
    """What of a field is no word of anybody: names of nested fields and tools, hosts, and who may interrupt."""
    match name, value:
        case (("input" | "output"), dict()):
            shown = without_values(name, value)
            if isinstance(detection := value.get("turn_detection"), dict):
                shown["turn_detection"] = _without_words(TURN_DETECTION, detection, "interrupt_response")
            return shown
        case "tools", list():
            return [
                _without_words("tools", tool, "name", "timeout_seconds")
                for tool in value
                if isinstance(tool, dict)
            ]
        case "agent_id", str():
            return value
        case "webhook", dict():
            place = place_of(value["url"]) if isinstance(value.get("url"), str) else None
            return {"url": text_of(place)} if place else {}
    return None


def _without_words(part: str, fields: dict[str, Any], *shown: str) -> dict[str, Any]:
    """Fields without their values, but for those by which a conversation goes."""
    return without_values(part, fields) | {name: fields[name] for name in shown if name in fields}


def _masked_instructions(instructions: str) -> str:
    """Whether somebody typed them is known, what is not."""
    before, words, after = typed(instructions)
    return f"{before}{_masked(words)}{after}"


def _emptied(value: Any) -> Any:
    return type(value)()


S = TypeVar("S", bound=Struct)
Rule = Callable[[Any], Any]
_RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("text", "instructions", "result"), _masked),
    **dict.fromkeys(("raw", "arguments", "session", "history", "parameters"), _emptied),
    **dict.fromkeys(("caller", "callee", "target"), _masked_party),
    **dict.fromkeys(("reason", "detail", "message", "why"), _without_numbers),
    "digits": _masked_keys,
    "session_id": _session_id,
}
_OWN_RULES: Final[dict[tuple[type, str], Rule]] = {
    (CallerConfigured, "raw"): _names_of_fields,
    (CallStarted, "raw"): _names_of_fields,
    (CallerForwarded, "raw"): without_content,
    (CallerPrompted, "instructions"): _masked_instructions,
    (EndingAsked, "reason"): _masked,  # an agent gives it, in words of the conversation
}


@cache
def _rules_of(kind: type[Struct]) -> tuple[tuple[str, Rule | None], ...]:
    """The fields of a type that may hold words, with what is done to them; None is asked of what they hold."""
    rules = []
    for field in msgspec.structs.fields(kind):
        rule = _OWN_RULES.get((kind, field.name), _RULES.get(field.name))
        if rule or field.name in {"event", "fact", "info"}:
            rules.append((field.name, rule))
    return tuple(rules)


def without_words(item: S) -> S:
    """A copy of an event, command, fact or description without what people said, typed or are called.

    Doing it again changes nothing.
    """
    news: dict[str, Any] = {}
    for name, rule in _rules_of(type(item)):
        value = getattr(item, name)
        if rule:
            news[name] = rule(value)
        elif isinstance(value, Struct) and not isinstance(value, AudioFormat):
            news[name] = without_words(value)
    if isinstance(item, CallEnded) and item.reason == "agent_hung_up":
        news["detail"] = _masked(item.detail)  # the reason of the `EndingAsked`
    return replace(item, **news) if news else item
