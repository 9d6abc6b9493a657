"""What every section of the configuration is made of.

Owns the struct that refuses unknown keys, texts that never print themselves, and ranges that several sections share.
"""

from typing import Annotated

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Secret:
    """A text that never prints itself; `reveal` gives it where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


Secrets = tuple[Secret, ...]
"""One value in the file, or a list of them while they are rotated; the first is the one we sign with."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of the configuration; unknown keys are errors."""
