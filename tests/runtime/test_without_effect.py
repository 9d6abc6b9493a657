"""Settings that do nothing yet say so."""

from gateway.runtime.without_effect import without_effect
from gateway.settings import (
    AccessSettings,
    KeySettings,
    RecordingSettings,
    Secret,
    Settings,
    TelemetrySettings,
)


def test_settings_that_do_nothing_yet_are_named() -> None:
    """Each such setting in force has a sentence with its place; what is not set has none."""
    key = KeySettings(name="backend", key=(Secret("k"),), may=("connect", "tokens", "provider"))
    settings = Settings(
        telemetry=TelemetrySettings(otlp_endpoint="http://collector:4318", content=True),
        recording=RecordingSettings(enabled=True),
        access=AccessSettings(keys=(key,)),
    )
    places = [sentence.split(":")[0] for sentence in without_effect(settings)]
    assert places == [
        "telemetry.otlp_endpoint",
        "telemetry.content",
        "recording.enabled",
        "access.keys",
        "access.keys",
    ]
    assert without_effect(Settings()) == []
