"""Tests of ``talkpath check`` and ``talkpath route-test`` as a person meets them."""

from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from gateway.cli.check import check
from gateway.cli.route_test import route_test

CONFIG = """\
agents:
  us: {kind: voice_agent, api_key: hush-hush, fallback: sorry}
  eu: {extends: us, region: eu}
  sorry: {kind: offline, script: apology}
routes:
  - {name: europe, match: {callee: ["+33*"]}, agent: eu}
  - {name: phone, match: {adapter: [twilio]}, agent: us}
adapters: {twilio: {auth_token: hush-hush}, pcm: {}}
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)
    Path("gateway.yaml").write_text(CONFIG, encoding="utf-8")


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("check")(check)
    app.command("route-test")(route_test)
    return CliRunner().invoke(app, arguments)


def test_check_prints_the_routes_as_a_table() -> None:
    """Exit 0; who is tried first, where it lives, and who comes then; no secrets."""
    ran = run("check")
    assert ran.exit_code == 0
    assert "Configuration: gateway.yaml" in ran.stdout
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in ran.stdout.splitlines() if "│" in line
    ]
    assert rows == [
        ["europe", "callee +33*", "eu", "eu", "sorry (this machine)"],
        ["phone", "adapter twilio", "us", "us", "sorry (this machine)"],
    ]
    assert "hush" not in ran.output


def test_check_answers_programs_in_json() -> None:
    """One document and nothing else."""
    document = msgspec.json.decode(run("check", "--json").stdout)
    assert document["ok"] is True
    assert [route["agents"][0]["name"] for route in document["routes"]] == ["eu", "us"]
    assert document["adapters"] == ["twilio", "pcm"]


def test_check_prints_every_problem_and_leaves_with_2() -> None:
    """To standard error, one line each; in JSON as a list."""
    Path("bad.yaml").write_text("server: {port: x}\nagent: {}\n", encoding="utf-8")
    ran = run("check", "--config", "bad.yaml")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        "talkpath check: bad.yaml has 2 problems",
        "server.port: expected a whole number from 0 to 65535, got text (line 1)",
        "agent: unknown section; did you mean agents? (line 2)",
    ]
    ran = run("check", "--config", "bad.yaml", "--json")
    assert ran.exit_code == 2
    document = msgspec.json.decode(ran.stdout)
    assert (document["source"], len(document["problems"])) == ("bad.yaml", 2)


@pytest.mark.parametrize("command", [["check"], ["route-test", "--adapter", "pcm"]])
def test_the_file_of_a_problem_is_named_wherever_it_comes_from(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when only a variable names it."""
    Path("bad.yaml").write_text("server: {port: x}\n", encoding="utf-8")
    monkeypatch.setenv("TALKPATH_CONFIG", "bad.yaml")
    ran = run(*command)
    assert ran.exit_code == 2
    assert ran.stderr.splitlines()[0] == f"talkpath {command[0]}: bad.yaml has 1 problem"


def test_check_lists_ones_own_plugins_apart() -> None:
    """Those that come with Talkpath have a line of their own, and a list of their own in JSON."""
    Path("plugins.d").mkdir()
    Path("plugins.d/mine.py").write_text(
        "from gateway.hookspecs import hookimpl\n\n\n@hookimpl\ndef register_tools():\n    return []\n",
        encoding="utf-8",
    )
    lines = run("check").stdout.splitlines()
    assert "Plugins: mine" in lines
    (built_in,) = [line for line in lines if line.startswith("Built-in plugins: ")]
    assert "adapters.pcm, " in built_in
    assert "mine" not in built_in
    document = msgspec.json.decode(run("check", "--json").stdout)
    assert document["plugins"] == ["mine"]
    assert "runtime.house_tools" in document["built_in_plugins"]


def test_check_tells_notes_and_that_hearing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is a problem; both are in the JSON too."""
    monkeypatch.setattr("gateway.runtime.hearing.available", lambda: False)
    Path("gateway.yaml").write_text(CONFIG + "recording: {enabled: true}\n", encoding="utf-8")
    ran = run("check")
    assert ran.exit_code == 0
    assert "Note: recording.enabled: " in ran.stdout
    assert "Note: The offline agent plays clips and takes digits only" in ran.stdout
    assert len(msgspec.json.decode(run("check", "--json").stdout)["notes"]) == 2


def test_check_of_a_missing_file_leaves_with_2() -> None:
    """The sentence names the file."""
    ran = run("check", "--config", "nowhere.yaml")
    assert ran.exit_code == 2
    assert ran.stderr.splitlines()[1].startswith("nowhere.yaml: cannot be read")


def test_route_test_says_where_a_call_goes_and_why() -> None:
    """Route, agent, region, fallbacks and the reason."""
    ran = run("route-test", "--adapter", "twilio", "--caller", "+15550100", "--callee", "+33123")
    assert ran.exit_code == 0
    assert dict(line.strip().split(maxsplit=1) for line in ran.stdout.splitlines()) == {
        "route": "europe",
        "agent": "eu",
        "region": "eu",
        "then": "sorry",
        "regions": "eu",
        "why": "the callee +33123 matches +33*",
    }
    document = msgspec.json.decode(run("route-test", "--adapter", "twilio", "--json").stdout)
    assert (document["route"], document["region"], document["then"]) == ("phone", "us", ["sorry"])


CONDITIONS = """\
agents: {open: {kind: offline}, closed: {kind: offline, script: apology}}
routes:
  - {name: office, agent: open, match: {key: [web], claims: {plan: gold}, parameters: {ToCountry: FR},
     time: {zone: Europe/Paris, days: [mon..fri], from: "08:00", to: "18:00"}}}
access: {keys: [{name: web, key: a-key-that-is-long-enough-for-anybody-1}]}
"""


def test_route_test_takes_all_that_a_route_may_ask_for() -> None:
    """Key, claims, parameters and the moment; what does not fit is told with its reason."""
    Path("conditions.yaml").write_text(CONDITIONS, encoding="utf-8")
    given = ["--adapter", "pcm", "--config", "conditions.yaml", "--key", "web"]
    given += ["--claim", "plan=gold", "--parameter", "ToCountry=FR", "--at"]
    ran = run("route-test", *given, "2026-11-20T09:30+01:00", "--json")
    assert msgspec.json.decode(ran.stdout)["why"] == (
        "the key web matches web and the parameter ToCountry FR matches FR and the claim plan gold matches gold and "
        "fri 09:30 is within mon..fri 08:00-18:00 Europe/Paris"
    )
    ran = run("route-test", *given, "2026-11-21T09:30")
    assert ran.exit_code == 1
    assert "office: sat 10:30 is not within mon..fri 08:00-18:00 Europe/Paris" in ran.stderr


PARTNERS = """\
agents: {open: {kind: offline}}
routes:
  - {name: vip, agent: open, match: {key: ["partner*"]}}
  - {name: france, agent: open, match: {callee: ["+33*"]}}
  - {name: rest, agent: open}
access: {keys: [{name: partner-a, key: a-key-that-is-long-enough-for-anybody-1, routes: [rest]}]}
adapters: {pcm: {}, vonage: {signature_secret: hush-hush-hush-hush-hush-hush-hush-hush}}
"""


def test_route_test_reads_numbers_and_keys_as_calls_do() -> None:
    """Vonage writes numbers without a plus, and a key that is limited to routes gets none of the others."""
    Path("partners.yaml").write_text(PARTNERS, encoding="utf-8")
    for given, route in (
        (["vonage", "--callee", "33123456789"], "france"),
        (["pcm", "--key", "partner-a"], "rest"),
        (["pcm", "--callee", "33123456789"], "rest"),
    ):
        ran = run("route-test", "--config", "partners.yaml", "--json", "--adapter", *given)
        assert msgspec.json.decode(ran.stdout)["route"] == route
    ran = run("route-test", "--config", "partners.yaml", "--adapter", "pcm", "--key", "nobody")
    assert ran.exit_code == 2
    assert "there is no key nobody; keys are: partner-a" in ran.stderr


def test_check_shows_which_names_of_keys_a_route_takes() -> None:
    """The name of a key is no secret, though it stands under `key`."""
    Path("partners.yaml").write_text(PARTNERS, encoding="utf-8")
    assert "key partner*" in run("check", "--config", "partners.yaml").stdout


def test_rows_are_not_broken_where_no_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever searches the output finds a long name whole."""
    monkeypatch.delenv("COLUMNS")
    name = "a-route-for-" + "very-" * 40 + "special-calls"
    Path("long.yaml").write_text(
        f"agents: {{a: {{kind: offline}}}}\nroutes: [{{name: {name}, agent: a}}]\n", encoding="utf-8"
    )
    assert name in run("check", "--config", "long.yaml").stdout


def test_characters_that_yaml_has_not_are_a_sentence() -> None:
    """An escape character in the file ends in no traceback."""
    Path("odd.yaml").write_text('server: {host: "\033[31mred"}\n', encoding="utf-8")
    ran = run("check", "--config", "odd.yaml")
    assert ran.exit_code == 2
    assert "this is not YAML: it holds characters or nesting that cannot be read" in ran.stderr


def test_an_origin_without_a_scheme_is_refused() -> None:
    """No page could ever match it."""
    Path("origin.yaml").write_text(
        'adapters: {browser: {origins: ["https://www.example.com", "www.example.com"]}}\n', encoding="utf-8"
    )
    ran = run("check", "--config", "origin.yaml")
    assert ran.exit_code == 2
    assert "adapters.browser.origins[1]: expected an origin as browsers name it" in ran.stderr


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--at", "noon"], "--at noon: expected a moment such as 2026-11-21T09:30+01:00"),
        (["--claim", "gold"], "--claim gold: expected NAME=VALUE"),
        (["--parameter", "=FR"], "--parameter =FR: expected NAME=VALUE"),
    ],
)
def test_route_test_refuses_what_it_cannot_read(option: list[str], sentence: str) -> None:
    """Exit 2 and one sentence."""
    ran = run("route-test", "--adapter", "pcm", *option)
    assert (ran.exit_code, ran.stderr.strip()) == (2, f"talkpath route-test: {sentence}")


def test_route_test_refuses_in_json_too() -> None:
    """Whatever it cannot do is one document on standard output, with the problems of `check`."""
    Path("bad.yaml").write_text("server: {port: x}\nagent: {}\n", encoding="utf-8")
    ran = run("route-test", "--adapter", "pcm", "--config", "bad.yaml", "--json")
    assert (ran.exit_code, ran.stderr) == (2, "")
    document = msgspec.json.decode(ran.stdout)
    assert (document["ok"], document["source"], len(document["problems"])) == (False, "bad.yaml", 2)
    ran = run("route-test", "--adapter", "vonage", "--json")
    assert ran.exit_code == 2
    (problem,) = msgspec.json.decode(ran.stdout)["problems"]
    assert problem.startswith("the adapter vonage is not configured")


def test_route_test_of_a_call_that_nobody_takes_leaves_with_1() -> None:
    """Each route says why not."""
    ran = run("route-test", "--adapter", "pcm")
    assert ran.exit_code == 1
    assert "europe: the callee (unknown) is none of +33*" in ran.stderr
    assert "phone: the adapter pcm is none of twilio" in ran.stderr


def test_route_test_of_an_adapter_that_is_not_configured_leaves_with_2() -> None:
    """The sentence names those that are."""
    ran = run("route-test", "--adapter", "vonage")
    assert ran.exit_code == 2
    assert "adapters are: twilio, pcm" in ran.stderr


@pytest.mark.parametrize("command", ["check", "route-test"])
def test_help_has_an_example(command: str) -> None:
    """As every command's help does."""
    ran = run(command, "--help")
    assert ran.exit_code == 0
    assert f"Example: talkpath {command}" in ran.stdout
