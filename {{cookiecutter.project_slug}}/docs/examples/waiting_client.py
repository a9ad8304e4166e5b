"""A client that waits as it is told; docs/calling.md quotes it."""

from __future__ import annotations

from typing import Any

from secure_rpc.client_retry import when_allowed


async def create(stub: Any, request: Any) -> Any:
    """Make a call that must not be made twice, and wait for up to a minute where the quota is used up."""

    async def call() -> Any:
        return await stub(request, timeout=10)

    return await when_allowed(call, domain="{{ cookiecutter.project_slug }}", within_seconds=60)
