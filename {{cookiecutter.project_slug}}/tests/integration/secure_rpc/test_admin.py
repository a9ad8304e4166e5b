"""The port for those who run the service: plain HTTP, no gRPC, nothing of any call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import httpx
import pytest

from support import http2
from support.probe import path_of
from support.target import Target


@pytest.fixture
async def admin(target: Target) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{target.service.server.admin.port}") as client:
        yield client


async def test_a_server_that_serves_is_alive_and_ready(admin: httpx.AsyncClient) -> None:
    health, ready = await admin.get("/healthz"), await admin.get("/readyz")
    assert (health.status_code, health.text) == (200, "ok\n")
    assert (ready.status_code, ready.json()) == (200, {"ready": True})


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [("_grpc_server", None, "starting"), ("_draining", True, "shutting down")],
    ids=["starting", "draining"],
)
async def test_a_server_that_starts_or_drains_is_alive_and_not_ready(
    target: Target,
    admin: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    attribute: str,
    value: object,
    reason: str,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(target.service.server, attribute, value)
        answer = await admin.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "because": [reason]})
        assert (await admin.get("/healthz")).status_code == 200


async def test_calls_are_counted_by_method_and_status(target: Target, admin: httpx.AsyncClient) -> None:
    assert await target.is_served()
    await target.ask("Unary", authorization="")
    answer = await admin.get("/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    name, method = "grpc_server_call_duration_seconds_count", f'grpc_method="{path_of("Unary")[1:]}"'
    assert f'{name}{{{method},grpc_status="OK"}} 1.0' in answer.text
    assert f'{name}{{{method},grpc_status="UNAUTHENTICATED"}} 1.0' in answer.text
    assert (
        f'secure_rpc_refusals_total{{{method},grpc_status="UNAUTHENTICATED",reason="TOKEN_MISSING"}} 1.0' in answer.text
    )
    assert answer.text.endswith("# EOF\n")


async def test_metrics_name_nobody(target: Target, admin: httpx.AsyncClient) -> None:
    assert await target.is_served()
    text = (await admin.get("/metrics")).text
    for name in ("alice", "acme", "developer", "127.0.0.1"):
        assert name not in text


@pytest.mark.parametrize("path", ["/", "/metrics/../", "/debug", "/readyz/", "/openapi.json", "/%2e%2e/etc/passwd"])
async def test_nothing_else_is_to_be_had(admin: httpx.AsyncClient, path: str) -> None:
    answer = await admin.get(path)
    assert answer.status_code in {404, 307}
    assert "server" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed(admin: httpx.AsyncClient, method: str) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await admin.request(method, path)).status_code == 405


async def test_the_port_does_not_speak_grpc(target: Target) -> None:
    port = target.service.server.admin.port
    with pytest.raises(OSError):  # noqa: PT011  # how the other side breaks it off is up to it
        async with http2.connect(port) as connection:
            await connection.answer(await connection.call(path_of("Public").encode()))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert (await target.ask("Public", channel=channel)).code is grpc.StatusCode.UNAVAILABLE
    assert target.calls == 0
