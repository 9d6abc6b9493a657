"""The pages of the documentation, as the tests read them."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import msgspec

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "plugins").rglob("*.md")),
]
CHANGES = sorted((ROOT / "docs" / "changes").iterdir())
BLOCK = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
# what the configurations in the pages read from the environment
ENVIRONMENT = (
    "ASSEMBLYAI_API_KEY",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_AUTH_TOKEN_NEXT",
    "VONAGE_APPLICATION_ID",
    "VONAGE_SIGNATURE_SECRET",
    "TALKPATH_AUDIT_KEY",
    "TALKPATH_KEY",
    "TALKPATH_KEY_NEXT",
)


class Block(msgspec.Struct, frozen=True):
    """A fenced block of a page."""

    page: Path
    kind: str
    """What stands behind the fence."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.strip().partition(chr(10))[0][:40]}"


def blocks(*kinds: str) -> list[Block]:
    return [
        Block(page, found[2].strip(), found[3])
        for page in PAGES
        for found in BLOCK.finditer(page.read_text())
        if found[2].split(" ")[0].strip() in kinds
    ]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text())


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
