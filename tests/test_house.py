"""The house keeps its own rules: levels, sizes, words, documents."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gateway import commands, events
from gateway.runtime.config import load_settings

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "gateway").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
FILE_LINES = 400
FUNCTION_LINES = 50


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_rooms_import_only_what_is_below_them() -> None:
    """The import levels, the pure rooms and the independence of the simulators hold."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_files_and_functions_stay_small(path: Path) -> None:
    """No file has more than 400 lines, no function more than 50."""
    assert len(path.read_text().splitlines()) <= FILE_LINES
    long = [f.name for f in functions(path) if (f.end_lineno or 0) - f.lineno >= FUNCTION_LINES]
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_task_is_an_orphan(path: Path) -> None:
    """Tasks are born in a task group, cancellation is never swallowed."""
    text = path.read_text()
    assert not re.search(r"asyncio\.(create_task|ensure_future|gather)\(", text)
    assert "except BaseException" not in text


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=named)
def test_modules_are_named_for_what_they_hold(path: Path) -> None:
    """No module hides behind a name that says nothing."""
    assert path.stem not in {"utils", "helpers", "common", "manager", "base"}


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_tests_say_what_they_show_and_do_not_sleep(path: Path) -> None:
    """Every test states a behaviour in a sentence and waits for conditions instead of time."""
    undocumented = [f.name for f in functions(path) if f.name.startswith("test") and not ast.get_docstring(f)]
    assert not undocumented
    assert not re.search(r"\b(asyncio|time)\.sleep\((?!0\))", path.read_text())


VOCABULARY = [
    (module, kind)
    for module in (events, commands)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and kind.__module__ == module.__name__
    and issubclass(kind, events.Event | commands.Command | commands.Fact)
]


@pytest.mark.parametrize(("module", "kind"), VOCABULARY, ids=lambda given: given.__name__)
def test_every_field_of_the_vocabulary_is_explained(module: ModuleType, kind: type) -> None:
    """Events, commands and facts have a docstring, and a line under each of their fields."""
    tree = ast.parse(Path(module.__file__ or "").read_text())
    found = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
    assert ast.get_docstring(found)
    for field, below in zip(found.body, [*found.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(below, ast.Expr), f"{kind.__name__}: a field has no line under it"


def test_the_example_configuration_loads() -> None:
    """gateway.yaml at the root works as it is."""
    assert load_settings(ROOT / "gateway.yaml").routes


def test_the_repository_speaks_of_talkpath_alone() -> None:
    """No path of a build machine and no package registry's host stands in a file."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    forbidden = re.compile(r"/(?:home|root)/[a-z]|files\.pythonhosted|pypi\.org/simple")
    for name in tracked.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".jsonl", ""} and path.is_file():
            text = path.read_text(errors="replace")
            own = text if path != Path(__file__) else ""
            assert not forbidden.search(own), name
