"""What several workers can serve: a method that may be made twice, and none that must not; it tells who answered."""

from __future__ import annotations

import asyncio
import importlib
import os
from typing import Any

from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.probe_application import PROBED


class Servicer(probe_pb2_grpc.SteadyServiceServicer):
    async def Get(self, request: pb.Ask, _context: Any) -> pb.Answer:
        while request.act and not os.path.exists(request.act):  # noqa: ASYNC110, ASYNC240, PTH110  # until that file is there
            await asyncio.sleep(0.02)
        return pb.Answer(text=str(os.getpid()))


def add_services(server: Any) -> None:
    """Add it."""
    probe_pb2_grpc.add_SteadyServiceServicer_to_server(Servicer(), server)


APPLICATION = Application(importlib.import_module(PROBED).APPLICATION.build_chain, add_services)
