"""The deadlines of the settings, in the whole server: the client, the audit and the metrics are told the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.target import reason_of, run_target


@pytest.mark.parametrize(
    "limits",
    [{"default_deadline_seconds": 0.2, "max_deadline_seconds": 0.2}, {"max_deadline_seconds": 0.2}],
    ids=["default", "max"],
)
async def test_a_call_that_takes_too_long_is_answered_and_recorded_alike(
    application: Application, tmp_path: Path, limits: dict[str, Any]
) -> None:
    limits = {"default_deadline_seconds": 0} | limits
    async with run_target(application, tmp_path, {"limits": limits}) as target:
        told = await target.ask("Unary", pb.Ask(act="sleep"))
        assert told.code is grpc.StatusCode.DEADLINE_EXCEEDED
        reason = reason_of(told.trailers)
        assert (reason.reason, reason.message) == ("DEADLINE_LIMIT", "the server gives this call 0.2 seconds")
        record = await target.record_of(told)
        assert (record["code"], record["reason"]) == ("DEADLINE_EXCEEDED", "DEADLINE_LIMIT")
        assert await target.is_served()
