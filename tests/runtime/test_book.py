"""Tests of the address book: what an entry stands for, and which configurations could not keep to it."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.places import Place, place_of
from gateway.runtime.book import joined_book
from gateway.runtime.config import load_settings
from gateway.runtime.routing import address_book
from gateway.settings import RegionSettings, ServerSettings, Settings

AGENTS = """
agents:
  berlin: {kind: voice_agent, region: eu, api_key: k, fallback: sorry}
  boston: {kind: voice_agent, api_key: k}
  sorry: {kind: offline, script: apology}
routes:
  - {name: europe, match: {callee: ["+49*"], adapter: [twilio]}, agent: berlin}
adapters: {twilio: {auth_token: t}, vonage: {signature_secret: s}, pcm: {}}
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)


def load(text: str) -> Settings:
    Path("gateway.yaml").write_text(text, encoding="utf-8")
    return load_settings("gateway.yaml")


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load(text)
    (found,) = refused.value.problems
    return found


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ("crm.internal", ("crm.internal", 443)),
        ("CRM.internal.", ("crm.internal", 443)),
        ("crm.internal:8080", ("crm.internal", 8080)),
        ("http://otel:4318/v1/traces", ("otel", 4318)),
        ("http://otel", ("otel", 80)),
        ("wss://agents.internal/v1/ws", ("agents.internal", 443)),
        ("[::1]:8080", ("::1", 8080)),
        ("10.0.0.7", ("10.0.0.7", 443)),
        ("", None),
        ("crm.internal/path", None),
        ("user@crm.internal", None),
        ("crm internal", None),
        ("crm.internal:port", None),
        ("ftp://crm.internal", None),
        ("krm\N{CYRILLIC SMALL LETTER A}.internal", None),
        (":443", None),
    ],
)
def test_an_entry_stands_for_one_host_and_port(entry: str, place: Place | None) -> None:
    """Port 443 unless it says otherwise; what could be read in two ways stands for nothing."""
    assert place_of(entry) == place


def test_a_book_lists_hosts_by_purpose() -> None:
    """`hosts` are for everything, the others for their purpose only; the agent's own are in it."""
    region = RegionSettings(
        voice_agent="wss://agents.internal/v1/ws", hosts=("crm.internal",), tools=("shop.internal:8080",)
    )
    book = joined_book(Settings(regions={"vpc": region}), ["vpc"])
    assert book.lists("agent", "Agents.Internal", 443)
    assert book.lists("tools", "shop.internal", 8080)
    assert not book.lists("tools", "shop.internal", 443)
    assert not book.lists("telemetry", "shop.internal", 8080)
    assert not book.lists("tools", "agents.internal", 443)
    assert all(book.lists(purpose, "crm.internal", 443) for purpose in book.places)
    assert book.purpose_of("shop.internal", 8080) == "tools"
    assert book.purpose_of("shop.internal", 443) is None
    assert book.knows("SHOP.internal.")
    assert not book.knows("internal")


def test_a_section_with_a_built_in_name_adds_to_that_region() -> None:
    """The provider's own addresses stay, unless the section names others."""
    more = RegionSettings(tools=("crm.internal",))
    known = address_book(Settings(regions={"eu": more, "us": RegionSettings(voice_agent="wss://mine/v1/ws")}))
    assert known["eu"].voice_agent == "wss://agents.eu.assemblyai.com/v1/ws"
    assert known["eu"].rest == "https://agents.eu.assemblyai.com/v1"
    assert known["eu"].tools == ("crm.internal",)
    assert (known["us"].voice_agent, known["us"].rest) == ("wss://mine/v1/ws", "")


def test_the_carriers_of_a_region_are_those_listed() -> None:
    """Where none are, they are asked where their adapter says, which strict egress bounds to the configured address."""
    settings = load(AGENTS)
    book = joined_book(settings, ["eu"])
    assert book.lists("carrier", "api.twilio.com", 443)
    assert book.lists("carrier", "api-us-3.vonage.com", 443)
    listed = Settings(
        adapters=settings.adapters, regions={"eu": RegionSettings(carrier=("api.dublin.ie1.twilio.com",))}
    )
    assert not joined_book(listed, ["eu"]).lists("carrier", "api.twilio.com", 443)
    strict = Settings(
        adapters=settings.adapters, server=ServerSettings(egress="strict"), regions=settings.regions
    )
    assert joined_book(strict, ["eu"]).lists("carrier", "api.twilio.com", 443)
    assert not joined_book(strict, ["eu"]).lists("carrier", "api-us-3.vonage.com", 443)


def test_an_exporter_outside_the_book_is_refused_with_the_reason() -> None:
    """Traces of a call are told to a host that its region's book must list for them."""
    exporter = AGENTS + "telemetry: {otlp_endpoint: 'https://otel.us.example.com'}\n"
    assert problem(exporter) == (
        "telemetry.otlp_endpoint: otel.us.example.com:443 is not in the book of eu, where calls of the route europe "
        "live; add otel.us.example.com:443 to regions.eu.telemetry, or use a host that is listed there (line 9)"
    )
    load(exporter + "regions: {eu: {telemetry: [otel.us.example.com]}}\n")
    assert "expected an address such as" in problem(
        AGENTS + "telemetry: {otlp_endpoint: 'collector at home'}\n"
    )


def test_an_exporter_must_be_in_the_book_of_every_region_that_calls_may_reach() -> None:
    """Also of one that a route only allows."""
    text = AGENTS.replace("agent: berlin}", "agent: berlin, allow_regions: [us]}")
    text += "telemetry: {otlp_endpoint: 'http://otel.internal:4318'}\nregions: {eu: {telemetry: ['otel.internal:4318']}}\n"
    assert "is not in the book of us" in problem(text)


def test_a_collector_beside_the_gateway_need_not_be_listed_unless_egress_is_strict() -> None:
    """A name of one label is one in the network where the gateway itself runs; strict egress wants it listed all the same."""
    text = AGENTS + "telemetry: {otlp_endpoint: 'http://otel-collector:4318'}\n"
    load(text)
    assert "otel-collector:4318 is not in the book of eu" in problem(text + "server: {egress: strict}\n")


def test_a_carrier_outside_the_book_is_refused_with_the_reason() -> None:
    """Only where the region lists carriers, and only for adapters whose calls the route takes."""
    text = AGENTS + "regions: {eu: {carrier: [api.dublin.ie1.twilio.com]}}\n"
    assert problem(text).startswith(
        "adapters.twilio.rest: api.twilio.com:443 is not in the book of eu, where calls of the route europe live; "
        "add api.twilio.com:443 to regions.eu.carrier"
    )
    there = "twilio: {auth_token: t, rest: 'https://api.dublin.ie1.twilio.com'}"
    load(text.replace("twilio: {auth_token: t}", there))


ELSEWHERE = [
    ("webhook: {url: 'https://evil.us.example/hook', events: []}", "webhook.url", "webhooks"),
    (
        "tools: [{type: function, name: t, http: {url: 'https://evil.us.example/t'}}]",
        "tools[0].http.url",
        "tools",
    ),
]


@pytest.mark.parametrize(("session", "place", "purpose"), ELSEWHERE)
def test_an_address_in_a_session_outside_the_book_is_refused_with_the_reason(
    session: str, place: str, purpose: str
) -> None:
    """Whom an agent's provider tells or asks must be listed in the agent's region; one in this process asks nobody."""
    text = AGENTS.replace("region: eu,", f"region: eu, session: {{{session}}},")
    where = "evil.us.example:443"
    assert problem(text).startswith(
        f"agents.berlin.session.{place}: {where} is not in the book of eu, the region of this agent; "
        f"add {where} to regions.eu.{purpose}, or use a host that is listed there"
    )
    load(f"{text}regions: {{eu: {{{purpose}: [evil.us.example]}}}}\n")
    unclear = text.replace("https://evil.us.example", "https://a@evil.us.example")
    assert "expected an address such as https://crm.example.com/hook" in problem(unclear)
    load(AGENTS.replace("script: apology", f"script: apology, session: {{{session}}}"))


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("vpc: {hosts: [crm.internal]}", "regions.vpc.voice_agent: is missing"),
        ("eu: {hosts: ['*.internal']}", ""),
        ("eu: {hosts: [crm.internal/path]}", "regions.eu.hosts[0]: expected a host such as crm.internal"),
        ("eu: {tools: [a, 'b c']}", "regions.eu.tools[1]: expected a host such as crm.internal"),
        ("eu: {webhooks: ['ftp://x']}", "regions.eu.webhooks[0]: expected a host such as crm.internal"),
        ("eu: {addresses: {crm: [crm.internal]}}", "regions.eu.addresses.crm[0]: expected an IP address"),
        ("eu: {tool: [a]}", "regions.eu.tool: unknown key; "),
    ],
)
def test_an_entry_that_stands_for_nothing_is_refused(section: str, place: str) -> None:
    """Each with its place; a star is no pattern here."""
    assert problem(f"{AGENTS}regions: {{{section}}}\n").startswith(
        place or "regions.eu.hosts[0]: expected a host"
    )


@pytest.mark.parametrize(
    ("match", "sentence"),
    [
        ("callee: ['+33199-+33100']", "callee[0]: the range ends before it begins; swap its ends"),
        ("parameters: {ToCountry: 'F*R'}", "parameters.ToCountry: a * may only stand at the end"),
        ("claims: {plan: '9-10'}", "claims.plan: both ends of a range need the same number of digits"),
        ("key: [webb]", "key[0]: there is no key 'webb'; did you mean web?"),
        ("time: {zone: Mars}", "time.zone: there is no time zone 'Mars'; use a name such as Europe/Paris"),
        ("time: {days: [mon]}", "time.zone: is missing; give text"),
        ("time: {zone: UTC, days: [lundi]}", "time.days: 'lundi' is no day; use mon, tue"),
        ("time: {zone: UTC, from: '8'}", "time.from: '8' is no time of day; write \"08:00\", in quotes"),
    ],
)
def test_a_condition_that_no_call_can_meet_is_refused(match: str, sentence: str) -> None:
    """One sentence, at its place."""
    text = AGENTS.replace('callee: ["+49*"], adapter: [twilio]', match)
    text += "access: {keys: [{name: web, key: a-key-that-is-long-enough-for-anybody-1}]}\n"
    assert problem(text).startswith(f"routes[0].match.{sentence}")


@pytest.mark.parametrize(
    ("match", "sentence"),
    [
        ("callee: ['33*']", "callee[0]: calls of twilio do not match: numbers come as a plus and digits alone; write +33*"),
        ("caller: ['+1*', '0033*']", "caller[1]: calls of twilio do not match: numbers come as a plus and digits alone; write +33*"),
        ("callee: ['+33 1 23 45 67 89']", "callee[0]: calls of twilio do not match: numbers come as a plus and digits alone; write +33123456789"),
        ("callee: ['+1 (415) 555-0100']", "callee[0]: calls of twilio do not match: numbers come as a plus and digits alone; write +14155550100"),
        ("callee: ['33100000000-33199999999']", "callee[0]: calls of twilio do not match: numbers come as a plus and digits alone; write +33100000000-+33199999999"),
        ("callee: ['0123456789']", "callee[0]: calls of twilio do not match: numbers come with a plus and the country's code"),
        ("claims: {plan: gold}", "claims.plan: is said of clients with a token, and calls of twilio have none; leave it out"),
        ("key: [web]", "key[0]: is a gateway key's name, and calls of twilio have none; leave it out"),
    ],
)  # fmt: skip
def test_what_no_call_of_a_carrier_meets_is_refused_where_only_carriers_call(
    match: str, sentence: str
) -> None:
    """With the pattern as it should be; the same is no mistake on a route that others may take, too."""
    text = AGENTS.replace('callee: ["+49*"], adapter: [twilio]', f"{match}, adapter: [twilio]")
    text += "access: {keys: [{name: web, key: a-key-that-is-long-enough-for-anybody-1}]}\n"
    assert problem(text).startswith(f"routes[0].match.{sentence}")
    assert load(text.replace("adapter: [twilio]", "adapter: [twilio, pcm]")).routes
    assert load(text.replace(", adapter: [twilio]", "")).routes


@pytest.mark.parametrize(
    "callee", ["+33*", "+*", "*", "12345", "sip:a@b.example", "client:anna", "+33123456789"]
)
def test_what_a_call_of_a_carrier_may_meet_is_taken(callee: str) -> None:
    """Numbers in their form, short ones of the carrier, and names."""
    assert load(AGENTS.replace("+49*", callee)).routes
