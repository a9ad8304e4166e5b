"""What does not hold in several workers that share nothing: refused at start, with what would mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from secure_rpc.configuration import ConfigurationError


class Need(NamedTuple):
    """Something that needs what workers share, and has it not."""

    what: str  # the method or setting, as in "/shop.v1.Shop/Pay is replay_protected"
    why: str  # what would go wrong, a sentence


def refuse_unshared(needs: Sequence[Need], workers: int, *, has_store: bool) -> None:
    """Refuse several workers where something needs them to share what each has by itself.

    Args:
        needs: what is kept in the memory of one process, and would have to be shared.
        workers: how many there are to be.
        has_store: whether the settings name a store.

    Raises:
        ConfigurationError: a problem for each need, with its remedies.
    """
    if workers == 1 or not needs:
        return
    remedies = ['set "workers: 1"']
    if not has_store:
        remedies += [
            'have the service run a store for its workers, "state: { embedded: true, folder: ... }"',
            'or name one that runs, "state: { redis_url: ... }"',
        ]
    remedy = "; ".join(remedies)
    raise ConfigurationError(*(f'"workers" is {workers}, but {need.what}: {need.why}; {remedy}' for need in needs))
