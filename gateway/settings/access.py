"""The section `access`: gateway keys, and what their owners may do."""

from typing import Annotated, Literal

from msgspec import Meta

from gateway.settings.section import Count, Secrets, Section


class KeySettings(Section, frozen=True, kw_only=True):
    """A gateway key."""

    name: str
    """Shown in logs."""
    key: Secrets
    """The key, or several while they are rotated: each as it is, of 16 characters or more, or as ``sha256:`` and the
    hexadecimal digest of it, so that the gateway does not know it."""
    may: tuple[Literal["connect", "tokens", "calls", "provider"], ...] = ("connect",)
    """What its owner may do."""
    routes: tuple[str, ...] = ()
    """Routes it may use; none named means all."""
    calls: Count | None = None
    """How many calls it may have at once."""


class AccessSettings(Section, frozen=True, kw_only=True):
    """Who may do what on the doors that keys guard."""

    keys: tuple[KeySettings, ...] = ()
    """Gateway keys; with none, only this machine is let in."""
    token_s: Annotated[float, Meta(ge=5, le=600)] = 60
    """How long a media token may wait to be used."""
