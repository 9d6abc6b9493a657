"""Lines for people about what happens in a session of the Voice Agent API, whichever dialect carries it."""

import msgspec


def event_line(event: dict[str, object]) -> str | None:
    """A line for people about an event of the Voice Agent API; nothing for those that only add noise."""
    match event.get("type"):
        case "transcript.user":
            return f"understood: {event.get('text', '')}"
        case "transcript.agent":
            cut = " (interrupted)" if event.get("interrupted") else ""
            return f"agent: {event.get('text', '')}{cut}"
        case "tool.call":
            return f"tool {event.get('name', '')} {msgspec.json.encode(event.get('arguments')).decode()}"
        case "session.error":
            return f"error {event.get('code', '')}: {event.get('message', '')}"
        case "talkpath.notice":
            return f"notice: {event.get('message', event.get('text', ''))}"
        case "session.ready" | "session.ended" | "input.speech.started" | "input.speech.stopped":
            return str(event["type"])
        case _:
            return None
