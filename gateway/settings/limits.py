"""The section `limits`: bounds of a call, of all calls, and of what an address or a key may ask for."""

from typing import Annotated

from msgspec import Meta

from gateway.settings.section import Count, Seconds, Section


class AddressLimits(Section, frozen=True, kw_only=True):
    """What one address may ask for in a minute, also all at once; an IPv6 address counts as its network of 64 bits.

    What carriers have signed, and what comes with a gateway key, does not count.
    """

    upgrades: Count = 300
    """Media sockets, of clients with a minted token and of those who show no proof; more get 429."""
    requests: Count = 600
    """Other requests: pages, wrong addresses, webhooks and requests for tokens without proof; more get 429."""
    wrong_proofs: Count = 100
    """Wrong or missing proofs on all doors; more get 429 and no line in the log. A right one is let in all the same."""
    addresses: Annotated[int, Meta(ge=100, le=1_000_000)] = 10_000
    """Addresses that are remembered, the latest ones."""


class KeyLimits(Section, frozen=True, kw_only=True):
    """What one gateway key may ask for in a minute, also all at once; what comes with tokens that it minted counts too."""

    upgrades: Count = 1200
    """Media sockets; more get 429."""
    tokens: Count = 1200
    """Tokens that are minted; more get 429."""
    requests: Count = 1200
    """Other requests, such as to `/v1/calls`; more get 429."""


class LimitSettings(Section, frozen=True, kw_only=True):
    """Bounds of a call and of all calls."""

    calls: Count = 400
    """Calls at once."""
    call_s: Seconds = 3600
    """Longest call."""
    silence_s: Seconds = 60
    """Longest time in which nobody says anything."""
    offline_calls: Count = 8
    """Calls at once for which the offline agent listens; more get clips and keys."""
    calls_per_caller: Count = 3
    """Calls at once from one number."""
    per_address: AddressLimits = AddressLimits()
    """What an address may ask for that shows no proof."""
    per_key: KeyLimits = KeyLimits()
    """What a gateway key may ask for."""
    return_s: Annotated[float, Meta(gt=0, le=300)] = 30
    """How long a call waits for a caller whose connection broke."""
    goodbye_s: Annotated[float, Meta(gt=0, le=120)] = 20
    """How long an ending waits for the last words to be heard."""
    inbox: Annotated[int, Meta(ge=64, le=100_000)] = 1024
    """Events of one call that may wait to be read."""
    agent_outbox_s: Annotated[float, Meta(ge=1, le=30)] = 5
    """Seconds of audio that may wait towards an agent; older audio is dropped."""
    tool_calls: Count = 8
    """Tools of one call that may run at once."""
