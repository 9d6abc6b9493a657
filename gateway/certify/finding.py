"""Finds the speaker of an adapter: ours beside the suite, others by entry point, or the one that is named.

A package that brings an adapter brings its speaker under the same name, in the group of entry points
``talkpath.speakers``.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from gateway.certify import speakers
from gateway.certify.speaker import Speaker

GROUP: Final = "talkpath.speakers"


class SpeakerError(Exception):
    """There is no speaker, or it is none: one sentence that says what to do."""


def find_speaker(adapter: str, named: str = "") -> type[Speaker]:
    """The speaker of an adapter; ``named`` is ``module:Class`` or ``file.py:Class``.

    Raises:
        SpeakerError: when there is none.
    """
    if named:
        return _checked(_named(named), adapter, named)
    for module in pkgutil.iter_modules(speakers.__path__):
        for found in vars(importlib.import_module(f"{speakers.__name__}.{module.name}")).values():
            if isinstance(found, type) and issubclass(found, Speaker) and found.adapter == adapter:
                return found
    for entry in importlib.metadata.entry_points(group=GROUP, name=adapter):
        try:
            found = entry.load()
        except Exception as error:
            raise SpeakerError(f"the speaker {entry.value} cannot be loaded: {error}") from error
        return _checked(found, adapter, entry.value)
    raise SpeakerError(
        f"nobody speaks for the adapter {adapter}: give its far end with --speaker module:Class, or have its package "
        f"bring one in the entry points {GROUP}; docs/howto/new-carrier.md shows how to write one"
    )


def _named(named: str) -> object:
    place, found, name = named.rpartition(":")
    if not found:
        raise SpeakerError(f"--speaker {named} is not module:Class; write such as acme.certify:AcmeSpeaker")
    try:
        module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        why = (error.strerror if isinstance(error, OSError) else "") or error
        raise SpeakerError(f"--speaker {named} cannot be loaded: {why}") from error
    if not hasattr(module, name):
        raise SpeakerError(f"--speaker {named} names no class of {place}; look at its spelling")
    return getattr(module, name)


def _file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"talkpath_speaker_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _checked(found: object, adapter: str, where: str) -> type[Speaker]:
    if not (isinstance(found, type) and issubclass(found, Speaker)):
        raise SpeakerError(f"{where} is no speaker; derive it from gateway.certify.Speaker")
    if found.adapter != adapter:
        raise SpeakerError(f"{where} speaks for {found.adapter or 'no adapter'}, not for {adapter}")
    return found
