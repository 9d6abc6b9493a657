"""Talkpath, a self-hosted voice gateway; from here plugins import what they need, by name."""

from gateway.contracts import (
    Adapter,
    AgentCall,
    AgentKind,
    Codec,
    Dial,
    Document,
    HttpRequest,
    Invitation,
    Knock,
    Local,
    Observer,
    ObserverKind,
    Route,
    Upgrade,
    Visit,
)
from gateway.errors import ConfigError, NotProven, PluginError, ToolError, WireError
from gateway.hookspecs import hookimpl
from gateway.redaction import Redactor
from gateway.settings import AdapterSettings, AgentSettings, Secret, Secrets, Settings
from gateway.tools import CallHandle, Tool

__all__ = [
    "Adapter",
    "AdapterSettings",
    "AgentCall",
    "AgentKind",
    "AgentSettings",
    "CallHandle",
    "Codec",
    "ConfigError",
    "Dial",
    "Document",
    "HttpRequest",
    "Invitation",
    "Knock",
    "Local",
    "NotProven",
    "Observer",
    "ObserverKind",
    "PluginError",
    "Redactor",
    "Route",
    "Secret",
    "Secrets",
    "Settings",
    "Tool",
    "ToolError",
    "Upgrade",
    "Visit",
    "WireError",
    "hookimpl",
]
