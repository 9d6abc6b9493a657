"""A client's session as the client knows it: our ids, and the configuration that it is shown.

Owns what is the same over all connections of a session, and the echo of the configuration (reference: Voice Agent
API, 4.2). Clients that were let in by a minted token see no prompt of the route, none of its tools and no text that
it gave the agent; what they wrote themselves they see. Refuses the wire.
"""

from typing import Any, Final

from gateway.adapters.session_update import Fixed, Json, format_fields
from gateway.contracts import Upgrade

_SIDES: Final = ("input", "output")
_NESTED: Final = {
    "input": (
        "type", "format", "turn_detection", "keyterms", "transcription_mode", "continuous_partials",
        "transcription_prompt", "language_codes", "voice_focus", "voice_focus_threshold",
    ),
    "output": ("type", "voice", "format", "volume"),
}  # fmt: skip
"""What the service always echoes, null where nothing was set."""
_TEXTS: Final = ("keyterms", "transcription_prompt")
"""Fields of `input` in which a route may say what is nobody's business."""
_TOOL: Final[Json] = {
    "type": "function",
    "name": "",
    "description": "",
    "parameters": {},
    "timeout_seconds": 120,
    "execution_mode": "interactive",
    "http": None,
    "response_instructions": None,
    "deployment_id": None,
    "session_update": None,
    "image_tag": None,
}


class ClientSession:
    """What the connections of one client's session share."""

    def __init__(self, upgrade: Upgrade, asked: Json, fixed: Fixed) -> None:
        self.session_id = upgrade.session_id
        self.resume_token = upgrade.resume_token
        self.fixed = fixed
        self.began_at = upgrade.clock()
        self.expires_at = int(self.began_at + upgrade.session_s)
        self.provider_id = ""
        """Id of the session behind ours, which no client sees."""
        self.is_ready = False
        """Whether the client has been told so."""
        self._hides = upgrade.admitted_by == "token"
        self._asked: Json = {}
        self._ever_declared: set[str] = set()
        self._config: Json = {}
        self.ask(asked)

    def ask(self, session: Json) -> None:
        """Remember what the client wrote, which it may see again."""
        self._asked = _laid_over(self._asked, session)
        self._ever_declared |= {str(tool["name"]) for tool in session.get("tools", [])}

    @property
    def agent_id(self) -> str:
        """The agent that the client has named; empty where it has named none."""
        return str(self._asked.get("agent_id", ""))

    def hide(self) -> None:
        """A connection of this session came with a minted token: hide from now on what such clients may not see."""
        self._hides = True

    def learn(self, config: Any) -> None:
        """Take over what an agent's session says of its configuration, all of it or some."""
        if isinstance(config, dict):
            self._config = _laid_over(self._config, config)

    def change(self, changes: Json) -> None:
        """Take over what the client has changed and no agent has answered; its tools stand beside the route's."""
        if "tools" in changes:
            there = self._config.get("tools") or []
            routes = [tool for tool in there if tool.get("name") not in self._ever_declared]
            own = [_TOOL | tool for tool in changes["tools"] or []]
            changes = {**changes, "tools": [*routes, *own]}
        self.learn(changes)

    def shown(self) -> Json:
        """The configuration as this client sees it."""
        config = self._config
        own = self._own_tools()
        prompt = config.get("system_prompt") or ""
        shown: Json = {
            "id": self.session_id,
            "system_prompt": prompt,
            "greeting": config.get("greeting"),
            "input": self._side("input"),
            "output": self._side("output"),
            "tools": config.get("tools") or [],
            "llm": config.get("llm") or [],
            "pre_connect_requests": config.get("pre_connect_requests") or [],
        }
        if not self._hides:
            return {**config, **shown}
        kept = shown if prompt == self._asked.get("system_prompt") else shown | {"system_prompt": ""}
        return kept | {"tools": own, "llm": [], "pre_connect_requests": []}

    def _own_tools(self) -> list[Json]:
        """The client's own tools in its own words, as far as the session in force has them."""
        there = self._config.get("tools")
        names = (
            {tool.get("name") for tool in there if isinstance(tool, dict)} if isinstance(there, list) else ()
        )
        return [_TOOL | tool for tool in self._asked.get("tools", []) if tool.get("name") in names]

    def _side(self, side: str) -> Json:
        given = self._config.get(side)
        config: Json = given if isinstance(given, dict) else {}
        audio = self.fixed.hears if side == "input" else self.fixed.speaks
        known = dict.fromkeys(_NESTED[side])
        shown = {**known, **config, "type": "audio", "format": format_fields(audio)}
        if not self._hides:
            return shown
        asked = self._asked.get(side) or {}
        for name in _TEXTS:
            if name in shown and shown[name] != asked.get(name):
                shown[name] = None
        return {name: value for name, value in shown.items() if name in known}


def _laid_over(below: Json, above: Json) -> Json:
    """Fields of a session over others: `input` and `output` field by field, everything else as a whole."""
    laid = {**below, **above}
    for side in _SIDES:
        under, over = below.get(side), above.get(side)
        if isinstance(under, dict) and isinstance(over, dict):
            laid[side] = {**under, **over}
    return laid
