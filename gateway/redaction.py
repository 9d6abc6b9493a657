"""What must not be read by anybody, taken out of texts: secrets, tokens, telephone numbers, and what plugins add.

Owns the one redaction point, `REDACTION`: every text that leaves the process for a log, a terminal, a file or a peer's
eyes passes through it (`gateway.runtime.sinks` puts it in front of them). It knows the configured secrets by their
value, in the forms in which texts carry them, and everything else by its shape. Refuses what people say: words have no
shape, so they must not be written in the first place. Never used for sound.
"""

import base64
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

from msgspec import Struct

MASK: Final = "•••"
"""What stands in place of what was taken out."""
SHORTEST_SECRET: Final = 8
"""Shorter texts are not looked for: they would be found in every other word."""
LONGEST_SECRET: Final = 65_536
MOST_SECRETS: Final = 10_000
"""Values that are remembered, those of earlier configurations included; the oldest are forgotten first."""
LONGEST_TEXT: Final = 262_144
"""What is behind this is not searched, and therefore cut off."""

_NUMBER: Final = re.compile(r"(?<![\w+])\+?\d[\d \-()]{5,}\d(?!\w)")
"""A telephone number within a sentence of somebody else's; not the digits within an id."""
_SURE_NUMBER: Final = re.compile(
    r"""(?: (?<![\d.+])\+\d[\d ().-]{5,18}\d               # +1 415 555-5309
          | (?: (?<![\w.+]) | (?<=%2B) )                     # not within an id; %2B is a plus in an address
            (?: \(\d{3}\)\s?\d{3}[ .-]\d{4}                # (415) 555-5309
              | \d{3}[.-]\d{3}[.-]\d{4}                    # 415-555-5309
              | \d{10,15}                                  # 447700900123, as Vonage writes them
            )
        ) (?!\w|\.\d)""",
    re.VERBOSE | re.IGNORECASE,
)
# Sizes, moments and lengths of ours are long figures too; their names end in the unit.
_MEASURED: Final = re.compile(r"(?:bytes|_s|_ms|_ns|_at|size|count|seconds|pid)\W{0,4}$", re.IGNORECASE)

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, marks of direction, halves of characters and line ends."""
_DASHED: Final = re.compile(r"(?<![\w-])\w+(?:-\w+){3,}")
_UUID: Final = re.compile(
    r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE
)
_DIGIT_BY_LETTER: Final = re.compile(r"\d[A-Za-z]|[A-Za-z]\d")

_MIXED: Final = r"(?=[\w-]*[a-z])(?=[\w-]*[A-Z])"
_SHAPES: Final = tuple(
    (re.compile(pattern), shown)
    for pattern, shown in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", MASK),
        (r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", MASK),  # a JSON Web Token
        (r"(?i)\b((?:basic|bearer)\s+)(?=\S*[\d=])[\w.~+/=-]{8,}", rf"\g<1>{MASK}"),
        (r"(?i)\b(bearer\s+)[\w.~+/=-]{16,}", rf"\g<1>{MASK}"),
        (r"(?i)\b((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)(?!bearer|basic)[^\s\"',}]{4,}", rf"\g<1>{MASK}"),
        (r"(?i)([?&](?:token|key|api_?key|secret|password|signature|sig|resume_token|code)=)[^\s&\"'<>]+", rf"\g<1>{MASK}"),
        (r"(://)[^\s/@\"']*:[^\s/@\"']+(@)", rf"\g<1>{MASK}\g<2>"),  # the user and password of an address
        (r"(/v1/ws/\w+/)[\w-]{16,}", rf"\g<1>{MASK}"),
        (rf"(?<![\w-]){_MIXED}(?:[\w-]{{64}}|[\w-]{{43}})(?![\w-])", MASK),  # as we and the provider mint them
        (r"\b(?:sk|pk|rk)[-_](?=[\w-]*\d)[\w-]{16,}", MASK),
    )
)  # fmt: skip


def mask_number(party: str) -> str:
    """Hide the middle of a telephone number, ``+1415•••5309``, and all but the first letter of a name."""
    digits = re.sub(r"[^\d+]", "", party)
    if len(digits) < len(party.strip()) / 2:
        return party[:1] + MASK if party else ""
    if len(digits) >= 11:
        return digits[:5] + MASK + digits[-4:]
    return digits[:2] + MASK + digits[-2:] if len(digits) >= 7 else MASK if digits else ""


def mask_numbers(text: str) -> str:
    """Hide whatever may be a telephone number in a sentence."""
    return _outside_ids(_NUMBER, text, lambda found: mask_number(found[0]))


def dotted_numbers(text: str) -> str:
    """A sentence with a dot for each figure of its telephone numbers, where its length must stay the same."""
    for pattern in (_SURE_NUMBER, _NUMBER):
        text = _outside_ids(pattern, text, lambda found: re.sub(r"\d", "•", found[0]))
    return text


def _outside_ids(pattern: re.Pattern[str], text: str, show: Callable[[re.Match[str]], str]) -> str:
    """Replace what is found in a text, but for ids with dashes: a group of one may be figures alone."""
    if not pattern.search(text):
        return text
    shown: list[str] = []
    at = 0
    for found in pattern.finditer(_without_ids(text)):
        shown += (text[at : found.start()], show(found))
        at = found.end()
    return "".join((*shown, text[at:]))


def _without_ids(text: str) -> str:
    """The text with a gap of the same length for each uuid, and for each run of groups that is an id."""
    text = _UUID.sub(_gap, text)
    return _DASHED.sub(lambda run: _gap(run) if _is_id(run[0]) else run[0], text)


def _gap(found: re.Match[str]) -> str:
    return "\0" * len(found[0])


def _is_id(run: str) -> bool:
    """Groups of which two at least mix letters and figures; a number behind words is none."""
    return sum(1 for group in run.split("-") if _DIGIT_BY_LETTER.search(group)) > 1


def _without_sure_numbers(text: str) -> str:
    def masked(found: re.Match[str]) -> str:
        before = text[max(0, found.start() - 16) : found.start()]
        measured = not found[0].startswith("+") and _MEASURED.search(before)
        return found[0] if measured else mask_number(found[0])

    return _outside_ids(_SURE_NUMBER, text, masked)


class Redactor(Struct, frozen=True):
    """Something more that is taken out of texts; plugins register these with `register_redactors`."""

    name: str
    """Shown when it fails."""
    find: re.Pattern[str]
    """What it may be; must be quick on any text, since it runs for every line that is logged."""
    show: Callable[[str], str] = lambda _found: MASK
    """What to write in place of what was found; the same text again where it is nothing to hide."""


class Redaction:
    """Takes out what it was told of and what has the shape of it; safe to use from any thread."""

    def __init__(self) -> None:
        self._secrets: dict[str, tuple[str, ...]] = {}
        self._forms: tuple[str, ...] = ()
        self._redactors: tuple[Redactor, ...] = ()

    def learn(self, secrets: Iterable[str]) -> None:
        """Look for these from now on; secrets that were learned before are not forgotten while calls may use them."""
        known = dict(self._secrets)
        for secret in secrets:
            if SHORTEST_SECRET <= len(secret.strip()) <= LONGEST_SECRET:
                known.pop(secret, None)
                known[secret] = tuple(_forms(secret))
        while len(known) > MOST_SECRETS:
            del known[next(iter(known))]
        forms = {form for of_one in known.values() for form in of_one}
        # The longest first: a part must not be taken out of a whole that is then not found any more.
        self._secrets, self._forms = known, tuple(sorted(forms, key=len, reverse=True))

    def use(self, redactors: Iterable[Redactor]) -> None:
        """Take out what these find as well, instead of what those before them found."""
        self._redactors = tuple(redactors)

    def clean(self, text: str) -> str:
        """A text without secrets, tokens, telephone numbers and what plugins hide."""
        text = self.without_secrets(text)
        for redactor in self._redactors:
            text = _redacted(text, redactor)
        return _without_sure_numbers(text)

    def sentence(self, text: str) -> str:
        """A sentence of a peer's as others are told it: clean, in one line, and without signs that nobody sees."""
        seen = "".join(" " if unicodedata.category(sign) in _UNSEEN else sign for sign in text)
        return self.clean(" ".join(seen.split()))

    def sentences(self, message: str) -> str:
        """A message of a peer's, as JSON text, with every text in it as others are told it; empty when it is none."""
        try:
            read = json.loads(message)
            return json.dumps(_told(read, self.sentence), ensure_ascii=False, separators=(",", ":"))
        except (ValueError, RecursionError):
            return ""

    def without_secrets(self, text: str) -> str:
        """A text without secrets and tokens; for those who have a right to the numbers."""
        text = self.without_known(text)
        for pattern, shown in _SHAPES:
            text = pattern.sub(shown, text)
        return text

    def without_known(self, text: str) -> str:
        """A text without the secrets of the configuration; for those who have asked for a token."""
        if len(text) > LONGEST_TEXT:
            text = f"{text[:LONGEST_TEXT]} (cut here: too long to be searched for secrets)"
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def dotted(self, text: str) -> str:
        """A text whose secrets have a dot for each letter, where its length must stay the same."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, "•" * len(form))
        for pattern, _ in _SHAPES:
            text = pattern.sub(lambda found: re.sub(r"\S", "•", found[0]), text)
        return text


def _told(value: Any, sentence: Callable[[str], str]) -> Any:
    """A value with every text in it as ``sentence`` gives it; raises RecursionError where it is nested beyond measure."""
    if isinstance(value, str):
        return sentence(value)
    if isinstance(value, list):
        return [_told(one, sentence) for one in value]
    if isinstance(value, dict):
        return {sentence(name): _told(one, sentence) for name, one in value.items()}
    return value


def _redacted(text: str, redactor: Redactor) -> str:
    try:
        return redactor.find.sub(lambda found: redactor.show(found[0]), text)
    except Exception as error:  # noqa: BLE001 - a plugin's; what it was to hide must not be shown because it failed
        return f"(left out: the redactor {redactor.name} failed with {type(error).__name__})"


def _forms(secret: str) -> Iterator[str]:
    """What a secret looks like in addresses, headers, JSON, tracebacks and markup."""
    secret = secret.strip()
    plain = [secret]
    if "\n" in secret:  # a key in PEM form is printed line by line
        plain += [
            line.strip() for line in secret.splitlines() if len(line.strip()) >= 16 and "-----" not in line
        ]
    for text in plain:
        yield text
        for encoded in (quote(text, safe=""), quote(text), quote_plus(text)):
            yield encoded
            yield re.sub(r"%..", lambda found: found[0].lower(), encoded)
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield repr(text)[1:-1]
        yield html.escape(text)
        yield from _in_base64(text.encode("utf-8", "replace"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """Its base64 wherever it begins within a longer text, as behind the name in ``Authorization: Basic``."""
    for before, spoiled in ((0, 0), (1, 2), (2, 3)):
        whole = base64.b64encode(bytes(before) + secret).decode()
        certain = len(whole.rstrip("=")) - (1 if (before + len(secret)) % 3 else 0)
        form = whole[spoiled:certain]
        if len(form) >= SHORTEST_SECRET:
            yield form
            yield form.replace("+", "-").replace("/", "_")


_TELLING: Final = re.compile(
    r"(?i)(?:^|[_.-])(?:key|keys|token|secret|password|passwd|pass|pin|authorization|auth_token|credentials?)\d*$"
    r"|api_?key|secret|password|private_key$|auth_?token"
)


def names_a_secret(name: str) -> bool:
    """Whether what stands under such a name, a key or a variable, is most likely a secret."""
    return bool(_TELLING.search(name)) and not name.lower().endswith(("_file", "_path", "_url", "_s"))


def looks_secret(text: str) -> bool:
    """Whether a text looks as if a machine had made it to be secret; good for hiding it, not for more."""
    if "PRIVATE KEY-----" in text:
        return True
    runs = re.findall(r"[A-Za-z0-9]{16,}", text)
    return any(re.search(r"\d", run) and re.search(r"[A-Za-z]", run) for run in runs)


REDACTION: Final = Redaction()
"""What this process hides; the loader of the configuration tells it of secrets and plugins."""


def secrets_of(value: Any) -> Iterator[str]:
    """Every secret within a section of the configuration, however deep."""
    reveal = getattr(value, "reveal", None)
    if callable(reveal):
        yield str(reveal())
    elif isinstance(value, dict):
        for below in value.values():
            yield from secrets_of(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from secrets_of(below)
    elif hasattr(value, "__struct_fields__"):
        for name in value.__struct_fields__:
            yield from secrets_of(getattr(value, name))
