"""The microphone and the loudspeaker of this machine, through PortAudio where it is there.

Owns both streams, what waits to be played, and how loud each side is. Refuses conversion: PortAudio is asked for the
rate of the conversation.
"""

from collections import deque
from typing import Any, Final, Self

from gateway.audio import PCM_24K, level_dbfs
from gateway.simulate.talking import FRAME_BYTES, RATE_HZ, SILENCE

MOST_FRAMES: Final = 50
"""A second of the microphone that may wait; older sound is dropped."""
HOW_TO_ADD: Final = "pip install 'talkpath[talk]', and the system's PortAudio (apt-get install libportaudio2)"


class NoSoundCard(Exception):  # noqa: N818 - a fact about this machine
    """There is no sound here; one sentence that says what is missing."""


class SoundCard:
    """Use as ``with SoundCard() as card``.

    Raises:
        NoSoundCard: on entering, when the library, PortAudio or a device is missing.
    """

    def __init__(self) -> None:
        self.said_dbfs = self.heard_dbfs = -100.0
        """How loud the last 20 ms of the microphone and of the loudspeaker were."""
        self.is_muted = False
        self._said: deque[bytes] = deque(maxlen=MOST_FRAMES)
        self._to_play = bytearray()
        self._stream: Any = None

    def __enter__(self) -> Self:
        try:
            import sounddevice  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415 - an extra
        except ImportError:
            raise NoSoundCard(f"sounddevice is not installed; to talk aloud: {HOW_TO_ADD}") from None
        except OSError:
            raise NoSoundCard(f"PortAudio is not installed; to talk aloud: {HOW_TO_ADD}") from None
        try:
            self._stream = sounddevice.RawStream(
                samplerate=RATE_HZ,
                blocksize=FRAME_BYTES // 2,
                channels=1,
                dtype="int16",
                callback=self._exchange,
            )
            self._stream.start()
        except sounddevice.PortAudioError as error:
            raise NoSoundCard(f"there is no microphone with a loudspeaker here ({error})") from None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def mouth(self) -> bytes:
        """The next 20 ms of the microphone, silence when there is none."""
        return self._said.popleft() if self._said else SILENCE

    def play(self, pcm: bytes) -> None:
        """Play sound after what was given before."""
        self._to_play += pcm

    def flush(self) -> None:
        """Drop what has not been played."""
        self._to_play.clear()

    def _exchange(self, said: Any, heard: Any, _frames: int, _time: object, _status: object) -> None:
        """Called by PortAudio, in a thread of its own, once for each 20 ms."""
        frame = SILENCE if self.is_muted else bytes(said)
        self._said.append(frame)
        self.said_dbfs = level_dbfs(frame, PCM_24K)
        wanted = len(heard)
        sound = bytes(self._to_play[:wanted])
        del self._to_play[:wanted]
        heard[:] = sound.ljust(wanted, b"\0")
        self.heard_dbfs = level_dbfs(sound, PCM_24K)
