"""The drills that there are, by name; each is told the same, and gives an outcome of the same form."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from secure_rpc.drills import federation, rotation
from secure_rpc.drills.plan import Outcome, Plan


@dataclass(frozen=True, slots=True)
class Drill:
    """One that can be run."""

    description: str
    run: Callable[[Plan], Coroutine[Any, Any, Outcome]]


DRILLS: Mapping[str, Drill] = {
    "rotation": Drill("certificates, CA, policy and workers are replaced under load, and no call fails", rotation.run),
    "federation": Drill("two trust domains become partners, and let in whom they should", federation.run),
}
