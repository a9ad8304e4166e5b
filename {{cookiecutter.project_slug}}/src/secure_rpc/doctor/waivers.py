"""doctor.yaml: checks that may fail for now, each with its reason and its last day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from secure_rpc.configuration import ConfigurationError, Section, did_you_mean, read_yaml

FILE = Path("doctor.yaml")
CHECK = "waivers"  # holds them to their dates, and cannot be waived itself
LONGEST = timedelta(days=366)


class Waiver(Section):
    """A check that may fail until a day."""

    id: str
    reason: str = Field(min_length=10, max_length=300)
    until: date  # the last day on which it counts


class WaiverFile(Section):
    """The file."""

    version: Literal[1]  # of this format
    waived: tuple[Waiver, ...] = ()

    @model_validator(mode="after")
    def _once_each(self) -> WaiverFile:
        names = [each.id for each in self.waived]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))}: waived twice; keep the one that is meant")
        return self


def load(path: Path, known: Collection[str]) -> tuple[Waiver, ...]:
    """Read the waivers; none where there is no file.

    Args:
        path: the file.
        known: the ids of the checks.

    Raises:
        ConfigurationError: place and remedy of each thing that is wrong.
    """
    if not path.exists():
        return ()
    source = read_yaml(path)
    found = source.validated(WaiverFile).waived
    problems = [
        f'{source.place(("waived", number, "id"))}: there is no check "{each.id}" to waive; '
        f"{did_you_mean(each.id, set(known) - {CHECK})}"
        for number, each in enumerate(found)
        if each.id not in set(known) - {CHECK}
    ]
    if problems:
        raise ConfigurationError(*problems)
    return found
