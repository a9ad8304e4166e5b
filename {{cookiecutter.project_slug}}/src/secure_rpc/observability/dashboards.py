"""The dashboards: how well promises are kept, what is wrong just now, and why."""

from __future__ import annotations

from secure_rpc.observability.dashboard_debug import debug
from secure_rpc.observability.dashboard_executive import executive
from secure_rpc.observability.dashboard_on_call import on_call
from secure_rpc.observability.objectives import Promises
from secure_rpc.observability.panels import Dashboard


def dashboards(promises: Promises) -> tuple[Dashboard, ...]:
    """Return all of them.

    Args:
        promises: of the service.
    """
    return executive(promises), on_call(promises), debug()
