"""The documentation is true: its links lead somewhere, its configurations load, its code runs, its commands exist."""

import asyncio
import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
import yaml
from pages import CHANGES, ENVIRONMENT, PAGES, ROOT, Block, blocks, load, named, prose
from speech import hearing_needed
from vonage_tokens import application_key, pem_of

from gateway import cli
from gateway.agents.offline import load_script
from gateway.audio import AUDIBLE_DBFS, PCM_16K, level_dbfs, read_wav
from gateway.commands import Clear, Play, RunTool
from gateway.contracts import Upgrade
from gateway.errors import WireError
from gateway.events import CallInfo, EndingAsked, NoteAsked, ReplyAsked, wire_name
from gateway.observers import log as call_log
from gateway.runtime.config import load_generation, load_settings
from gateway.runtime.house import LiveCall
from gateway.runtime.inbox import Inbox
from gateway.runtime.toolbox import Toolbox
from gateway.server.listening import serving
from gateway.settings import Settings

GENERATOR = load(ROOT / "docs" / "reference" / "generate.py")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and every anchor a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose(file), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_rows_stand_in_a_table(page: Path) -> None:
    """Lines that look like rows follow a head and its rule without a gap; others are shown as they are typed."""
    for table in re.findall(r"(?:^ *\|.*\n?)+", prose(page), re.MULTILINE):
        rows = table.splitlines()
        assert len(rows) > 1, rows[0]
        assert re.fullmatch(r" *\|(?: *:?-{3,}:? *\|)+ *", rows[1]), rows[0]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the pages' configurations read, and a folder for the development secret."""
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, f"the-{name.lower()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_configurations_and_scripts_in_the_pages_load(block: Block, tmp_path: Path) -> None:
    """A reader can copy any configuration, or script of the offline agent, out of the pages."""
    if block.kind == "yaml script":
        assert load_script(yaml.safe_load(block.text)).grammar
        return
    shutil.copytree(ROOT / "examples" / "plugins.d", tmp_path / "plugins.d")
    (tmp_path / "vonage.pem").write_text(pem_of(application_key()))
    file = tmp_path / "gateway.yaml"
    file.write_text(block.text)
    assert load_settings(file).routes


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("page", ["twilio", "vonage"])
def test_carriers_configurations_trust_the_proxy_of_the_page(page: str, tmp_path: Path) -> None:
    """Whoever copies the proxy's snippet and the configuration knows who came: one says it, the other believes it."""
    (tmp_path / "vonage.pem").write_text(pem_of(application_key()))
    found = re.findall(r"```yaml\n(server:.*?)```", (ROOT / f"docs/howto/{page}.md").read_text(), re.DOTALL)
    (tmp_path / "gateway.yaml").write_text(found[0])
    assert load_settings(tmp_path / "gateway.yaml").server.trusted_proxies == ("127.0.0.1",)
    snippet = (ROOT / "docs/howto/twilio.md").read_text().partition("```nginx")[2].partition("```")[0]
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in snippet


@pytest.mark.usefixtures("environment")
def test_the_configuration_at_the_root_leads_to_the_provider_as_the_readme_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the variables of the README, calls to France go to the EU agent and others to the US one."""
    readme = (ROOT / "README.md").read_text()
    given = re.findall(r"\b(TALKPATH_\w+)=([a-z][\w.:/-]*)", readme)
    assert dict(given).keys() == {"TALKPATH_AGENT", "TALKPATH_AGENT_EU", "TALKPATH_PUBLIC_URL"}
    for name, value in given:
        monkeypatch.setenv(name, value)
    settings = load_settings(ROOT / "gateway.yaml")
    assert [route.agent for route in settings.routes] == ["support-eu", "support"]
    assert settings.server.public_url == "https://voice.example.com"


@pytest.mark.parametrize("block", [b for b in blocks("python", "toml") if "file=" in b.kind], ids=str)
def test_quoted_files_are_quoted_as_they_are(block: Block) -> None:
    """A block that names a file of the repository holds that file, word for word."""
    assert block.text == (ROOT / block.kind.partition("file=")[2]).read_text()


@pytest.mark.parametrize(
    "block", [b for b in blocks("python") if b.kind.split()[1:] == ["runnable"]], ids=str
)
def test_code_in_the_pages_runs(block: Block) -> None:
    """Code that is marked as runnable runs."""
    exec(compile(block.text, str(block), "exec"), {"__name__": "example"})  # noqa: S102 - our own pages


def test_python_in_the_pages_is_never_unchecked() -> None:
    """Every block of Python is either a file of the repository or runs."""
    unchecked = [b for b in blocks("python") if b.kind.split()[1:] != ["runnable"] and "file=" not in b.kind]
    assert not unchecked


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every ``talkpath …`` that a reader is told to type, with its page."""
    for block in blocks("sh", "console"):
        for line in block.text.replace("\\\n", " ").splitlines():
            typed = line.removeprefix("$ ") if block.kind == "console" else line
            if block.kind == "console" and typed == line:
                continue  # output
            for part in re.split(r"&&|\||;", typed):
                words = shlex.split(part, comments=True)
                if words[:1] == ["talkpath"] or words[:3] == ["python", "-m", "gateway"]:
                    yield named(block.page), words[1:] if words[0] == "talkpath" else words[3:]


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    app = typer.Typer()
    for name, module_name in cli.COMMANDS.items():
        module = importlib.import_module(f"gateway.cli.{module_name}")
        app.command(name, cls=getattr(module, "COMMAND_CLASS", None))(getattr(module, module_name))
    found: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    return found


@pytest.mark.parametrize(("page", "words"), list(command_lines()), ids=lambda value: str(value)[:60])
def test_commands_in_the_pages_exist(page: str, words: list[str], commands: dict[str, Any]) -> None:
    """Every command line in the pages names a command and options that there are, with values that fit."""
    assert words[0] in commands, page
    commands[words[0]].make_context(words[0], words[1:])


def test_make_targets_in_the_pages_exist() -> None:
    """Every ``make …`` in the pages is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {word for b in blocks("sh") for word in re.findall(r"^make ([a-z]+)", b.text, re.MULTILINE)}
    told |= {word for page in PAGES for word in re.findall(r"`make ([a-z]+)`", prose(page))}
    assert told
    assert told <= targets


@pytest.mark.parametrize("page", list(GENERATOR.pages()), ids=named)
def test_tables_of_the_reference_are_in_step_with_the_source(page: Path) -> None:
    """Options, errors, events, commands and facts are listed as they are; mend with docs/reference/generate.py."""
    assert GENERATOR.refreshed(page.read_text()) == page.read_text()


def test_every_command_has_a_section_and_its_options() -> None:
    """The page of commands has a section with the options of each command."""
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    for name in cli.COMMANDS:
        assert f"## `talkpath {name}`" in page
        assert f"<!-- from the source: options of {name} -->" in page


def test_every_line_of_the_log_is_explained() -> None:
    """Every event, reason of an end and reason of a refusal that the log may hold stands in the page of the log."""
    page = (ROOT / "docs" / "reference" / "log.md").read_text()
    source = Path(call_log.__file__).read_text()
    events = re.findall(r'"([a-z]+\.[a-z]+)"', source)
    ends = re.findall(
        r"``([a-z_]+)``", (ROOT / "gateway/events.py").read_text().partition("class CallEnded")[2]
    )
    written = re.compile(r'(?:log_line|Refusal|Busy|_turn_down)\((?:request, )?\s*"(\w+)"')
    lines = [
        word for path in (ROOT / "gateway/server").glob("*.py") for word in written.findall(path.read_text())
    ]
    assert {"socket", "key_unknown", "route", "token_orphaned"} <= set(lines)
    for word in {*events, *ends[:9], *lines}:
        assert f"`{word}`" in page, word


def test_keys_of_the_configuration_are_named_as_they_are() -> None:
    """Every ``section.key`` in the pages is a key of the configuration."""
    sections = {
        field.name: set(field.type.__struct_fields__)
        for field in msgspec.structs.fields(Settings)
        if hasattr(field.type, "__struct_fields__")
    }
    told = re.compile(rf"`({'|'.join(sections)})\.([a-z_]+)`")
    found = [(page, *names) for page in PAGES for names in told.findall(prose(page))]
    assert found
    sections["plugins"].add("d")  # the folder plugins.d
    assert not [(named(page), name, key) for page, name, key in found if key not in sections[name]]


@pytest.mark.parametrize("path", CHANGES, ids=named)
def test_changes_are_one_sentence_each(path: Path) -> None:
    """A change is named by its kind and told in one sentence."""
    assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md", path.name)
    text = path.read_text()
    assert text.endswith(".\n")
    assert len(text.splitlines()) == 1


def test_the_readme_can_be_read_in_one_go() -> None:
    """The first page stays under 150 lines."""
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


@pytest.mark.usefixtures("environment")
def test_a_package_with_an_entry_point_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The example package registers its tool once it is installed; its metadata stand in for the installation."""
    package = ROOT / "examples" / "package"
    installed = tmp_path / "talkpath_callback-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: talkpath-callback\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text("[talkpath]\ncallback = talkpath_callback\n")
    assert (
        'entry-points.talkpath]\ncallback = "talkpath_callback"' in (package / "pyproject.toml").read_text()
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(package))
    file = tmp_path / "gateway.yaml"
    file.write_text("agents: {a: {kind: offline, tools: [call_back]}}\nroutes: [{name: all, agent: a}]\n")
    generation = load_generation(file)
    assert "callback" in generation.plugins
    assert generation.parts.tools["call_back"].schema()["required"] == ["hour"]


async def test_the_example_tool_answers_and_explains_itself() -> None:
    """The tool of the README finds an order, and tells the agent what to do about one that it does not know."""
    tool = load(ROOT / "examples" / "plugins.d" / "track_order.py").register_tools()[0]
    handle = LiveCall(CallInfo("call_1", "pcm", PCM_16K), Inbox(64))
    toolbox = Toolbox()
    try:
        found = await toolbox.run(tool, RunTool("t1", "track_order", '{"order_id": 101}'), handle)
        unknown = await toolbox.run(tool, RunTool("t2", "track_order", '{"order_id": 7}'), handle)
    finally:
        await toolbox.close()
    assert msgspec.json.decode(found.result) == {"order_id": 101, "status": "out for delivery"}
    assert unknown.failed
    assert "there is no order 7; ask the caller" in unknown.result


async def test_the_example_package_ends_the_call_with_a_goodbye() -> None:
    """The tool with a handle leaves its note, asks for the words and then for the end, in this order."""
    tool = load(ROOT / "examples" / "package" / "talkpath_callback.py").register_tools()[0]
    inbox = Inbox(64)
    handle = LiveCall(CallInfo("call_1", "pcm", PCM_16K, caller="+14155550123"), inbox)
    toolbox = Toolbox()
    try:
        done = await toolbox.run(tool, RunTool("t1", "call_back", '{"hour": 9}'), handle)
        late = await toolbox.run(tool, RunTool("t2", "call_back", '{"hour": 22}'), handle)
        wishes = [await inbox.get() for _ in range(3)]
    finally:
        await toolbox.close()
    assert done.outcome == "ok"
    assert late.outcome == "invalid_arguments"
    assert [type(wish) for wish in wishes] == [NoteAsked, ReplyAsked, EndingAsked]


def test_the_example_adapter_speaks_the_wire_of_its_vectors() -> None:
    """The adapter in the page on new carriers reads and writes the messages that the same page shows."""
    page = ROOT / "docs" / "howto" / "new-carrier.md"
    (code, _far_end), (vectors,) = (
        [b for b in blocks(kind) if b.page == page] for kind in ("python", "json")
    )
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code.text, str(code), "exec"), names)  # noqa: S102 - our own page
    (adapter,) = names["register_adapters"]()
    codec = adapter.codec(Upgrade(call_id="call_1"), adapter.settings())
    for line in map(msgspec.json.decode, vectors.text.splitlines()):
        if "events" in line:
            events = codec.decode(msgspec.json.encode(line["wire"]).decode())
            assert [wire_name(type(event).__name__) for event in events] == [
                e["type"] for e in line["events"]
            ]
        elif "command" in line:
            assert [msgspec.json.decode(message) for message in codec.encode(Clear())] == line["wire"]
    assert codec.encode(Play("r1", b"\xff")) == ['{"event":"media","payload":"/w=="}']
    with pytest.raises(WireError):
        codec.decode("nonsense")


@hearing_needed
@pytest.mark.usefixtures("environment")
async def test_the_example_client_holds_a_conversation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The raw PCM client says a recording after the greeting, is answered, and keeps what a person would have heard."""
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "server: {port: 0, admin_port: 0}\n"
        'agents: {a: {kind: offline, session: {greeting: "Hello."}}}\nroutes: [{name: all, agent: a}]\n'
    )
    spoken, said = read_wav((ROOT / "gateway/simulate/speech/goforward.wav").read_bytes())
    client = load(ROOT / "examples" / "pcm_client.py")
    async with serving(load_generation(file)) as bound:
        url = bound.url.replace("http", "ws", 1) + "/v1/ws/pcm"
        heard = await client.call(url, said, spoken.rate_hz)
    told = capsys.readouterr().out
    assert "caller: go forward ten meters" in told
    assert "agent:  Going forward ten meters." in told
    assert "1000 the call is over" in told
    assert level_dbfs(heard, PCM_16K) > AUDIBLE_DBFS


@pytest.mark.usefixtures("environment")
async def test_the_example_client_says_why_it_was_not_let_in(tmp_path: Path) -> None:
    """A gateway with keys, and nobody at all, are a sentence each on standard error, and exit code 1."""
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "server: {port: 0, admin_port: 0}\naccess: {keys: [{name: backend, key: a-key-that-is-long-enough}]}\n"
        "agents: {a: {kind: offline}}\nroutes: [{name: all, agent: a}]\n"
    )

    async def told(url: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, ROOT / "examples" / "pcm_client.py",
            ROOT / "gateway/simulate/speech/goforward.wav", tmp_path / "heard.wav", "--url", url,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 1
        assert err.count(b"\n") == 1
        return err.decode()

    async with serving(load_generation(file)) as bound:
        url = bound.url.replace("http", "ws", 1) + "/v1/ws/pcm"
        assert "the gateway let nobody in (HTTP 403)" in await told(url)
    assert "nobody answers at" in await told(url)
    assert not (tmp_path / "heard.wav").exists()
