"""What a drill has a use for: a method that may be made twice, and streams that stay open."""

from __future__ import annotations

import importlib
from typing import Any

from secure_rpc.platform import Application

from support import probe_application, steady_application
from support.probe_application import PROBED


def add_services(server: Any) -> None:
    """Add both services of the probe."""
    probe_application.add_services(server)
    steady_application.add_services(server)


APPLICATION = Application(importlib.import_module(PROBED).APPLICATION.build_chain, add_services)
