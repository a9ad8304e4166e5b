"""The page of all settings: what the models have, and what the service's own page says each is for."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from secure_rpc.identity.issuer import Introspection, Issuer
from secure_rpc.quota import Quota
from secure_rpc.settings import PREFIX, Exchange, Settings
from secure_rpc.state.connection import State

from tools.docs_site.reference.tables import code, rows, table

PAGE = Path("docs/settings.md")
UNITS = {"_seconds": "seconds", "_bytes": "bytes", "_percent": "percent", "_per_second": "a second"}
HEAD = ("key, and in the environment", "type and unit", "default", "meaning")
NAMES = {"str": "text", "bool": "`true`, `false`", "int": "whole number", "float": "number", "Path": "path"}
PARTS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("An issuer, one item of `authentication.issuers`", "", Issuer),
    ("Introspection, the value of an issuer's `introspection`", "", Introspection),
    ("Exchange, the value of `authentication.exchange`", "authentication.exchange.", Exchange),
    ("The store that replicas share, the value of `state`", "state.", State),
    ("A quota, one value of `quotas`", "", Quota),
)
INTRODUCTION = f"""# All settings

Made from the models that read them. From the YAML file given by `--config` or by `{PREFIX}CONFIG`, and over it from the
environment; a key that is not known is refused in both. Lists and maps are given there as JSON.
[The service's own page](../service/docs/settings.md) groups them and links to what explains each.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A setting.

    Attributes:
        name: with its sections, by dots.
        kind: its type, for people.
        default: as it is shown.

    """

    name: str
    kind: str
    default: str

    @property
    def unit(self) -> str:
        """Return its unit, which its name ends with; empty where it has none."""
        return next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "")


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Yield the settings of a model and of those in it."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys(inner, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else shown(field.get_default(call_default_factory=True))
        yield Key(prefix + name, kind(inner), default)


def kind(annotation: Any) -> str:
    """Return a type for people: its name, or the values that there are."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind(each) for each in arguments if each is not type(None))
    if origin is not None:
        is_map = issubclass(origin, Mapping)
        return f"map of {kind(arguments[1])}" if is_map else f"list of {kind(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(code(each.value) for each in annotation)
    return NAMES.get(annotation.__name__, str(annotation.__name__))


def shown(value: Any) -> str:
    """Return a default for people."""
    if value is None:
        return "none"
    if isinstance(value, (tuple, list, frozenset)):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"`{key}`" for key in value) or "none"
    if isinstance(value, Enum):
        value = value.value
    return code(value) if value != "" else "empty"


def page() -> str:
    """Return the page.

    Raises:
        KeyError: the service's own page does not say what a setting is for.

    """
    said = rows(PAGE)

    def part(model: type[BaseModel], prefix: str) -> str:
        def names(key: Key) -> str:
            variable = code(PREFIX + (prefix + key.name).upper().replace(".", "__"))
            return f"{code(key.name)}<br>{variable}" if prefix or model is Settings else code(key.name)

        return table(
            HEAD,
            (
                (names(key), f"{key.kind}, {key.unit}".strip(", "), key.default, said[key.name][-1])
                for key in keys(model)
            ),
        )

    sections = [f"## {title}\n\n{part(model, prefix)}" for title, prefix, model in PARTS]
    return "\n".join([INTRODUCTION, part(Settings, ""), *sections])
