import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest

from gateway.cli.arguments import hide_in_title, secrets_typed
from gateway.errors import ConfigError
from gateway.redaction import MASK, REDACTION
from gateway.runtime.config import load_generation
from gateway.runtime.sinks import RedactedStream, redacted_sinks, shown_exception

SECRET = "seeded-secret-9c1f"
WORDS = "my mother's maiden name is Brown"
NUMBER = "+14155555309"


@contextmanager
def guarded() -> Iterator[io.StringIO]:
    """Standard error with the sinks in front; what was written is read from it."""
    stream = io.StringIO()
    REDACTION.learn([SECRET])
    with redirect_stderr(stream), redacted_sinks():
        yield stream


def fault() -> ExceptionGroup[Exception]:
    """A fault with everything in it that must not be told, deep and behind each other."""
    behind, error = ValueError(f"{WORDS} {SECRET}"), KeyError(NUMBER)
    error.add_note(WORDS)
    try:
        json.loads(WORDS)
    except ValueError as raised:
        error.__cause__ = behind.with_traceback(raised.__traceback__)
    return ExceptionGroup(WORDS, [error, TypeError(f"cannot add {SECRET}")])


def leaks(text: str) -> list[str]:
    return [seed for seed in (SECRET, WORDS, NUMBER, "Brown") if seed in text]


def test_an_exception_shows_types_and_places_and_no_words() -> None:
    """Groups, causes and notes included; what Python words itself is kept, without the secret in it."""
    REDACTION.learn([SECRET])
    shown = shown_exception(fault())
    assert not leaks(shown)
    for part in ("ExceptionGroup: 2 exceptions", "ValueError (its text of ", "KeyError", "That caused this:",
                 f"TypeError: cannot add {MASK}", 'test_sinks.py", line '):  # fmt: skip
        assert part in shown


def test_a_circle_of_exceptions_ends() -> None:
    """Exceptions that are each other's context are told once."""
    one, other = ValueError("a"), KeyError("b")
    one.__context__, other.__context__ = other, one
    assert shown_exception(one).count("ValueError") == 1


def test_every_handler_sees_redacted_records() -> None:
    """A handler of somebody else's gets neither message nor traceback with anything in it; nor does a bad format."""
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logger = logging.getLogger("somebody.else")
    logger.addHandler(handler)
    with guarded() as err:
        logger.error("token %s of %s", SECRET, NUMBER, exc_info=fault())
        logger.error("%d", WORDS)
    logger.removeHandler(handler)
    assert f"token {MASK} of +1415•••5309" in told.getvalue()
    assert "cannot be formatted" in told.getvalue()
    assert not leaks(told.getvalue() + err.getvalue())


async def test_tasks_and_threads_that_fail_say_no_words() -> None:
    """Asyncio's own report, a thread's and a destructor's go the same way."""
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logging.getLogger("asyncio").addHandler(handler)
    with guarded() as err:
        error = ValueError(f"{WORDS} {SECRET}")
        context = {"message": "Task exception was never retrieved", "exception": error, "future": error}
        asyncio.get_running_loop().default_exception_handler(context)
        thread = threading.Thread(target=int, args=(f"{WORDS} {SECRET}",), name="worker")
        thread.start()
        thread.join()
    logging.getLogger("asyncio").removeHandler(handler)
    assert "never retrieved" in told.getvalue()
    assert "the thread worker has failed" in err.getvalue()
    assert not leaks(told.getvalue() + err.getvalue())


def test_last_words_and_streams_are_redacted() -> None:
    """What ends the process, and whatever is printed, passes the same point; the streams are put back afterwards."""
    error = fault()
    before = sys.stderr
    with guarded() as err:
        sys.excepthook(type(error), error, None)
        sys.stderr.write(f"said {SECRET} to {NUMBER}\n")
    assert sys.stderr is before
    assert f"said {MASK} to +1415•••5309\n" in err.getvalue()
    assert not leaks(err.getvalue())


def test_a_stream_passes_on_everything_else() -> None:
    """Bytes are no text; encoding, flushing and being no terminal are the other stream's."""
    behind = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = RedactedStream(behind, REDACTION.clean)
    assert (stream.encoding, stream.isatty(), stream.writable()) == ("utf-8", False, True)
    with pytest.raises(TypeError):
        stream.write(b"x")  # type: ignore[arg-type]
    assert stream.write("one\n") == 4
    stream.close()
    assert not behind.closed


def test_options_are_taken_out_of_the_title() -> None:
    """Keys and tokens that were typed, also in addresses, are dots for whoever lists processes."""
    import subprocess

    typed = [
        "call",
        "ws://user:pass-word-1@h/?token=tok-1234567",
        "--key",
        "key-12345678",
        "--token=tok-87654321",
    ]
    assert set(secrets_typed(typed)) == {"pass-word-1", "tok-1234567", "key-12345678", "tok-87654321"}
    program = (
        "import sys; from gateway.cli.arguments import *;"
        "hide_in_title(secrets_typed(sys.argv[1:])); print(open('/proc/self/cmdline').read())"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux shows where the arguments lie")
    run = subprocess.run([sys.executable, "-c", program, *typed], capture_output=True, text=True, check=True)
    assert "*" * 12 in run.stdout
    for secret in secrets_typed(typed):
        assert f"\x00{secret}" not in run.stdout
        assert f"={secret}" not in run.stdout
    assert hide_in_title([])


BROKEN = [
    "server: {{host: 1, {0}: 2}}",
    "server: {{port: {0}}}",
    "{0}: {{}}",
    "agents: {{a: {{kind: {0}}}}}",
    "agents: {{a: {{kind: offline, region: {0}, tools: [{0}]}}}}",
    "agents: {{a: {{kind: offline, script: {0}, fallback: {0}, clips: {{hold: {0}}}}}}}",
    "agents: {{a: {{kind: voice_agent, turn_detection: {0}, extends: {0}}}}}",
    "routes: [{{name: a, agent: {0}, allow_regions: [{0}], client_may: [{0}], dtmf: {0}}}]",
    "routes: [{{name: {0}, agent: nobody, match: {{adapter: [{0}]}}}}]",
    "adapters: {{{0}: {{}}}}",
    "adapters: {{twilio: {{auth_tokn: {0}, auth_token: {{{0}: {0}}}}}}}",
    "adapters: {{vonage: {{private_key_file: {0}, signature_secret: [[{0}]], application_id: {0}}}}}",
    "adapters: {{browser: {{origins: {0}}}}}",
    'access: {{keys: [{{name: {0}, key: "", may: [{0}], routes: [{0}]}}, {{name: {0}, key: {0}}}]}}',
    "regions: {{{0}: {{voice_agent: {0}, rest: {0}, hosts: [{0}]}}}}",
    "store: {{kind: {0}, url: {0}}}",
    "telemetry: {{otlp_endpoint: {0}, content: {0}}}",
    "records: {{path: {0}, keep_days: {0}, form: {0}}}",
    "plugins: {{disabled: [{0}], folder: {0}}}",
    "limits: {{calls: {0}}}\nlimits: {{calls: {0}}}",
    "a: [{0}\nb: }}{0}",
    "<<: {0}\n12: {0}",
    "server: {{host: !{0} x}}",
]  # fmt: skip


@pytest.mark.parametrize("form", BROKEN)
@pytest.mark.parametrize("given", ["literal", "variable"])
def test_a_secret_in_the_wrong_place_is_not_quoted(
    form: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place of the file that can be wrong is told without the value, pasted there or from a variable."""
    secret = "4f9a0c7be21d48d3a6b5c0ffee123456"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("SOME_KEY", secret)
    value = secret if given == "literal" else '"${SOME_KEY}"'
    file = tmp_path / "gateway.yaml"
    file.write_text(form.format(value))
    with pytest.raises(ConfigError) as refused:
        load_generation(file)
    assert secret not in str(refused.value)
