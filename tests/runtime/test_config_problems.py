"""Tests of problems of the configuration: all are told in one run, each once, with its place and what to do."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.runtime.config import load_settings
from gateway.settings import Settings

ORIGIN = "expected an origin such as https://voice.example.com, without a path; this is what carriers sign"
KINDS = "a kind comes from a plugin; installed are: offline, voice_agent"
ROUTE = "routes: [{name: r, agent: a}]\n"


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)


def load(text: str) -> Settings:
    Path("gateway.yaml").write_text(text, encoding="utf-8")
    return load_settings("gateway.yaml")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(text)
    return list(refused.value.problems)


# Problems


def test_every_problem_is_told_in_one_run_with_its_place_and_line() -> None:
    """Types, unknown keys and references of all sections, and of every part of a broken one."""
    found = problems(
        """\
server: {port: 99999, admin_port: [], hots: 1.2.3.4}
serverr: {}
agents:
  main:
    kind: offline
    region: mars
    tools: [hang_up, hung_up]
    fallback: nobody
    catch_up: {rate: 9}
    clips: {hold: nowhere.wav, blip: x.wav}
    tool_results: whenever
  odd: {kind: robot}
  none: {}
routes:
  - {name: x, agent: mian, match: {callee: ["+3*3", 33], adapter: [twillio]}}
  - {name: x, agent: main, allow_regions: [moon]}
  - {agent: main}
  - 7
regions: {vpc: {voice_agent: "https://agents.internal"}}
adapters: {pmc: {}, pcm: {speed: 1}}
limits: {calls: many}
access: {keys: [{name: a, key: a-key-of-somebody, routes: [y]}, {name: a, key: short}]}
store: {kind: redis, url: "redis://here"}
"""
    )
    starts = {
        "server.port: expected a whole number from 0 to 65535, got 99999 (line 1)",
        "server.admin_port: expected a whole number from 0 to 65535, got a list (line 1)",
        "server.hots: unknown key; did you mean host? (line 1)",
        "serverr: unknown section; did you mean server? (line 2)",
        "agents.main.region: there is no region 'mars'; define it under regions, or use us, eu, vpc (line 6)",
        "agents.main.tools[1]: there is no tool 'hung_up'; did you mean hang_up? (line 7)",
        "agents.main.fallback: there is no agent 'nobody'; define it under agents, or use main, odd, none (line 8)",
        "agents.main.catch_up.rate: expected a number from 1 to 4, got 9 (line 9)",
        "agents.main.clips.hold: the file ",
        "agents.main.clips.blip: unknown sound; use hold or apology (line 10)",
        "agents.main.tool_results: invalid value 'whenever'; use after_reply or immediate (line 11)",
        "agents.odd.kind: there is no kind 'robot'; a kind comes from a plugin; installed are: offline, voice_agent (line 12)",
        "agents.none: has no kind; give kind: offline or voice_agent, or extends (line 13)",
        "routes[0].agent: there is no agent 'mian'; did you mean main? (line 15)",
        "routes[0].match.callee[0]: a * may only stand at the end; shorten it (line 15)",
        "routes[0].match.callee[1]: expected text, got 33; put it in quotes (line 15)",
        "routes[0].match.adapter[0]: there is no adapter 'twillio'; did you mean twilio? (line 15)",
        "routes[1].name: is the name of routes[0] too; choose another (line 16)",
        "routes[1].allow_regions[0]: there is no region 'moon'; define it under regions, or use us, eu, vpc (line 16)",
        "routes[2].name: is missing; give text (line 17)",
        "routes[3]: expected a mapping of keys to values; indent them below it (line 18)",
        "regions.vpc.voice_agent: expected an address that begins with wss:// or ws:// (line 19)",
        "adapters.pmc: there is no adapter 'pmc'; did you mean pcm? (line 20)",
        "adapters.pcm.speed: unknown key; ",
        "limits.calls: expected a whole number from 1 to 1000000, got text (line 21)",
        "access.keys[0].routes[0]: there is no route 'y'; define it under routes, or use x (line 22)",
        "access.keys[1].key: has fewer than 16 characters, and could be guessed; make one with `openssl rand -hex 32` (line 22)",
        "access.keys[1].name: is the name of another key too; choose another (line 22)",
        "store.kind: redis is not available in this version; use memory (line 23)",
    }
    missing = [start for start in starts if not any(problem.startswith(start) for problem in found)]
    assert not missing, found
    assert len(found) == len(starts), found


def test_without_names_of_its_own_a_region_is_us_or_eu() -> None:
    """The advice names what there is."""
    (problem,) = problems("agents: {a: {kind: offline, region: mars}}\nroutes: [{name: r, agent: a}]\n")
    assert (
        problem
        == "agents.a.region: there is no region 'mars'; define it under regions, or use us, eu (line 1)"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: {port: 1", "this is not YAML"),
        (
            "regions: {}\nserver: {port: ${P:-1}}\n",
            'this is not YAML: inside {…} and […] a variable needs quotes, as in "${NAME}" (line 2)',
        ),
        ("plugins: {disabled: [${P}, b]}\n", "inside {…} and […] a variable needs quotes"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("a: &a {b: *a}\n", "levels"),
        ("x: !!python/object:os.system {}\nserver: {}", "unknown section"),
        ("server: {port: 1, port: 2}\n", "server.port: appears twice, first in line 1; keep one (line 1)"),
        ("1: 2\n", "the key 1 is not text; put it in quotes (line 1)"),
        ("<<: {server: {}}\n", "merging is not supported"),
        ("server: {host: 2020-99-99}\n", "server.host: cannot be read"),
        ("agents:\n  7\nroutes: []\n", "agents: expected a mapping of names to sections"),
        ("routes: []\nagents: {}\n", "routes: there are none, so every call would be refused"),
        (
            "agents: {a: {kind: offline}}\n",
            "routes: there are none, so every call would be refused; add - {name: default, agent: a}",
        ),
        (
            "server: {port: 7000, admin_port: 7000}\n",
            "server.admin_port: is server.port too (7000); choose another (line 1)",
        ),
        ("server: {port: 8081}\n", "server.port: is server.admin_port too (8081)"),
        ("agents: {a: {kind: offline, fallback: a}}\n" + ROUTE, "agents.a.fallback: is the agent itself"),
        (
            "regions: {vpc: {voice_agent: 'wss://x', rest: 'ftp://x'}}\n",
            "regions.vpc.rest: expected an address that begins with https:// or http:// (line 1)",
        ),
        ("regions: {vpc: {voice_agent: 'wss://['}}\n", "regions.vpc.voice_agent: expected an address"),
        ("records: {path: x, keep_days: 0}\n", "records.keep_days: expected"),
        (
            "agents: {a: {kind: offline}}\nroutes: [{name: r, agent: a, client_may: [nonsense]}]\n",
            "routes[0].client_may[0]: the session has no such field; use agent_id, greeting, input",
        ),
        (
            "agents: {a: {kind: offline}}\nroutes: [{name: r, agent: a, client_may: [input.], token_may: [tools]}]\n",
            "routes[0].token_may[0]: clients with a key may not set it either; add tools to client_may",
        ),
        ("server: 7\n", "server: expected a mapping"),
        ("server: {public_url: voice.example.com}\n", "server.public_url: expected an origin"),
        ("server: {public_url: 'https://a.example/path'}\n", "server.public_url: expected an origin"),
        (
            "server: {trusted_proxies: ['10.0.0.0/8', '10.1.2.3/8']}\n",
            "server.trusted_proxies[1]: is an address inside a network; write 10.0.0.0/8, or the address alone (line 1)",
        ),
        (
            "server: {trusted_proxies: [cloudflare]}\n",
            "server.trusted_proxies[0]: expected an address or a network such as 10.0.0.0/8 (line 1)",
        ),
        ("plugins: {folder: nowhere}\n", "plugins.folder: there is no folder"),
        (
            "adapters: {twilio: {rest: 'ftp://x'}}\n",
            "adapters.twilio: `rest` is no address of a REST interface",
        ),
        (
            "adapters: {twilio: {rest: 'https://'}}\n",
            "adapters.twilio: `rest` is no address of a REST interface",
        ),
        (
            "access: {keys: [{name: a, key: [x, x]},\n {name: b, key: [y, x]}]}\n",
            "access.keys[1].key: is access.keys[0].key too, and only the first one would count; give each its own (line 2)",
        ),
        (
            "access: {keys: [{name: a, key: 'sha256:1234'}]}\n",
            "access.keys[0].key: sha256: must be followed by 64 hexadecimal digits",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence(text: str, words: str) -> None:
    """Broken syntax, duplicate keys, odd keys and shapes are problems, never crashes."""
    assert any(words in problem for problem in problems(text))


# extends


def test_an_inherited_fallback_is_taken_away_by_an_empty_one() -> None:
    """An agent that extends another may have none, although that one has."""
    found = load(
        "agents:\n  a: {kind: offline, fallback: b}\n  b: {kind: offline}\n  c: {extends: a, fallback: ''}\n"
        "routes: [{name: r, agent: c}]\n"
    )
    assert {name: agent.fallback for name, agent in found.agents.items()} == {"a": "b", "b": "", "c": ""}


def test_extends_merges_mappings_and_replaces_lists() -> None:
    """An agent lays its keys over those of another, over several steps."""
    found = load(
        """\
agents:
  a: {kind: offline, session: {greeting: hello, output: {voice: x, speed: 1}}, tools: [hang_up], tries: 2}
  b: {extends: a, session: {output: {voice: y}}, tools: []}
  c: {extends: b, tries: 5}
routes: [{name: default, agent: c}]
"""
    )
    last = found.agents["c"]
    assert last.session == {"greeting": "hello", "output": {"voice": "y", "speed": 1}}
    assert (last.tools, last.tries, found.agents["a"].tries) == ((), 5, 2)


def test_a_circle_of_extends_is_one_problem() -> None:
    """The circle is shown once, and unknown agents are named."""
    found = problems(
        "agents:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: a}\n  d: {extends: e}\n"
        "routes: [{name: r, agent: a}]\n"
    )
    assert found == [
        "agents.c.extends: agents extend each other in a circle (a → b → c → a); break it (line 4)",
        "agents.d.extends: there is no agent 'e'; define it under agents, or use a, b, c (line 5)",
    ]


MANY = """\
server: {port: 70000, public_url: "http://voice.example.com/path", drain_s: -3}
regions:
  vpc: {voice_agent: "https://x", rest: "ftp://x"}
agents:
  a: {kind: voice_agent, region: mars, api_key: "${NO_SUCH_KEY}", turn_detection: slow, tools: [nosuch], fallback: ghost,
      session: {voice: x}}
  b: {extends: ghost2, kind: voice_agent, region: venus}
  c: {extends: d, kind: offline}
  d: {extends: c}
  e: {kind: banana, region: pluto, tries: 0}
  f: {kind: voice_agent, api_key: "", session: {voice: x}}
routes:
  - {name: one, agent: zz, match: {callee: [49]}, allow_regions: [pluto], dtmf: maybe, client_may: [nonsense]}
  - {name: one, agent: c}
  - {agent: a}
adapters:
  acme: {}
  twilio: {account_sid: 5, auth_token: [], require_token: perhaps, sekret: 1}
access:
  keys: [{name: x, key: "", may: [everything]}, {name: x, key: k, routes: [nope]}]
limits: {calls: 0, silence_s: forever}
store: {kind: redis}
plugins: {disabled: [ghost]}
"""
MANY_PLACES = """\
server.port server.drain_s server.public_url regions.vpc.voice_agent regions.vpc.rest
agents.a.api_key agents.a.turn_detection agents.a.region agents.a.fallback agents.a.tools[0] agents.a
agents.b.extends agents.b.region agents.d.extends agents.e.kind agents.e.region agents.e.tries agents.f
routes[0].match.callee[0] routes[0].dtmf routes[0].agent routes[0].client_may[0] routes[0].allow_regions[0]
routes[1].name routes[2].name
adapters.acme adapters.twilio.account_sid adapters.twilio.require_token adapters.twilio.sekret
access.keys[0].may[0] access.keys[0].key access.keys[1].key access.keys[1].name access.keys[1].routes[0]
limits.calls limits.silence_s store.kind plugins.disabled[0]
"""


@pytest.mark.parametrize("plugin", ["", "raise RuntimeError('no')\n"])
def test_one_kind_of_problem_does_not_hide_another(plugin: str) -> None:
    """Types, names, addresses, an agent's own check and plugins that are not there: all at once, none made up.

    A plugin that is broken hides only what it might have brought: kinds, adapters and tools.
    """
    if plugin:
        Path("plugins.d").mkdir()
        Path("plugins.d/broken.py").write_text(plugin, encoding="utf-8")
    found = problems(MANY)
    expected = MANY_PLACES.split()
    if plugin:
        assert found.pop().startswith("plugin 'broken' ")
        for place in ("agents.a.tools[0]", "agents.e.kind", "adapters.acme"):
            expected.remove(place)
    assert sorted(problem.partition(": ")[0] for problem in found) == sorted(expected)


def test_an_agents_own_check_says_all_that_it_can() -> None:
    """Beside a key that is not set its session is judged, and the empty key does not hide the session."""
    text = "agents: {{a: {{kind: voice_agent, api_key: {}, session: {{voice: x}}}}}}\nroutes: [{{name: r, agent: a}}]\n"
    refused = "agents.a: `session.voice` is refused by the provider"
    first, second = problems(text.format("'${NO_SUCH_KEY}'"))
    assert "NO_SUCH_KEY is not set" in first
    assert second.startswith(refused)
    first, second = sorted(problems(text.format("''")))
    assert first.startswith("agents.a.api_key: is empty, and calls of the route r come to this agent; set it")
    assert second.startswith(refused)


def test_an_agent_that_no_call_comes_to_may_wait_for_its_key() -> None:
    """Nobody needs a key to keep an agent in the file; one behind another agent is in use."""
    agents = "agents: {a: {kind: offline%s}, b: {kind: voice_agent, api_key: ''}}\n"
    assert load(agents % "" + ROUTE).agents["b"].api_key == ()  # type: ignore[attr-defined]
    (problem,) = problems(agents % ", fallback: b" + ROUTE)
    assert (
        problem == "agents.b.api_key: is empty, and calls of the route r come to this agent; set it (line 1)"
    )


def test_a_broken_field_is_not_blamed_on_another() -> None:
    """A check that would speak of a field which could not be read says nothing."""
    (problem,) = problems(
        "agents: {a: {kind: voice_agent, api_key: k, agent_id: 5, agent_audio: pcmu}}\n" + ROUTE
    )
    assert problem.startswith("agents.a.agent_id: expected text")


def test_what_an_unknown_agent_would_have_brought_is_not_missed() -> None:
    """Where ``extends`` leads nowhere, that alone is said."""
    (problem,) = problems("agents: {a: {extends: ghost, kind: voice_agent}, b: {extends: a}}\n" + ROUTE)
    assert problem == "agents.a.extends: there is no agent 'ghost'; define it under agents, or use b (line 1)"


def test_a_circle_of_extends_with_a_kind_is_one_problem() -> None:
    """Nothing is said of the key ``extends`` itself."""
    (problem,) = problems("agents:\n  a: {extends: b, kind: offline}\n  b: {extends: a}\n" + ROUTE)
    assert problem.startswith("agents.b.extends: agents extend each other in a circle (a → b → a)")


def test_names_that_nobody_has_come_with_what_there_is() -> None:
    """Agents are defined in the file, tools come from plugins, and naming routes drops the built-in agent."""
    both = "agents: {support: {kind: offline, tools: [zap]}, night: {kind: offline}}\n"
    assert problems(both + "routes: [{name: r, agent: zz}]\n") == [
        "agents.support.tools[0]: there is no tool 'zap'; a tool comes from a plugin; installed are: hang_up (line 1)",
        "routes[0].agent: there is no agent 'zz'; define it under agents, or use support, night (line 2)",
    ]
    (problem,) = problems("routes: [{name: r, agent: offline}]\n")
    assert problem == (
        "routes[0].agent: there is no agent 'offline'; a file that names routes has no built-in agent, "
        "so define it under agents (line 1)"
    )
    (problem,) = problems("plugins: {disabled: [observers.logg]}\n")
    assert problem.startswith(
        "plugins.disabled[0]: there is no plugin 'observers.logg'; did you mean observers.log?"
    )


def test_a_wrong_value_from_the_environment_names_the_variable_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is no number, no choice, no name or no address; what it holds is never told."""
    for name in ("MY_PORT", "MY_CHOICE", "MY_KIND", "MY_URL"):
        monkeypatch.setenv(name, "hush-hush")
    monkeypatch.setenv("MY_AGENT", "suport")
    found = problems(
        "server: {port: '${MY_PORT}', admin_port: '${NONE:-x}', public_url: '${MY_URL}'}\n"
        "agents: {support: {kind: offline, tool_results: '${MY_CHOICE}'}, b: {kind: '${MY_KIND}'}}\n"
        "routes: [{name: r, agent: '${MY_AGENT}'}]\n"
    )
    assert found == [
        "server.port: the value of MY_PORT is not a whole number from 0 to 65535; change it (line 1)",
        "server.admin_port: the default of NONE is not a whole number from 0 to 65535; change it (line 1)",
        f"server.public_url: {ORIGIN} (line 1, the value of MY_URL)",
        "agents.support.tool_results: the value of MY_CHOICE is not after_reply or immediate; change it (line 2)",
        f"agents.b.kind: the value of MY_KIND names no kind; {KINDS} (line 2)",
        "routes[0].agent: the value of MY_AGENT names no agent; did you mean support? (line 3)",
    ]


def test_a_variable_that_names_no_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did not type the file's name is told where it comes from."""
    monkeypatch.setenv("TALKPATH_CONFIG", "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"^nowhere\.yaml: cannot be read .*; TALKPATH_CONFIG names it"):
        load_settings()
    with pytest.raises(ConfigError, match=r"\); name another with --config$"):
        load_settings("given.yaml")


def test_ports_may_be_equal_on_two_addresses() -> None:
    """One number is no clash where each port has an address of its own, nor where both are picked."""
    assert load("server: {host: 127.0.0.2, port: 7000, admin_port: 7000}\n").server.port == 7000
    assert load("server: {port: 0, admin_port: 0}\n").server.port == 0
    assert problems("server: {host: 0.0.0.0, port: 7000, admin_port: 7000}\n")


def test_sections_without_content_count_as_left_out() -> None:
    """A section whose lines are all commented out changes nothing."""
    found = load("server:\nagents:\nroutes:\nadapters:\naccess:\n")
    assert (list(found.agents), list(found.adapters)) == (["offline"], ["pcm"])
