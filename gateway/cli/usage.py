"""Wrong usage of the command line, told in one sentence: what was typed, and what to type instead.

Owns the words. Refuses to decide what is wrong: the command-line library parses, and commands refuse the rest.
"""

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

# The library does not give this class a public name of its own; it is the parent of one that has it.
UsageError: Final[Any] = typer.BadParameter.__base__
"""Every complaint of the command-line library about what was typed."""
LATER: Final = ("explain", "plugins", "dial")
"""Commands that are planned."""
_EXTRA: Final = re.compile(r"unexpected extra argument\S* \((?P<words>.*)\)", re.DOTALL)
_NOUNS: Final = {
    "int": "a whole number",
    "float": "a number",
    "Path": "the name of a file",
    "str": "some text",
}


class Vocabulary(TyperGroup):
    """The commands there are, and what is said about those there are not."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is named first.

        Raises:
            UsageError: when there is none of that name.
        """
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            there = f"there are {listed(self.commands)}"
            if name in LATER:
                ctx.fail(f"talkpath {name} is not there yet; {there}")
            near = get_close_matches(name, self.commands, 1)
            ctx.fail(f"there is no command {name}; " + (f"did you mean {near[0]}?" if near else there))
        return super().resolve_command(ctx, args)


def explain(error: Any, command: str, function: Callable[..., None] | None) -> str:
    """The sentence for a `UsageError` about a command and the function that it is; about none: empty and None."""
    place = f"talkpath {command}".rstrip()
    said = " ".join(_said(error, function, place).split())
    return said if said.startswith("talkpath ") else f"{place}: {said}"


def listed(names: Iterable[str]) -> str:
    """Names as a sentence has them: ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _said(error: Any, function: Callable[..., None] | None, place: str) -> str:
    message, help_page = str(error.message), f"{place} --help shows what it takes"
    # by name, as the classes have no public place in every version of the library
    match type(error).__name__:
        case "NoSuchOption":
            near = _near(error.option_name, error.possibilities or ())
            hint = f"did you mean {near}?" if near else help_page
            return f"there is no option {error.option_name}; {hint}"
        case "MissingParameter":
            if error.param.param_type_name == "argument":
                return f"the {_name(error.param)} is missing; {place} --help shows an example"
            return f"{_name(error.param)} is missing; add {_name(error.param)} {error.param.metavar or 'and a value'}"
        case "BadOptionUsage":
            if "not take" in message:
                return f"{error.option_name} takes no value; write {error.option_name} alone"
            return f"{error.option_name} needs a value behind it; {help_page}"
        case "BadParameter" if error.param is not None and function is not None:
            return f"{_name(error.param)} takes {_expected(function, error.param.name)}"
        case _:
            extra = _EXTRA.search(message)
            return f"{extra['words']}: that is too much; {help_page}" if extra else message


def _near(name: str, possibilities: Iterable[str]) -> str:
    """Those that may be meant; the library counts the dashes, so that to it any two short names are alike."""
    bare = name.lstrip("-")
    near = [one for one in sorted(possibilities) if get_close_matches(bare, [one.lstrip("-")], 1)]
    return listed(near) if near else ""


def _name(parameter: Any) -> str:
    """What is typed for it."""
    name: str = parameter.opts[0]
    return name if name.startswith("-") else name.upper()


def _expected(function: Callable[..., None], name: str) -> str:
    """What kind of value an option takes, from the annotation of the command's parameter."""
    kind, info = get_args(get_type_hints(function, include_extras=True)[name])
    while get_args(kind) and get_origin(kind) is not Literal:  # X | None, list[X]
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    noun = _NOUNS.get(kind.__name__, "another value")
    if info.min is None:
        return noun
    return f"{noun} from {info.min} to {info.max}" if info.max is not None else f"{noun}, {info.min} or more"
