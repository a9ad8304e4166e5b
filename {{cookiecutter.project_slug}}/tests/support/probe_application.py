"""The probe behind the chain of the service that the environment names, to be served by a process of its own."""

from __future__ import annotations

import importlib
import os
from typing import Any

from secure_rpc.platform import Application

from probe.v1 import probe_pb2_grpc
from support.probe import Servicer

PROBED = os.environ["PROBED_APPLICATION"]  # the module in which the service keeps its own


def add_services(server: Any) -> None:
    """Add the probe."""
    probe_pb2_grpc.add_ProbeServiceServicer_to_server(Servicer(), server)


APPLICATION = Application(importlib.import_module(PROBED).APPLICATION.build_chain, add_services)
