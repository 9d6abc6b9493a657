"""What callers say: recordings from files, the shipped ones included, and sentences spoken by a synthesiser.

Owns finding and reading of WAV files and the processes of flite and espeak-ng. Refuses formats other than
16-bit PCM. Every error is a `VoiceError` with one sentence for people.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from gateway.audio import read_wav
from gateway.simulate.script import Utterance

SHIPPED = Path(__file__).parent / "speech"
MAX_FILE_BYTES = 64 * 1024 * 1024
SYNTHESIS_WITHIN_S = 30.0


class VoiceError(Exception):
    """Something that should be said cannot be; one sentence that says why and what to do."""


def recording(name: str | Path) -> Utterance:
    """Read a WAV file; a name that is no file here is looked up among the shipped recordings.

    Raises:
        VoiceError: when there is no such file or it cannot be read.
    """
    path = Path(name)
    if not path.is_file() and not path.is_absolute() and (SHIPPED / path).is_file():
        path = SHIPPED / path
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise VoiceError(f"{name} is larger than {MAX_FILE_BYTES} bytes; cut it first")
        audio_format, pcm = read_wav(path.read_bytes())
    except OSError as error:
        shipped = ", ".join(sorted(file.name for file in SHIPPED.glob("*.wav")))
        raise VoiceError(
            f"{name} cannot be read ({error.strerror}); give a WAV file or one of {shipped}"
        ) from None
    except ValueError as error:
        raise VoiceError(f"{name}: {error}") from None
    return Utterance(label=path.name, pcm=pcm, rate_hz=audio_format.rate_hz)


def sentence(text: str) -> Utterance:
    """Have a synthesiser of this machine speak a sentence; waits for it.

    Raises:
        VoiceError: when there is none, or it fails.
    """
    if not text.strip():
        raise VoiceError("there is nothing to say in an empty text; give some words")
    flite, espeak = shutil.which("flite"), shutil.which("espeak-ng")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "said.wav"
        if flite:
            _run([flite, "-voice", "slt", "-o", str(out), "-t", text])
        elif espeak:
            _run([espeak, "-w", str(out), "--", text])
        else:
            raise VoiceError(
                "nothing on this machine can speak a text; install flite or espeak-ng, or use --audio"
            )
        if not out.is_file():
            raise VoiceError(f"the synthesiser wrote nothing for {text!r}")
        said = recording(out)
    return Utterance(label=text, pcm=said.pcm, rate_hz=said.rate_hz)


def keys(digits: str) -> Utterance:
    """Press keys.

    Raises:
        VoiceError: when one of them is on no telephone.
    """
    wrong = sorted(set(digits) - set("0123456789*#ABCD"))
    if wrong or not digits:
        raise VoiceError(f"{digits!r} cannot be pressed on a telephone; use 0 to 9, *, # and A to D")
    return Utterance(label=f"keys {digits}", digits=digits)


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=SYNTHESIS_WITHIN_S)  # noqa: S603 - no shell
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[:200]
        raise VoiceError(f"{Path(command[0]).name} failed with {error.returncode}: {said}") from None
    except subprocess.TimeoutExpired:
        raise VoiceError(f"{Path(command[0]).name} took longer than {SYNTHESIS_WITHIN_S:.0f} s") from None
