"""Every test of the kernel runs on the pumped loop and on grpc.aio's own, which is its fallback."""

from __future__ import annotations

from functools import partial

import pytest

from support.world import Serve, World


@pytest.fixture(params=["pumped", "fallback"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Return what makes a world on one of the two loops."""
    return partial(World, pumped=request.param == "pumped")
