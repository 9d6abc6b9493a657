"""``talkpath audit verify``: whether an audit trail is whole."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gateway.cli.check import Json
from gateway.cli.refusing import print_json, refuse, refuse_configuration
from gateway.errors import ConfigError, PluginError
from gateway.observers.audit_chain import MOST_KEPT, UNSEALED, Verdict, Verifier
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
    Path | None,
    typer.Option(
        help="File with the key that seals the lines, instead of audit.key; after a rotation one in each line."
    ),
]
Expect = Annotated[
    str,
    typer.Option(
        help="Seal of a line that must be in the trail, as the log tells it in `trail.head`.",
        show_default=False,
    ),
]
From = Annotated[
    int,
    typer.Option(
        "--from", help="Number of the first line, when you have put the files before it elsewhere.", min=1
    ),
]
Count = Annotated[int, typer.Option(help="Number that the last line must have at least.", min=0)]
FITS_NOT_WITHOUT_KEY = (
    "no line fits without a key: give the key that sealed them, with --config FILE or --key-file FILE;"
    " if there never was one, every line was changed"
)
FITS_NO_KEY = (
    "no line fits the key that was given: give the one that sealed them, with --config FILE or --key-file FILE;"
    " if it is the right one, all of the trail was made anew without it"
)


def audit(
    action: Action,  # noqa: ARG001 - the only one there is
    file: File = None,
    *,
    config: Config = None,
    key_file: KeyFile = None,
    expect: Expect = "",
    count: Count = 0,
    begins_at: From = 1,
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
        verdict = _read(path, keys, begins_at, expect)
    except OSError as error:
        refuse(
            "audit",
            f"{path}: cannot be read ({error.strerror}); name the file that audit.path names",
            as_json=json,
        )
    problems = [*_wrong(verdict, bool(keys)), *_missing(path, verdict, expect, count)]
    if json:
        print_json(_document(path, verdict, problems, has_key=bool(keys)))
    else:
        _print(path, verdict, problems, has_key=bool(keys))
    raise typer.Exit(1 if problems else 0)


def _settings(file: Path | None, config: Path | None) -> AuditSettings:
    """The section; a trail that is named needs no configuration."""
    needed = config is not None or file is None or chosen_file() is not None
    return load_settings(config).audit if needed else AuditSettings()


def _keys(settings: AuditSettings, key_file: Path | None) -> list[bytes]:
    if key_file is not None:
        return [key for line in key_file.read_bytes().splitlines() if (key := line.strip())]
    return [key.reveal().encode() for key in settings.key]


def _read(path: Path, keys: list[bytes], begins_at: int, expected: str) -> Verdict:
    verifier = Verifier(keys, begins_at=begins_at, expected=expected)
    newest = path.open("rb")  # first: where it is not there, nothing is a trail
    with newest:
        for older in older_files(path):
            with older.open("rb") as lines:
                verifier.read_file(older.name, lines)
        verifier.read_file(path.name, newest)
    return verifier.finish()


def _wrong(verdict: Verdict, has_key: bool) -> list[str]:
    """What is wrong with the lines that are there; when none fits, one sentence instead of one for each."""
    findings, count = verdict.findings, verdict.unsealed + verdict.otherwise_wrong
    problems = []
    if verdict.is_of_another_key:
        findings = [finding for finding in findings if finding.what != UNSEALED]
        count = verdict.otherwise_wrong
        problems.append(FITS_NO_KEY if has_key else FITS_NOT_WITHOUT_KEY)
    problems += [f"{finding.place} {finding.sentence}" for finding in findings[:MOST_KEPT]]
    if count > MOST_KEPT:
        problems.append(f"and {count - MOST_KEPT} more")
    return problems


def _notes(verdict: Verdict) -> list[str]:
    more = verdict.noted - len(verdict.notes)
    return [*verdict.notes, f"and {more} more"] if more else verdict.notes


def _missing(path: Path, verdict: Verdict, expect: str, count: int) -> list[str]:
    missing = []
    if not verdict.lines:
        missing.append(
            f"{path} is empty: a gateway writes a line as soon as it starts, so what was in it was taken away,"
            " or none has ever run with it"
        )
    if expect and not verdict.bears_expected:
        missing.append(f"no line bears the seal {expect}: the trail was cut off before it, or made anew")
    if count > verdict.head.n:
        missing.append(
            f"the last line has the number {verdict.head.n}, not {count} or more: the end is missing"
        )
    return missing


def _document(path: Path, verdict: Verdict, problems: list[str], *, has_key: bool) -> dict[str, Any]:
    return {
        "ok": not problems,
        "file": str(path),
        "lines": verdict.lines,
        "first": verdict.first,
        "last": verdict.head.n,
        "hash": verdict.head.seal,
        "with_key": has_key,
        "problems": problems,
        "notes": _notes(verdict),
    }


def _print(path: Path, verdict: Verdict, problems: list[str], *, has_key: bool) -> None:
    for sentence in problems:
        typer.echo(f"talkpath audit: {sentence}", err=True)
    for sentence in _notes(verdict):
        typer.echo(f"Note: {sentence}")
    if problems:
        return
    how = "" if has_key else ", checked without a key"
    typer.echo(
        f"{path}: lines {verdict.first} to {verdict.head.n} are whole{how};"
        f" the last one bears {verdict.head.seal}"
    )
    if not has_key:
        typer.echo("Without a key, whoever may write the file can have made all of it anew.")
    typer.echo("Whether lines are missing after it can be told only with --expect or --count.")
