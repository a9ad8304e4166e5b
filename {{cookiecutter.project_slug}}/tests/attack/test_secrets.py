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
import jwt
import pytest
from starlette.responses import Response

from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.collector import run_collector
from support.https import Seen, https_server
from support.processes import module_of, serve_process
from support.secret_places import Places, told_by_admin, told_by_commands
from support.target import TRUST_DOMAIN
from support.world import Ending, ending

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


class Caller:
    """Shows secrets, and keeps what it was answered.

    Args:
        channel: to the service.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.answers: list[Ending] = []

    async def call(self, **shown: Any) -> None:
        stub: Any = probe_pb2_grpc.ProbeServiceStub(self._channel)
        metadata = shown.pop("metadata", ())
        for shape in ("Unary", "Public", "ServerStream"):
            self.answers.append(await ending(getattr(stub, shape)(pb.Ask(**shown), metadata=metadata, timeout=10)))
        unknown: Any = self._channel.unary_unary("/no.such.Service/Method")
        self.answers.append(await ending(unknown(b"", metadata=metadata, timeout=10)))

    @property
    def told(self) -> str:
        """Return all that was said of errors, the details in the trailers among it."""
        trailers = (value for answer in self.answers for value in answer.trailers.values())
        texts = (value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in trailers)
        return "\n".join([*(f"{answer.details} {answer.messages}" for answer in self.answers), *texts])


def echo(seen: Seen) -> Response:
    """Answer with all that was asked, as no issuer should: with the client's secret, and the caller's token."""
    return Response(f"{seen.headers} {seen.form}", 500)


@pytest.mark.parametrize("level", ["debug"])
async def test_no_secret_is_shown_wherever_it_was(application: Application, tmp_path: Path, level: str) -> None:
    kinds = made()
    places = Places(tmp_path, *(secrets.token_urlsafe(32) for _ in range(3)))
    in_environment = secrets.token_urlsafe(32)
    os.environ["SOME_SECRET_OF_THE_MACHINE"] = in_environment
    with (
        run_collector() as collector,
        https_server(tmp_path / "issuer", Authority.create("issuer's CA")) as issuers_server,
    ):
        issuers_server.answer = echo
        settings = {
            "logging": {"level": level},
            "tracing": {"otlp_endpoint": collector.url, "sample_ratio": 1.0, "propagate_baggage": True},
            **places.settings(issuers_server),
        }
        try:
            async with serve_process(
                application, tmp_path, settings, served_module="support.telling_application"
            ) as served:
                caller = Caller(await served.channel(""))
                tokens = [served.token(name) for name in ("alice", "mallory")]
                for token in tokens:
                    await caller.call(act="answer", metadata=[("authorization", f"Bearer {token}")])
                    await caller.call(act="answer", metadata=[("authorization", f"Bearer {token}x")])
                alice = ("authorization", f"Bearer {tokens[0]}")
                for text in kinds.values():
                    line = " ".join(text.split())
                    for act in ACTS:
                        await caller.call(act=act, name="", tenant=text, metadata=[alice])
                    await caller.call(act="answer", metadata=[alice, ("cookie", f"session={line}")])
                    await caller.call(act="answer", metadata=[("authorization", line)])
                    await caller.call(act="answer", metadata=[alice, ("x-api-key", line)])
                    await caller.call(act="answer", metadata=[alice, ("x-any", line), ("tracestate", "a=1")])
                    await caller.call(act="answer", metadata=[alice, ("x-any-bin", text.encode())])
                for key in (places.api_key, f"{places.api_key}x"):
                    await caller.call(act="log_the_text", tenant=key, metadata=[("x-api-key", key)])
                seen = {"admin": await told_by_admin(served), "answers": caller.told}
                served.signal(signal.SIGTERM)
                await served.process.ended()
                seen["log"] = "\n".join([*map(str, served.process.lines), *served.process.text])
                seen["audit"] = "".join(map(Path.read_text, served.settings.audit.file.parent.iterdir()))
                misplaced = {"SECURE_RPC_STATE__REDIS_URL": kinds["url"], "SECURE_RPC_TLS__KEY_FILE": kinds["pem"]}
                seen["commands"] = await told_by_commands(tmp_path, module_of(application), tokens[0], misplaced)
        finally:
            del os.environ["SOME_SECRET_OF_THE_MACHINE"]
        seen["traces"] = b"".join(collector.raw).decode("latin-1")
    assert all(len(text) > 500 for text in seen.values())
    assert "it was told" in seen["log"]
    assert "Traceback" in seen["log"]
    assert issuers_server.seen[0].form["token"]  # it was shown the secret, and said it
    hidden = {*kinds.values(), *tokens, *places.secrets, in_environment}
    hidden |= {(served.files.folder / name).read_text() for name in ("server.key", "ca.key")}
    shown = {
        (where, piece) for where, text in seen.items() for secret in hidden for piece in worth(secret) if piece in text
    }
    assert shown == set()
