"""Tests of reading the configuration: where it comes from, what is filled in, and what is found beside it."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError, PluginError
from gateway.runtime.config import development_secret, load_generation, load_settings
from gateway.settings import Secret, Settings

REPOSITORY = Path(__file__).parents[2]

AGENTS = """\
agents:
  main: {kind: offline}
routes:
  - {name: default, agent: main}
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)


def load(text: str, name: str = "gateway.yaml") -> Settings:
    Path(name).write_text(text, encoding="utf-8")
    return load_settings(name)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(text)
    return list(refused.value.problems)


# Where it comes from


def test_without_configuration_the_offline_agent_answers_on_this_machine_alone() -> None:
    """Built-in defaults: one offline agent, keys as text, all dialects, 127.0.0.1, a secret of this machine."""
    found = load_settings()
    assert found.server.host == "127.0.0.1"
    assert {name: agent.kind for name, agent in found.agents.items()} == {"offline": "offline"}
    assert found.agents["offline"].tools == ("hang_up",)
    assert [(route.name, route.agent, route.dtmf) for route in found.routes] == [
        ("default", "offline", "text")
    ]
    assert list(found.adapters) == ["twilio", "vonage", "pcm", "browser"]
    (token,) = found.adapters["twilio"].auth_token  # type: ignore[attr-defined]
    assert len(token.reveal()) == 64


def test_the_argument_wins_over_the_environment_and_that_over_the_working_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Order: argument, $TALKPATH_CONFIG, ./gateway.yaml."""
    for port, name in ((1001, "gateway.yaml"), (1002, "named.yaml"), (1003, "given.yaml")):
        Path(name).write_text(f"server: {{port: {port}}}\n{AGENTS}", encoding="utf-8")
    assert load_settings().server.port == 1001
    monkeypatch.setenv("TALKPATH_CONFIG", "named.yaml")
    assert load_settings().server.port == 1002
    assert load_settings("given.yaml").server.port == 1003


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b" " * 4_200_000, "larger than"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(content: bytes | None, words: str) -> None:
    """A missing, binary or endless file is refused in one sentence that names it."""
    if content is not None:
        Path("some.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load_settings("some.yaml")
    (problem,) = refused.value.problems
    assert problem.startswith("some.yaml: ")
    assert words in problem


def test_a_file_keeps_the_built_in_agent_and_route_when_it_names_neither() -> None:
    """A file about the server alone changes only the server; no secret stands in for the carriers' then."""
    found = load("server: {port: 0}\n")
    assert (found.server.port, list(found.agents), list(found.adapters)) == (0, ["offline"], ["pcm"])


def test_the_configuration_of_the_repository_loads_without_any_variable() -> None:
    """gateway.yaml at the root is complete and works as it is."""
    found = load_settings(REPOSITORY / "gateway.yaml")
    assert [route.agent for route in found.routes] == ["offline", "offline"]
    assert found.agents["support-eu"].region == "eu"
    assert found.agents["support-eu"].session == found.agents["support"].session
    assert found.adapters["twilio"].auth_token == (Secret(development_secret()),)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("variable", "agent"), [("TALKPATH_AGENT", "support"), ("TALKPATH_AGENT_EU", "support-eu")]
)
def test_the_configuration_of_the_repository_asks_for_the_key_of_an_agent_in_use(
    variable: str, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever chooses the agent and forgets its key is told so, and with the key all is well."""
    monkeypatch.setenv(variable, agent)
    with pytest.raises(ConfigError) as refused:
        load_settings(REPOSITORY / "gateway.yaml")
    (problem,) = refused.value.problems
    assert problem.startswith(f"agents.{agent}.api_key: is empty, and calls of the route ")
    assert "ASSEMBLYAI_API_KEY" in problem
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "k")
    assert load_settings(REPOSITORY / "gateway.yaml").agents[agent].api_key == (Secret("k"),)  # type: ignore[attr-defined]


# The environment


def test_variables_are_filled_in_and_may_stand_for_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """${NAME}, ${NAME:-default} and $${ in texts; a number or truth where one is meant."""
    monkeypatch.setenv("PORT", "9001")
    monkeypatch.setenv("EMPTY", "")
    found = load(
        "server: {port: '${PORT}', admin_port: '${NONE:-9002}', playground: '${NONE:-false}', host: '${EMPTY:-::1}'}\n"
        "agents: {main: {kind: offline, session: {greeting: 'a ${PORT} b $${PORT} c ${EMPTY}'}}}\n"
        "routes: [{name: default, agent: main}]\n"
    )
    server = found.server
    assert (server.port, server.admin_port, server.playground, server.host) == (9001, 9002, False, "::1")
    assert found.agents["main"].session == {"greeting": "a 9001 b ${PORT} c "}


def test_an_unset_variable_names_place_variable_and_line() -> None:
    """What is missing is said once, also where the agent is extended."""
    text = (
        "agents:\n  a: {kind: voice_agent,\n    api_key: '${NO_SUCH_KEY}'}\n  b: {extends: a, region: eu}\n"
        "routes: [{name: default, agent: b}]\n"
    )
    (problem,) = problems(text)
    assert problem == (
        "agents.a.api_key: the environment variable NO_SUCH_KEY is not set; "
        "set it, or write ${NO_SUCH_KEY:-default} (line 3)"
    )


def test_a_variable_without_a_name_is_a_problem() -> None:
    """A ${ that begins nothing is not passed through."""
    (problem,) = problems(f"server: {{host: 'a ${{}} b'}}\n{AGENTS}")
    assert problem.startswith("server.host: ${ must be followed by a name")


# Secrets


def test_secrets_are_one_text_or_several_and_never_print() -> None:
    """One value or a list; an empty one is none, because it would match an empty proof."""
    tail = f"\nserver: {{public_url: https://voice.example.com}}\n{AGENTS}"
    for text, count in (("hush1", 1), ("[hush1, hush2]", 2), ("''", 0), ("[hush1, '']", 1)):
        found = load(f"adapters: {{twilio: {{auth_token: {text}}}}}{tail}")
        token = found.adapters["twilio"].auth_token  # type: ignore[attr-defined]
        assert len(token) == count
        assert all(isinstance(one, Secret) for one in token)
        assert "hush" not in repr(found)


def test_development_secret_stands_in_on_this_machine_only() -> None:
    """A carrier secret that nobody has set is the user's own while no one else can reach the gateway."""
    secret = (Secret(development_secret()),)
    for server, expected in (
        ("{}", secret),
        ("{host: '::1'}", secret),
        ("{host: 0.0.0.0}", ()),
        ("{public_url: https://voice.example.com}", ()),
    ):
        found = load(f"server: {server}\nadapters: {{twilio: {{}}}}\n{AGENTS}")
        assert found.adapters["twilio"].auth_token == expected  # type: ignore[attr-defined]


def test_development_secret_does_not_stand_in_when_the_command_line_opens_the_gateway(tmp_path: Path) -> None:
    """What counts is where the gateway really listens."""
    file = tmp_path / "gateway.yaml"
    file.write_text(f"adapters: {{twilio: {{}}}}\n{AGENTS}", encoding="utf-8")
    opened = load_generation(file, server={"host": "0.0.0.0", "port": 0}).settings
    assert (opened.server.host, opened.server.port) == ("0.0.0.0", 0)
    assert opened.adapters["twilio"].auth_token == ()  # type: ignore[attr-defined]


def test_problems_never_hold_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what stands in a secret's place nor what came from the environment is quoted."""
    monkeypatch.setenv("HIDDEN", "hush-hush")
    found = problems(
        "server: {port: '${HIDDEN}'}\n"
        "agents: {main: {kind: '${HIDDEN}'}, b: {kind: offline, region: '${HIDDEN}', tool_results: '${HIDDEN}'}}\n"
        "routes: [{name: default, agent: '${HIDDEN}', match: {adapter: ['${HIDDEN}'], caller: ['${HIDDEN}*x']}}]\n"
        "adapters: {twilio: {auth_token: {hush-hush: 1}}, pcm: {}}\n"
        "access: {keys: [{name: a, key: 12345678}]}\n"
    )
    assert len(found) == 9
    assert "hush" not in "\n".join(found)
    assert "12345678" not in "\n".join(found)


def test_an_empty_key_is_refused() -> None:
    """A gateway key whose variable is empty would let everybody in."""
    (problem,) = problems(f"access: {{keys: [{{name: a, key: '${{NONE:-}}'}}]}}\n{AGENTS}")
    assert problem.startswith("access.keys[0].key: is empty")


# Any file at all


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_file_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever a file holds, the loader answers with settings or with problems."""
    names = [
        "server",
        "agents",
        "routes",
        "adapters",
        "access",
        "keys",
        "kind",
        "offline",
        "name",
        "agent",
        "port",
    ]
    words = st.sampled_from(
        [*names, "extends", "${X}", "*", "voice_agent", "twilio", "match", "regions", "limits"]
    )
    leaves = words | st.integers(-1, 99_999) | st.none() | st.booleans() | st.floats() | st.text(max_size=4)
    value = data.draw(
        st.recursive(
            leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4)
        )
    )
    try:
        load(yaml.safe_dump(value))
    except ConfigError as error:
        reported = error.problems
    else:
        reported = ("none",)
    assert reported


# Residency and paths

RESIDENT = """\
agents:
  here: {{kind: voice_agent, api_key: k, region: eu, fallback: local}}
  local: {{kind: offline, fallback: there}}
  there: {{kind: voice_agent, api_key: k, region: us}}
routes:
  - {{name: r, agent: here, allow_regions: [{}]}}
"""


def test_failing_over_to_another_region_must_be_allowed_by_name() -> None:
    """A remote fallback elsewhere is refused with its reason; one in this process has no region."""
    (problem,) = problems(RESIDENT.format(""))
    assert problem == (
        "routes[0].agent: its fallback there is in region us, so calls would leave eu; "
        "add us to allow_regions of this route, or choose another fallback (line 6)"
    )
    assert load(RESIDENT.format("us")).routes[0].allow_regions == ("us",)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Clips and the plugins' folder are found beside the file, wherever the command runs."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "not.wav").write_bytes(b"RIFF")
    (folder / "gateway.yaml").write_text(
        "agents: {a: {kind: offline, clips: {hold: not.wav}}}\nroutes: [{name: r, agent: a}]\n"
    )
    with pytest.raises(ConfigError, match="not a WAV file"):
        load_settings(folder / "gateway.yaml")
    (folder / "gateway.yaml").write_text(AGENTS)
    assert load_settings(folder / "gateway.yaml").plugins.folder == str(folder / "plugins.d")


def test_a_script_must_be_there_and_sound(tmp_path: Path) -> None:
    """A shipped one by name, or a file beside the configuration."""
    text = "agents: {{a: {{kind: offline, script: {}}}}}\nroutes: [{{name: r, agent: a}}]\n"
    agent = load(text.format("apology")).agents["a"]
    assert (agent.script, agent.tools) == ("apology", ("hang_up",))  # type: ignore[attr-defined]
    (problem,) = problems(text.format("apologyy"))
    assert problem.startswith("agents.a.script: script 'apologyy': no such file")
    Path("own.yaml").write_text("greeting: [unfinished", encoding="utf-8")
    (problem,) = problems(text.format("own.yaml"))
    source = f"script '{tmp_path / 'own.yaml'}'"
    assert problem.startswith(f"agents.a.script: {source}, line 1: this is not YAML")
    Path("own.yaml").write_text("", encoding="utf-8")
    (problem,) = problems(text.format("own.yaml"))
    assert problem.startswith(f"agents.a.script: {source}: is empty; ")


def test_every_problem_of_a_script_has_its_line(tmp_path: Path) -> None:
    """One that is of the wrong shape hides none of the others, and its dollars are no variables."""
    Path("own.yaml").write_text(
        """\
greetin: hello
intents:
  - {name: a, phrases: [go (x, fine], shout: 1}
  - 7
  - {name: a, phrases: ["{n:nolist}"], say: "${n} please"}
  - {name: c, hang_up: perhaps}
digits:
  keys: {"12": {say: 5}}
""",
        encoding="utf-8",
    )
    found = problems("agents: {a: {kind: offline, script: own.yaml}}\nroutes: [{name: r, agent: a}]\n")
    before = f"agents.a.script: script '{tmp_path / 'own.yaml'}', "
    assert all(problem.startswith(before) for problem in found)
    assert [problem.removeprefix(before).partition(": ")[2].partition(": ")[0] for problem in found] == [
        "greetin",
        "intents[0].shout",
        "intents[0].phrases[0]",
        "intents[1]",
        "intents[2].name",
        "intents[2].phrases[0]",
        "intents[3].hang_up",
        "intents[3].phrases",
        "digits.keys.12.say",
        "digits.keys.12",
    ]
    assert [problem.removeprefix(before).partition(":")[0] for problem in found[:3]] == [
        "line 1",
        "line 3",
        "line 3",
    ]


def test_a_broken_plugin_is_told_beside_the_problems_of_the_file() -> None:
    """Alone it is a PluginError, with problems of the file it is one of them."""
    Path("plugins.d").mkdir()
    Path("plugins.d/broken.py").write_text("raise RuntimeError('no')\n")
    with pytest.raises(PluginError, match=r"plugin 'broken' .*RuntimeError: no"):
        load(AGENTS)
    found = problems(f"server: {{port: x}}\n{AGENTS}")
    assert len(found) == 2
    assert "plugin 'broken'" in found[1]


def test_what_a_plugin_refuses_of_the_configuration_is_a_problem_with_its_place() -> None:
    """It has a line like any other, and hides none of them; a section that the file lacks has no line."""
    records = "records: {path: kept, form: full}\n"
    (problem,) = problems(AGENTS + records)
    assert problem.startswith("records.form: `full` keeps every word")
    assert problem.endswith(f"(line {AGENTS.count(chr(10)) + 1})")
    found = problems(f"{AGENTS}{records}limits: {{calls: 0}}\n")
    assert [text.partition(":")[0] for text in found] == ["records.form", "limits.calls"]
    Path("plugins.d").mkdir()
    Path("plugins.d/strict.py").write_text(
        "from gateway import hookimpl\nfrom gateway.errors import ConfigError\n"
        "@hookimpl\ndef register_tools():\n    raise ConfigError('somewhere: no', 'store.url: is empty')\n"
    )
    assert problems(AGENTS) == ["somewhere: no", "store.url: is empty"]


def test_a_generation_tells_where_it_came_from() -> None:
    """Source, number and plugins are kept for people."""
    Path("gateway.yaml").write_text(AGENTS, encoding="utf-8")
    generation = load_generation(number=3)
    assert (generation.number, generation.source) == (3, "gateway.yaml")
    assert "runtime.house_tools" in generation.plugins
