"""Reads scripts of the offline agent: a shipped one by its name, or a file.

Owns that every problem of a script is told at once, each with its line. Refuses to know what a script means, which is
`gateway.agents.offline`'s.
"""

from pathlib import Path
from typing import Final

from gateway.agents.offline import Script, ScriptFile, faults, shown
from gateway.errors import ConfigError
from gateway.runtime.decode import ABSENT, decode
from gateway.runtime.yaml_source import Node, Problems, read_yaml

SCRIPTS: Final = Path(__file__).parent.parent / "agents" / "scripts"
"""Where the shipped ones are."""


def read_script(name: str = "default") -> Script:
    """A shipped script by name, or a script file by its path.

    Raises:
        ConfigError: when there is none, or with everything that is wrong with it.
    """
    path = SCRIPTS / f"{name}.yaml"
    if "/" in name or name.endswith((".yaml", ".yml")) or not path.is_file():
        path = Path(name)
    source = f"script '{name}'"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        shipped = ", ".join(sorted(found.stem for found in SCRIPTS.glob("*.yaml")))
        raise ConfigError(f"{source}: no such file, nor one of the shipped scripts ({shipped})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: is not UTF-8 text; save it as UTF-8") from error
    return Script(_decoded(text, Problems(source)))


def _decoded(text: str, problems: Problems) -> ScriptFile:
    """The script as it is written.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    root = read_yaml(text, None, problems)
    if not problems and root.value in ({}, None):
        problems.add("", None, "is empty; give it phrases, or name a shipped script")
    file = decode(root, ScriptFile, "", problems)
    if file is not ABSENT:  # it is a mapping at least
        intents = _mappings(root.find("intents"))
        for found, sentence in faults(file):
            # intents that are no mappings are none of the decoded ones
            path = ("intents", intents[int(found[1])], *found[2:]) if found[0] == "intents" else found
            if not problems.has(shown(path)):  # its value is a stand-in then
                problems.add(shown(path), root.find(*path), sentence)
    if problems:
        raise ConfigError(*problems.sentences())
    sound: ScriptFile = file
    return sound


def _mappings(section: Node) -> list[int]:
    nodes = section.value if isinstance(section.value, list) else []
    return [index for index, node in enumerate(nodes) if isinstance(node.value, dict | None)]
