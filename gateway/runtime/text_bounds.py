"""What a caller's text may hold, found out before any of it is built.

Owns the bound on how many values one message has: a megabyte of tiny ones costs hundreds of times what a megabyte of
words does. Refuses to read JSON: it counts marks, a few milliseconds for the longest message there is.
"""

from typing import Final

from gateway.errors import WireError

MOST_VALUES: Final = 8192
"""Values in one message: a hundred tools with twenty arguments each have fewer."""
_MARKS: Final = ",{["


def marks_in(text: str) -> int:
    """Marks by which a text of JSON would divide values, those within its words counted too."""
    return sum(map(text.count, _MARKS))


def bound_values(text: str) -> None:
    """Let a text of JSON pass that has few values, however many words.

    Raises:
        WireError: when it has more, in one sentence.
    """
    if marks_in(text) <= MOST_VALUES:
        return
    # backslashes go in pairs before quotes that have one do, so that what is left begins or ends words
    plain = text.replace("\\\\", "").replace('\\"', "")
    if plain.count('"') <= 4 * MOST_VALUES and marks_in("".join(plain.split('"')[::2])) <= MOST_VALUES:
        return
    raise WireError(f"the message has more than {MOST_VALUES} values; send fewer at once")
