"""Settings that may be written already and that this version does not act upon yet.

Owns the sentences. An option that exists and does nothing must say so where people look.
"""

from gateway.settings import Settings


def without_effect(settings: Settings) -> list[str]:
    """One sentence for each setting in force that changes nothing in this version."""
    rights = {right for key in settings.access.keys for right in key.may}
    found = {
        "telemetry.otlp_endpoint: traces are not exported yet": bool(settings.telemetry.otlp_endpoint),
        "telemetry.content: there are no spans yet that could hold what people say": settings.telemetry.content
        is True,
        "recording.enabled: calls are not recorded yet": settings.recording.enabled,
        "access.keys: the right 'tokens' opens nothing yet": "tokens" in rights,
        "access.keys: the right 'provider' opens nothing yet": "provider" in rights,
    }
    return [
        f"{sentence}; leave it out, or expect nothing of it" for sentence, holds in found.items() if holds
    ]
