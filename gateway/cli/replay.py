"""``talkpath replay``: a recorded call, driven through today's code."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.check import Json
from gateway.cli.printing import Output
from gateway.cli.refusing import print_json, refuse, refuse_configuration
from gateway.cli.replay_table import as_json, headline, notes, replay_table, verdict
from gateway.cli.turn_table import WIDTH
from gateway.errors import ConfigError, PluginError
from gateway.observers.journal_file import read_journal
from gateway.observers.journal_folder import SUFFIX
from gateway.runtime.config import load_generation
from gateway.runtime.plugins import Generation
from gateway.runtime.replay import Replay
from gateway.runtime.replay import replay as play_again
from gateway.runtime.replay_terms import todays_terms
from gateway.runtime.replay_turns import Comparison, compare

Files = Annotated[
    list[Path], typer.Argument(help="Journals, as `records` keeps them, or folders of them.", metavar="FILE")
]
Config = Annotated[
    Path | None,
    typer.Option(help="Configuration whose terms are used, instead of the terms of the recorded call."),
]
Route = Annotated[str, typer.Option(help="With --config: the route, instead of the one of the same name.")]


def replay(*, files: Files, config: Config = None, route: Route = "", json: Json = False) -> None:
    """Drive the events of recorded calls through today's code, and show turn by turn what is commanded otherwise.

    One file gives a table of its turns; several files, or a folder, give a line each. Exit code 0: every call is the
    same; 1: at least one differs; 2: a file cannot be read, wrong usage or configuration.

    Example: talkpath replay records.db/20261121T010203Z-call_1.jsonl
    """
    if route and config is None:
        refuse("replay", "--route chooses among the routes of --config; name that too", as_json=json)
    try:
        paths = list(journals(files))
        generation = None if config is None else load_generation(config)
    except ValueError as error:
        refuse("replay", str(error), as_json=json)
    except (ConfigError, PluginError) as error:
        refuse_configuration("replay", config, error, as_json=json)
    results = [_Result(path, generation, route) for path in paths]
    if json:
        print_json({"calls": [{"file": str(one.path), **one.as_json()} for one in results]})
    elif len(results) == 1 and not files[0].is_dir():
        results[0].print_turns()
    else:
        _print_lines(results)
    raise typer.Exit(max(one.exit_code for one in results))


class _Result:
    """One file: its comparison, or why it cannot be read."""

    def __init__(self, path: Path, generation: Generation | None, route: str) -> None:
        self.path = path
        self.error = ""
        self.replay: Replay | None = None
        self.comparison: Comparison | None = None
        try:
            with path.open("rb") as lines:
                journal = read_journal(lines)
            terms = todays_terms(generation, journal.header, route) if generation else None
            self.replay = play_again(journal, terms)
            self.comparison = compare(self.replay)
        except OSError as error:
            self.error = f"{path} cannot be read: {error.strerror}"
        except (ValueError, ConfigError) as error:
            self.error = f"{path} cannot be replayed: {error}"

    @property
    def exit_code(self) -> int:
        """0 the same, 1 it differs, 2 it cannot be read."""
        if self.comparison is None:
            return 2
        return 0 if self.comparison.is_same else 1

    def as_json(self) -> dict[str, Any]:
        """All that is known."""
        if self.replay is None or self.comparison is None:
            return {"error": self.error}
        return as_json(self.replay, self.comparison)

    def print_turns(self) -> None:
        """The table."""
        if self.replay is None or self.comparison is None:
            typer.echo(f"talkpath replay: {self.error}", err=True)
            return
        out = _output()
        color = out.is_terminal and out.color_system is not None
        out.print(headline(self.replay), soft_wrap=True)
        for note in notes(self.replay):
            out.print(f"Note: {note}.", soft_wrap=True)
        out.print(replay_table(self.comparison, color=color))
        out.print(verdict(self.comparison), soft_wrap=True)

    def line(self) -> str:
        """The same in one line."""
        if self.replay is None or self.comparison is None:
            return self.error
        return f"{self.path}: {' '.join([verdict(self.comparison), *(f'Note: {n}.' for n in notes(self.replay))])}"


def _print_lines(results: list[_Result]) -> None:
    out = _output()
    for one in results:
        if one.error:
            typer.echo(f"talkpath replay: {one.error}", err=True)
        else:
            out.print(one.line(), soft_wrap=True)
    counts = [sum(one.exit_code == code for one in results) for code in range(3)]
    out.print(f"{counts[0]} the same, {counts[1]} differ, {counts[2]} cannot be read.")


def _output() -> Output:
    return Output(markup=False, width=None if sys.stdout.isatty() else WIDTH)


def journals(files: list[Path]) -> Iterator[Path]:
    """Every file that is named, or lies in a folder that is named.

    Raises:
        ValueError: when a folder holds none.
    """
    for path in files:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(path.glob(f"*{SUFFIX}"))
        if not inside:
            raise ValueError(f"there is no journal in {path}; they are named …{SUFFIX}")
        yield from inside
