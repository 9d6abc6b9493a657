"""The sections `records`, `audit` and `recording`: what is kept of calls, for how long, and in how much room."""

from typing import Annotated, Literal

from msgspec import Meta

from gateway.settings.section import Count, Secrets, Section


class RecordsSettings(Section, frozen=True, kw_only=True):
    """What is kept of calls."""

    path: str = ""
    """Folder of call journals, whatever its name; made where there is none. Empty keeps none."""
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """Days after which they are deleted."""
    max_bytes: Annotated[int, Meta(ge=1_048_576)] = 1_073_741_824
    """Size of all of them together; when it is reached, the oldest ones are deleted."""
    call_bytes: Annotated[int, Meta(ge=65_536)] = 67_108_864
    """Size of one of them, the sound in a full one not counted; what comes after is left out, and it says so."""
    transcripts: bool = False
    """Whether words, keys and whole numbers are kept."""
    form: Literal["compact", "full"] = "compact"
    """``compact`` keeps how long and how loud sound was; ``full`` keeps every byte of it."""


class AuditSettings(Section, frozen=True, kw_only=True):
    """Who was let in and who was not, in lines that are chained to each other."""

    path: str = ""
    """File of the trail, JSON lines; empty keeps none. One process writes it."""
    key: Secrets = ()
    """Key without which nobody can write the chain anew; several while it is rotated: the first seals, all are believed."""
    sync_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Longest time for which lines may be with the system and not on the disk; 0 waits for the disk after every line."""
    max_bytes: Annotated[int, Meta(ge=65_536)] = 67_108_864
    """Size at which a file is put aside, under the number of its last line, and another one goes on."""
    keep_files: Count = 1000
    """How many of those are kept; the trail itself notes which were deleted."""


class RecordingSettings(Section, frozen=True, kw_only=True):
    """Whether calls are recorded."""

    enabled: bool = False
    """Off unless asked for."""
