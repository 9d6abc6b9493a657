"""What can be run but is hardly meant is said in a sentence with its place."""

from typing import Any

import pytest

from gateway.adapters.twilio_http import TwilioSettings
from gateway.agents.voice_agent import VoiceAgentSettings
from gateway.runtime.notes import notes
from gateway.settings import (
    AdapterSettings,
    AgentSettings,
    AuditSettings,
    MatchSettings,
    RecordingSettings,
    RegionSettings,
    RouteSettings,
    Secret,
    ServerSettings,
    Settings,
    TelemetrySettings,
)


def places(settings: Settings) -> list[str]:
    return [sentence.split(":")[0] for sentence in notes(settings)]


def test_settings_that_do_nothing_yet_are_named() -> None:
    """Each such setting in force has a sentence with its place; what is not set has none."""
    settings = Settings(
        telemetry=TelemetrySettings(otlp_endpoint="http://collector:4318", content=True),
        recording=RecordingSettings(enabled=True),
    )
    assert places(settings) == [
        "telemetry.otlp_endpoint",
        "telemetry.content",
        "recording.enabled",
    ]
    assert notes(Settings()) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"key": (Secret("k"),)}, ["audit.key"]),
        ({"key": (Secret("k"),), "path": "audit.jsonl"}, []),
        ({}, []),
    ],
)
def test_a_key_without_a_trail_seals_nothing(fields: dict[str, Any], expected: list[str]) -> None:
    """Whoever sets `audit.key` alone believes that there is a trail, and is told that there is none."""
    assert places(Settings(audit=AuditSettings(**fields))) == expected


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"turn_detection": "fast"}, "agents.a.turn_detection"),
        (
            {"session": {"input": {"turn_detection": {"min_silence": 500}}}},
            "agents.a.session.input.turn_detection",
        ),
        ({"session": {"input": {"turn_detection": {"interrupt_response": False}}}}, ""),
        ({}, ""),
    ],
)
def test_silences_that_are_set_cost_the_adaptive_mode(fields: dict[str, Any], place: str) -> None:
    """A profile, or silences by hand, are warned of; turn detection without them is not."""
    agent = VoiceAgentSettings(kind="voice_agent", api_key=(Secret("k"),), **fields)
    assert places(Settings(agents={"a": agent})) == ([place] if place else [])


@pytest.mark.parametrize(
    ("first", "second", "is_hidden"),
    [
        (MatchSettings(), MatchSettings(callee=("+1*",)), True),
        (MatchSettings(callee=("*",)), MatchSettings(), True),
        (MatchSettings(callee=("+1*", "+33*")), MatchSettings(callee=("+1555*", "+331")), True),
        (MatchSettings(callee=("+1*",)), MatchSettings(callee=("+1555*", "+44*")), False),
        (MatchSettings(callee=("+1555",)), MatchSettings(callee=("+1*",)), False),
        (MatchSettings(adapter=("pcm",)), MatchSettings(callee=("+1*",)), False),
        (MatchSettings(callee=("+1*",)), MatchSettings(), False),
    ],
)
def test_a_route_behind_one_that_takes_all_its_calls_is_named(
    first: MatchSettings, second: MatchSettings, is_hidden: bool
) -> None:
    """The first match wins, so a route that matches no more than one before it gets nothing."""
    routes = (
        RouteSettings(name="one", agent="a", match=first),
        RouteSettings(name="two", agent="a", match=second),
    )
    found = notes(Settings(routes=routes, adapters={"pcm": AdapterSettings()}))
    assert bool(found) is is_hidden
    assert all(note.startswith("routes[1]: two gets only calls that ask for it by name") for note in found)


def test_a_circle_of_fallbacks_is_named_once() -> None:
    """It may be meant, as each agent is tried once; an agent that leads into a circle is none of it."""
    agents = {
        name: AgentSettings(kind="offline", fallback=fallback)
        for name, fallback in {"x": "a", "a": "b", "b": "c", "c": "a", "last": ""}.items()
    }
    (found,) = notes(Settings(agents=agents))
    assert found.startswith("agents.c.fallback: agents fall back on each other in a circle (a → b → c → a)")


def test_a_carrier_that_cannot_prove_itself_is_named() -> None:
    """Without a secret every webhook is refused; a pcm adapter needs none."""
    adapters = {"twilio": TwilioSettings(), "pcm": AdapterSettings()}
    assert places(Settings(adapters=adapters)) == ["adapters.twilio.auth_token"]
    adapters["twilio"] = TwilioSettings(auth_token=(Secret("t"),))
    assert notes(Settings(adapters=adapters)) == []


def test_an_origin_that_carriers_cannot_use_is_named() -> None:
    """Behind http:// the media socket would be ws://, which no carrier opens; other clients may."""
    twilio: dict[str, AdapterSettings] = {"twilio": TwilioSettings(auth_token=(Secret("t"),))}
    for url, adapters, named in (
        ("http://voice.example.com", twilio, True),
        ("https://voice.example.com", twilio, False),
        ("http://voice.example.com", {"pcm": AdapterSettings()}, False),
    ):
        server = ServerSettings(public_url=url, trusted_proxies=("10.0.0.0/8",))
        found = places(Settings(server=server, adapters=adapters))
        assert found == (["server.public_url"] if named else [])


def test_a_route_for_an_adapter_that_is_not_served_is_named() -> None:
    """An adapter without a section brings no calls."""
    route = RouteSettings(name="r", agent="a", match=MatchSettings(adapter=("twilio",)))
    assert places(Settings(routes=(route,))) == ["routes[0].match.adapter"]


@pytest.mark.parametrize(
    ("server", "places_named"),
    [
        (ServerSettings(public_url="https://voice.example.com"), ["server.trusted_proxies"]),
        (ServerSettings(public_url="https://voice.example.com", trusted_proxies=("10.0.0.0/8",)), []),
        (ServerSettings(), []),
    ],
)
def test_a_proxy_that_is_not_named_makes_one_address_of_all(
    server: ServerSettings, places_named: list[str]
) -> None:
    """Behind a public address over TLS stands a proxy; where none is named, whoever starts the gateway is told."""
    assert places(Settings(server=server)) == places_named


@pytest.mark.parametrize(
    ("callee", "adapters", "said"),
    [
        ("33*", ("twilio", "pcm"), "calls of twilio do not match: numbers come as a plus and digits alone; write +33*"),
        ("33*", (), "calls of twilio do not match: numbers come as a plus and digits alone; write +33*"),
        ("33*", ("pcm",), ""),
        ("+33*", ("twilio", "pcm"), ""),
        ("+33100-+33199", ("twilio",), "is a range of numbers of 5 digits, and telephone numbers have more"),
        ("+33100-+33199", ("pcm",), ""),
        ("+4410000-+4419999", ("twilio",), "is a range of numbers of 7 digits"),
        ("+44100000-+44199999", ("twilio",), ""),
        ("100-199", ("twilio",), ""),
    ],
)  # fmt: skip
def test_numbers_that_calls_of_a_carrier_hardly_match_are_named(
    callee: str, adapters: tuple[str, ...], said: str
) -> None:
    """Where other adapters bring calls that may match, or where a range ends before numbers do."""
    route = RouteSettings(name="r", agent="a", match=MatchSettings(callee=(callee,), adapter=adapters))
    sections = {"twilio": TwilioSettings(auth_token=(Secret("t"),)), "pcm": AdapterSettings()}
    found = notes(Settings(routes=(route,), adapters=sections), carriers=frozenset({"twilio"}))
    assert [sentence.startswith(f"routes[0].match.callee[0]: {said}") for sentence in found] == [True] * bool(
        said
    )


US, EU = "agents.us.assemblyai.com", "agents.eu.assemblyai.com"


@pytest.mark.parametrize(
    ("name", "region", "said"),
    [
        (
            "eu",
            RegionSettings(voice_agent=f"wss://{US}/v1/ws", rest=f"https://{EU}/v1"),
            [
                (
                    f"regions.eu.voice_agent: {US} is the provider's host of the region us, so that is where calls of eu go; "
                    "give their agents the region us, or name a host of eu"
                )
            ],
        ),
        (
            "near",
            RegionSettings(voice_agent="wss://near.example/v1/ws", rest=f"https://{US}/v1"),
            [
                (
                    f"regions.near.rest: {US} is the provider's host of the region us, so that is where calls of near go; "
                    "give their agents the region us, or name a host of near"
                )
            ],
        ),
        (
            "eu",
            RegionSettings(voice_agent="ws://127.0.0.1:19000/v1/ws"),
            [
                (
                    "regions.eu.voice_agent: puts 127.0.0.1 in the place of the provider's host, so that is where calls of eu "
                    "go; leave it out, or define a region of your own for 127.0.0.1"
                )
            ],
        ),
        ("eu", RegionSettings(tools=("crm.example",)), []),
        ("eu", RegionSettings(voice_agent=f"wss://{EU}/v1/ws", rest=f"https://{EU}/v1"), []),
        ("near", RegionSettings(voice_agent="wss://near.example/v1/ws"), []),
    ],
)
def test_a_region_whose_host_is_not_where_its_name_says_is_named(
    name: str, region: RegionSettings, said: list[str]
) -> None:
    """A host of another built-in region, and one in the place of a built-in host, is told with what to do."""
    assert notes(Settings(regions={name: region})) == said
