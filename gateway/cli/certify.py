"""``talkpath certify``: the suite that every adapter must pass, run against an installed one."""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from gateway.certify import (
    CHECKS,
    Certificate,
    Finding,
    Speaker,
    SpeakerError,
    find_speaker,
)
from gateway.certify import (
    certify as run_suite,
)
from gateway.certify.vectors import first_difference, lines
from gateway.cli.printing import Output
from gateway.cli.refusing import print_json, refuse
from gateway.contracts import Adapter
from gateway.errors import ConfigError, PluginError
from gateway.runtime.plugins import Plugins
from gateway.settings import PluginsSettings, Settings

_SIGNS: Final = {"passed": "[green]passed[/]", "failed": "[red]failed[/]", "not applicable": "[dim]-[/]"}


def certify(
    adapter: Annotated[
        str, typer.Argument(help="Name of the adapter, as in /v1/ws/NAME.", show_default=False)
    ],
    speaker: Annotated[
        str, typer.Option(help="Its far end, as module:Class or file.py:Class; else its package brings one.")
    ] = "",
    plugins: Annotated[
        Path | None, typer.Option(help="Folder of single-file plugins, where the adapter is one of those.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A check to run alone, may be repeated; else all.", show_default=False),
    ] = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of vectors that its codec must keep too, may be repeated.", show_default=False
        ),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Run the suite that every adapter must pass against an installed adapter.

    Exit code 0: nothing failed; 1: a check failed; 2: there is no such adapter, or nobody speaks for it.

    Example: talkpath certify twilio
    """
    _check_names(only or [], as_json=json)
    installed = _installed(adapter, plugins, as_json=json)
    try:
        far_end = find_speaker(adapter, speaker)
    except SpeakerError as error:
        refuse("certify", str(error), as_json=json)
    findings = [_vectors(installed, path, as_json=json) for path in vectors or []]
    found = _run(adapter, far_end, only or [], plugins, as_json=json)
    found = msgspec.structs.replace(found, findings=(*found.findings, *findings))
    if json:
        print_json({"ok": found.is_clean, "adapter": adapter, "checks": msgspec.to_builtins(found.findings)})
    else:
        _print(found, Output())
    if not found.is_clean:
        raise typer.Exit(1)


def _run(
    adapter: str, far_end: type[Speaker], only: list[str], plugins: Path | None, *, as_json: bool
) -> Certificate:
    """Run the suite, and show on the terminal how far it is."""
    folder = str(plugins.resolve()) if plugins else ""
    with Output(stderr=True).status(f"{adapter}: half a minute, please") as status:

        def tell(finding: Finding) -> None:
            status.update(f"{adapter}: {finding.check} {finding.verdict}")

        try:
            return asyncio.run(run_suite(adapter, far_end, only=only, plugins=folder, tell=tell))
        except (ConfigError, PluginError) as error:
            refuse("certify", f"the adapter {adapter} cannot be tried: {error}", as_json=as_json)


def _check_names(only: list[str], *, as_json: bool) -> None:
    known = [check.name for check in CHECKS]
    for name in only:
        if name not in known:
            refuse("certify", f"--only {name} is no check; there are {', '.join(known)}", as_json=as_json)


def _installed(name: str, plugins: Path | None, *, as_json: bool) -> Adapter:
    """The adapter of that name."""
    if plugins is not None and not plugins.is_dir():
        refuse("certify", f"--plugins {plugins} is no folder; name one that there is", as_json=as_json)
    try:
        there = Plugins(PluginsSettings(folder=str(plugins or ""))).adapters(Settings())
    except PluginError as error:
        refuse("certify", str(error), as_json=as_json)
    if name not in there:
        refuse(
            "certify", f"there is no adapter {name}; there are {', '.join(sorted(there))}", as_json=as_json
        )
    return there[name]


def _vectors(adapter: Adapter, path: Path, *, as_json: bool) -> Finding:
    """Try a file of vectors."""
    began = time.monotonic()
    try:
        written = lines(path)
    except OSError as error:
        refuse("certify", f"--vectors {path} cannot be read: {error.strerror}", as_json=as_json)
    except ValueError as error:
        refuse("certify", f"--vectors {path} cannot be read: {error}", as_json=as_json)
    wrong = first_difference(adapter, written)
    seconds = round(time.monotonic() - began, 2)
    asks = f"The codec keeps the {len(written)} lines of vectors."
    return Finding("vectors", asks, "failed" if wrong else "passed", wrong, str(path), seconds)


def _print(found: Certificate, console: Output) -> None:
    """Print the report for people."""
    table = Table(title=f"adapter {found.adapter}", title_justify="left")
    for column in ("check", "", "what is asked for", "s"):
        table.add_column(column, justify="right" if column == "s" else "left")
    for finding in found.findings:
        table.add_row(finding.check, _SIGNS[finding.verdict], escape(finding.asks), f"{finding.seconds:.1f}")
    console.print(table)
    for finding in found.findings:
        if finding.sentence:
            sign = _SIGNS[finding.verdict] if finding.verdict == "failed" else "[dim]not applicable[/]"
            sentence = f"{finding.check}: {sign}: {escape(finding.sentence)} ({escape(finding.source)})"
            console.print(sentence, soft_wrap=True)
    failed = sum(finding.verdict == "failed" for finding in found.findings)
    passed = sum(finding.verdict == "passed" for finding in found.findings)
    console.print(f"{passed} passed, {failed} failed, {len(found.findings) - passed - failed} not applicable")
