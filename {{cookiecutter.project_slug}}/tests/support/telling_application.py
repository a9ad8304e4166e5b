"""A probe whose handlers let slip what they were sent, in every way that handlers do."""

from __future__ import annotations

import logging
import warnings
from collections.abc import AsyncIterator
from typing import Any

import structlog
from opentelemetry import trace

from secure_rpc.call import current_call
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support import probe_application
from support.probe import Servicer


class Telling(Servicer):
    """Raises, logs and traces texts."""

    async def perform(self, ask: pb.Ask, _context: Any) -> Any:
        text = ask.tenant
        if ask.act == "raise_the_text":
            with trace.get_tracer("own").start_as_current_span("own"):
                raise ValueError(f"cannot work with {text}")
        if ask.act == "log_the_text":
            metadata = current_call().metadata
            logging.getLogger("some.library").warning("it was told %s", text)
            logging.getLogger("some.library").error("it was told %r", metadata)
            structlog.get_logger().info("it was told", text=text, metadata=metadata, headers=dict(metadata))
            warnings.warn(f"it was told {text}", stacklevel=1)
            trace.get_current_span().set_attribute("told", text)
            trace.get_current_span().add_event("told", {"text": text})
        return pb.Answer(text="fine")

    async def Public(self, request: pb.Ask, context: Any) -> pb.Answer:
        return await self.perform(request, context)  # type: ignore[no-any-return]

    async def ServerStream(self, request: pb.Ask, context: Any) -> AsyncIterator[pb.Answer]:
        yield await self.perform(request, context)


def add_services(server: Any) -> None:
    """Add the probe."""
    probe_pb2_grpc.add_ProbeServiceServicer_to_server(Telling(), server)


APPLICATION = Application(probe_application.APPLICATION.build_chain, add_services)
