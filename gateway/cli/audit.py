"""``talkpath audit verify``: whether an audit trail is whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gateway.cli.check import Json
from gateway.cli.refusing import print_json, refuse, refuse_configuration
from gateway.errors import ConfigError, PluginError
from gateway.observers.audit_chain import Verdict, Verifier
from gateway.observers.audit_file import older_files
from gateway.runtime.config import chosen_file, load_settings
from gateway.settings import AuditSettings

Action = Annotated[Literal["verify"], typer.Argument(help="What to do with the trail.", metavar="verify")]
File = Annotated[
    Path | None,
    typer.Argument(
        help="The trail; else audit.path of the configuration. Files that were put aside are read too.",
        metavar="FILE",
    ),
]
Config = Annotated[Path | None, typer.Option(help="Configuration with audit.path and audit.key.")]
KeyFile = Annotated[
    Path | None, typer.Option(help="File with the key that seals the lines, instead of audit.key.")
]
Expect = Annotated[
    str,
    typer.Option(
        help="Seal of a line that must be in the trail, as the log tells it in `trail.head`.",
        show_default=False,
    ),
]
Count = Annotated[int, typer.Option(help="Number that the last line must have at least.", min=0)]
MOST_TOLD = 100


def audit(
    action: Action,  # noqa: ARG001 - the only one there is
    file: File = None,
    *,
    config: Config = None,
    key_file: KeyFile = None,
    expect: Expect = "",
    count: Count = 0,
    json: Json = False,
) -> None:
    """Check an audit trail: every line that was changed, moved, put in or taken out is found, but for missing last ones.

    Lines that are cut off at the end leave no gap; --expect and --count find them. Exit code 0: nothing is wrong; 1:
    something is; 2: it cannot be read, wrong usage or configuration.

    Example: talkpath audit verify audit.jsonl --expect 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    """
    try:
        settings = _settings(file, config)
        keys = _keys(settings, key_file)
    except (ConfigError, PluginError) as error:
        refuse_configuration("audit", config, error, as_json=json)
    except OSError as error:
        refuse("audit", f"{key_file}: cannot be read ({error.strerror})", as_json=json)
    path = file or Path(settings.path)
    if file is None and not settings.path:
        refuse("audit", "name the trail, or a configuration with audit.path", as_json=json)
    try:
        verdict = _read(path, keys)
    except OSError as error:
        refuse(
            "audit",
            f"{path}: cannot be read ({error.strerror}); name the file that audit.path names",
            as_json=json,
        )
    missing = _missing(verdict, expect, count)
    if json:
        print_json(_document(path, verdict, missing))
    else:
        _print(path, verdict, missing)
    raise typer.Exit(1 if verdict.findings or missing else 0)


def _settings(file: Path | None, config: Path | None) -> AuditSettings:
    """The section; a trail that is named needs no configuration."""
    needed = config is not None or file is None or chosen_file() is not None
    return load_settings(config).audit if needed else AuditSettings()


def _keys(settings: AuditSettings, key_file: Path | None) -> list[bytes]:
    if key_file is not None:
        return [key_file.read_bytes().strip()]
    return [key.reveal().encode() for key in settings.key]


def _read(path: Path, keys: list[bytes]) -> Verdict:
    verifier = Verifier(keys)
    newest = path.open("rb")  # first: where it is not there, nothing is a trail
    with newest:
        for older in older_files(path):
            with older.open("rb") as lines:
                verifier.read_file(older.name, lines)
        verifier.read_file(path.name, newest)
    return verifier.finish()


def _missing(verdict: Verdict, expect: str, count: int) -> list[str]:
    missing = []
    if expect and expect.lower() not in verdict.seals:
        missing.append(f"no line bears the seal {expect}: the trail was cut off before it, or made anew")
    if count > verdict.head.n:
        missing.append(
            f"the last line has the number {verdict.head.n}, not {count} or more: the end is missing"
        )
    return missing


def _told(verdict: Verdict, missing: list[str]) -> Iterator[str]:
    for finding in verdict.findings[:MOST_TOLD]:
        yield f"{finding.place} {finding.sentence}"
    if len(verdict.findings) > MOST_TOLD:
        yield f"and {len(verdict.findings) - MOST_TOLD} more"
    yield from missing


def _document(path: Path, verdict: Verdict, missing: list[str]) -> dict[str, Any]:
    return {
        "ok": not verdict.findings and not missing,
        "file": str(path),
        "lines": verdict.lines,
        "first": verdict.first,
        "last": verdict.head.n,
        "hash": verdict.head.seal,
        "problems": list(_told(verdict, missing)),
        "notes": verdict.notes,
    }


def _print(path: Path, verdict: Verdict, missing: list[str]) -> None:
    for sentence in _told(verdict, missing):
        typer.echo(f"talkpath audit: {sentence}", err=True)
    for sentence in verdict.notes:
        typer.echo(f"Note: {sentence}")
    if verdict.findings or missing:
        return
    if not verdict.lines:
        typer.echo(f"{path} is empty")
        return
    typer.echo(
        f"{path}: lines {verdict.first} to {verdict.head.n} are whole; the last one bears {verdict.head.seal}"
    )
    typer.echo("Whether lines are missing after it can be told only with --expect or --count.")
