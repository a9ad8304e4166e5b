"""The generated service, with all controls but those that tell of calls: no metrics, no log of calls, no audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from order_service import app
from secure_rpc.platform import Application

if TYPE_CHECKING:
    from secure_rpc.chain import Stage
    from secure_rpc.platform import Platform


def build_chain(platform: Platform) -> list[Stage]:
    """Return the service's own stages without two of them."""
    return [stage for stage in app.build_chain(platform) if stage not in (platform.telemetry, platform.audit)]


APPLICATION = Application(build_chain, app.add_services)
