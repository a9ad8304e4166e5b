"""A stream that is refused while its requests are on their way ends with what the server says of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.target import reason_of, run_target

TIMES = 200  # without it, some twenty of these end as INTERNAL


@pytest.mark.parametrize("shape", ["ClientStream", "Bidi"])
async def test_it_says_why_each_time(application: Application, tmp_path: Path, shape: str) -> None:
    async with run_target(application, tmp_path) as target:
        stub: Any = probe_pb2_grpc.ProbeServiceStub(target.service.connect())
        told: Counter[str] = Counter()
        for _ in range(TIMES):
            call = getattr(stub, shape)(iter([pb.Ask(act="anything")] * 3))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (call if shape == "ClientStream" else call.read())
            told[f"{caught.value.code().name} {reason_of(dict(caught.value.trailing_metadata() or ())).reason}"] += 1
        assert told == {"UNAUTHENTICATED TOKEN_MISSING": TIMES}
