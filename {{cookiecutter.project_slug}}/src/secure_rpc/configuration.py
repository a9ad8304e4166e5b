"""What is wrong with something that a person wrote, said so that it can be mended: key, value, place and remedy.

Also reads YAML with the line of each key, and refuses keys that stand twice.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

M = TypeVar("M", bound=BaseModel)
Location: TypeAlias = tuple[str | int, ...]  # ("roles", "reader", "permissions", 0)


MAX_SHOWN_CHARACTERS = 80  # of a wrong value
NOT_SHOWN = "not_shown"  # the kind of a pydantic error whose value may hold a secret


class Section(BaseModel):
    """A part of a file that people write: no key that it does not know, no change after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ConfigurationError(Exception):
    """One or more things in settings, policy or protos that keep the service from starting.

    Args:
        problems: a sentence each, naming key, value, place and remedy.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a remedy for a name that is not known: the nearest one, else those there are."""
    names = sorted(known)
    if near := difflib.get_close_matches(name, names, n=1, cutoff=0.6):
        return f'did you mean "{near[0]}"?'
    return "known: " + (", ".join(names) if names else "none")


def explain(error: ValidationError, model: type[BaseModel], place: Callable[[Location], str]) -> ConfigurationError:
    """Return what pydantic found, a line each: where, which key, which value, and what would do.

    Args:
        error: what validating the model raised.
        model: the outermost model, whose fields tell what a misspelt key may have meant.
        place: gives the file and line, or the environment variable, of a location.
    """
    problems = []
    for found in error.errors(include_url=False):
        location: Location = tuple(found["loc"])
        key = ".".join(str(part) for part in location)
        if found["type"] == "extra_forbidden":
            remedy = did_you_mean(str(location[-1]), _fields_at(model, location[:-1]))
            problems.append(f'{place(location)}: "{key}" is not known; {remedy}')
        elif found["type"] == "missing":
            problems.append(f'{place(location)}: "{key}" is missing; add it')
        elif found["type"] == NOT_SHOWN:
            problems.append(f'{place(location)}: "{key}": {found["msg"]}')
        else:
            value = repr(found["input"])
            shown = value if len(value) <= MAX_SHOWN_CHARACTERS else value[:MAX_SHOWN_CHARACTERS] + "..."
            said = found["msg"].removeprefix("Value error, ")
            problems.append(f'{place(location)}: "{key}" is {shown}: {said}')
    return ConfigurationError(*problems)


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, also in a list or a map; None where it holds plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        if found := model_in(inner):
            return found
    return None


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A YAML file as plain data, and where each key stands."""

    path: Path
    data: Any
    lines: dict[Location, int] = field(default_factory=dict)

    def place(self, location: Location) -> str:
        """Return "file:line" of a key, or of the nearest one around it that exists."""
        while location and location not in self.lines:
            location = location[:-1]
        return f"{self.path}:{self.lines.get(location, 1)}"

    def validated(self, model: type[M]) -> M:
        """Return what is in the file as a model has it.

        Args:
            model: says what may be there.

        Raises:
            ConfigurationError: file, line and remedy of each thing that is wrong.
        """
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise explain(error, model, self.place) from None


def read_yaml(path: Path) -> YamlDocument:
    """Read a YAML file of maps, lists and scalars.

    Raises:
        ConfigurationError: the file cannot be read, is not YAML, or has a key twice.
    """
    return parse_yaml(path, read_text(path))


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigurationError: it cannot be read, or is no UTF-8.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error}); check the path and its permissions") from None


def parse_yaml(path: Path, text: str) -> YamlDocument:
    """Return what a text of YAML holds.

    Args:
        path: where the text comes from.
        text: of maps, lists and scalars.

    Raises:
        ConfigurationError: the text is not YAML, or has a key twice.
    """
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return YamlDocument(path, {})
        lines: dict[Location, int] = {}
        _note_lines(path, node, (), lines, ())
        data = loader.construct_document(node)
        return YamlDocument(path, {} if data is None else data, lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(f"{place}: not valid YAML: {problem}") from None
    except ValueError as error:  # of a date that does not exist
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from None
    finally:
        loader.dispose()


def _note_lines(
    path: Path, node: yaml.Node, location: Location, lines: dict[Location, int], above: tuple[yaml.Node, ...]
) -> None:
    if any(node is each for each in above):
        raise ConfigurationError(f"{path}:{node.start_mark.line + 1}: refers to itself; write out what is meant")
    above = (*above, node)
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(path, item, (*location, index), lines, above)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*location, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                raise ConfigurationError(
                    f'{path}:{line}: the key "{key.value}" stands twice, first in line {lines[here]}; keep one'
                )
            lines[here] = line
            _note_lines(path, value, here, lines, above)
