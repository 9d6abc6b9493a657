"""Tests of the written configuration: the published texts are those of the source."""

import subprocess
import sys
from pathlib import Path

import msgspec
import yaml

from gateway.runtime.schema import (
    built_in_kinds,
    configuration_reference,
    configuration_schema,
    field_docs,
    main,
)
from gateway.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def test_the_published_texts_are_in_step() -> None:
    """Run `python -m gateway.runtime.schema` again when this fails."""
    published = msgspec.json.decode((DOCS / "gateway.schema.json").read_bytes())
    assert published == msgspec.json.decode(msgspec.json.encode(configuration_schema()))
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == configuration_reference()


def test_every_key_is_documented() -> None:
    """Each field of each section has its line."""
    agents, adapters = built_in_kinds()
    structs: list[type[msgspec.Struct]] = [*agents.values(), *adapters.values()]
    for field in msgspec.structs.fields(Settings):
        inner = getattr(field.type, "__args__", (field.type,))
        structs += [kind for kind in inner if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    missing = [
        f"{struct.__name__}.{field.name}"
        for struct in structs
        for field in msgspec.structs.fields(struct)
        if not field_docs(struct).get(field.name)
    ]
    assert not missing


def test_the_schema_knows_the_keys_of_the_repositorys_configuration() -> None:
    """Whatever gateway.yaml uses, an editor accepts."""
    document = yaml.safe_load((DOCS.parents[1] / "gateway.yaml").read_text(encoding="utf-8"))
    known = configuration_schema()["properties"]
    assert document.keys() <= known.keys()
    for name, section in document.items():
        if name not in ("agents", "adapters", "regions", "routes"):
            assert section.keys() <= known[name]["properties"].keys()
    voice_agent = next(
        one
        for one in known["agents"]["additionalProperties"]["anyOf"]
        if one["properties"].get("kind") == {"const": "voice_agent"}
    )
    assert document["agents"]["support"].keys() <= voice_agent["properties"].keys()


def test_the_command_prints_either_text() -> None:
    """Either json or markdown; anything else is wrong usage."""
    ran = subprocess.run(
        [sys.executable, "-m", "gateway.runtime.schema", "markdown"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == configuration_reference()
    assert main([]) == 2
