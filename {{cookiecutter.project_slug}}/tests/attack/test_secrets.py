"""Secrets are put wherever a secret can be; nothing that the service emits shows one."""

from __future__ import annotations

import base64
import os
import re
import secrets
import signal
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest

from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.collector import run_collector
from support.processes import Served, serve_process
from support.target import TRUST_DOMAIN
from support.world import ending

ACTS = ("raise_the_text", "log_the_text", "answer")


def made() -> dict[str, str]:
    """Return a secret of every look that is known."""
    return {
        "token": jwt.encode({"sub": secrets.token_hex(8)}, "k" * 32, algorithm="HS256"),
        "key": f"k{secrets.token_hex(3)}.{secrets.token_urlsafe(32)}",
        "bearer": "Bearer " + secrets.token_urlsafe(24),
        "basic": "Basic " + base64.b64encode(secrets.token_bytes(24)).decode(),
        "url": f"rediss://user:{secrets.token_hex(12)}@store:6379/0",
        "pem": client_key(),
    }


def client_key() -> str:
    return Authority.create("x").issue(client_request("x", TRUST_DOMAIN)).key_pem.decode()


def worth(secret: str) -> set[str]:
    """Return the pieces of a secret that nobody may see."""
    return set(re.findall(r"[A-Za-z0-9+/_-]{20,}", secret))


async def call_with(channel: grpc.aio.Channel, **shown: Any) -> None:
    stub: Any = probe_pb2_grpc.ProbeServiceStub(channel)
    metadata = shown.pop("metadata", ())
    for shape in ("Unary", "Public", "ServerStream"):
        await ending(getattr(stub, shape)(pb.Ask(**shown), metadata=metadata, timeout=10))
    unknown: Any = channel.unary_unary("/no.such.Service/Method")
    await ending(unknown(b"", metadata=metadata, timeout=10))


@pytest.mark.parametrize("level", ["debug"])
async def test_no_secret_is_shown_wherever_it_was(application: Application, tmp_path: Path, level: str) -> None:
    kinds = made()
    files = {name: secrets.token_urlsafe(32) for name in ("store-password", "client-secret")}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    in_environment = secrets.token_urlsafe(32)
    os.environ["SOME_SECRET_OF_THE_MACHINE"] = in_environment
    with run_collector() as collector:
        settings = {
            "logging": {"level": level},
            "tracing": {"otlp_endpoint": collector.url, "sample_ratio": 1.0, "propagate_baggage": True},
            "revocation": {"refuse_when_shared_stale": False},  # what they share is not to be had here
            "state": {"redis_url": "redis://127.0.0.1:1/0", "password_file": str(tmp_path / "store-password")},
        }
        try:
            async with serve_process(
                application, tmp_path, settings, served_module="support.telling_application"
            ) as served:
                channel = await served.channel("")
                tokens = [served.token(caller) for caller in ("alice", "mallory")]
                for token in tokens:
                    await call_with(channel, act="answer", metadata=[("authorization", f"Bearer {token}")])
                    await call_with(channel, act="answer", metadata=[("authorization", f"Bearer {token}x")])
                alice = ("authorization", f"Bearer {tokens[0]}")
                for text in kinds.values():
                    line = " ".join(text.split())
                    for act in ACTS:
                        await call_with(channel, act=act, name="", tenant=text, metadata=[alice])
                    await call_with(channel, act="answer", metadata=[alice, ("cookie", f"session={line}")])
                    await call_with(channel, act="answer", metadata=[("authorization", line)])
                    await call_with(channel, act="answer", metadata=[alice, ("x-api-key", line)])
                    await call_with(channel, act="answer", metadata=[alice, ("x-any", line), ("tracestate", "a=1")])
                    await call_with(channel, act="answer", metadata=[alice, ("x-any-bin", text.encode())])
                seen = await emitted(served)
                served.signal(signal.SIGTERM)
                await served.process.ended()
                seen["log"] = "\n".join([*map(str, served.process.lines), *served.process.text])
                seen["audit"] = "".join(map(Path.read_text, served.settings.audit.file.parent.iterdir()))
        finally:
            del os.environ["SOME_SECRET_OF_THE_MACHINE"]
        seen["traces"] = b"".join(collector.raw).decode("latin-1")
    assert all(len(text) > 500 for text in seen.values())
    assert "it was told" in seen["log"]
    assert "Traceback" in seen["log"]
    hidden = {*kinds.values(), *tokens, *files.values(), in_environment}
    hidden |= {(served.files.folder / name).read_text() for name in ("server.key", "ca.key")}
    shown = {
        (where, piece) for where, text in seen.items() for secret in hidden for piece in worth(secret) if piece in text
    }
    assert shown == set()


async def emitted(served: Served) -> dict[str, str]:
    async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
        found = [await admin.get(path) for path in ("/metrics", "/readyz", "/healthz", "/debug")]
    return {"admin": "\n".join(f"{answer.headers} {answer.text}" for answer in found)}
