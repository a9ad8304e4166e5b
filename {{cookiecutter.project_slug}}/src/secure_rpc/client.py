"""A client's channel: certificate, a fresh token and replay proof for each attempt, deadline, and safe retries."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from secure_rpc.configuration import ConfigurationError
from secure_rpc.stages.authentication import API_KEY
from secure_rpc.stages.replay import NONCE_KEY, TIME_KEY
from secure_rpc.token_sources import TokenSource
from secure_rpc.v1 import access_pb2

NONCE_BYTES = 16
CREDENTIAL_KEYS = frozenset({"authorization", "proxy-authorization", "cookie", API_KEY})
RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2.0,
    # gRPC's servers end with CANCELLED what reaches them while they shut down, before anybody has seen it
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def connect(  # noqa: PLR0913  # each is a choice of its own
    target: str,
    *,
    certificate_file: Path,
    key_file: Path,
    ca_file: Path,
    services: Iterable[ServiceDescriptor] = (),
    token: TokenSource | None = None,
    api_key: TokenSource | None = None,
    server_name: str = "",
    deadline_seconds: float = 10.0,
) -> grpc.aio.Channel:
    """Return a channel to a service. There is no way to make one without TLS, so no token travels in plaintext.

    Args:
        target: "host:port", or any other gRPC name.
        certificate_file: ours, then its intermediates, PEM.
        key_file: of our certificate, PEM.
        ca_file: the CAs whose servers we trust, PEM.
        services: those that will be called. Methods that their protos mark as without side effects or idempotent
            are tried again when the server is unavailable, no other is; methods that ask for a replay proof get one.
        token: gives the access token, "" or None for none; `token_sources` has sources that refresh.
        api_key: gives the API key, None for none.
        server_name: the name in the server's certificate, where the target does not say it.
        deadline_seconds: of unary calls that set none.

    Raises:
        ConfigurationError: a file cannot be read, or is empty.
    """
    services = list(services)
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(_service_config(services))),
        ("grpc.keepalive_time_ms", 300_000),  # servers take more frequent pings for an attack
        ("grpc.initial_reconnect_backoff_ms", 100),  # by default a second: longer than all attempts at a call together
    ]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    transport = grpc.ssl_channel_credentials(_read(ca_file), _read(key_file), _read(certificate_file))
    proofs = grpc.metadata_call_credentials(_Proofs(token, api_key, _replay_protected(services)))
    return grpc.aio.secure_channel(
        target,
        grpc.composite_channel_credentials(transport, proofs),
        options=options,
        interceptors=[_Deadline(deadline_seconds)],
    )


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    """Return the error that says how a call ended.

    Where the server refuses a stream while its requests are still being written, what is raised first is the
    failed write, as INTERNAL; the status that came, and its details, are known to the call alone.

    Args:
        call: a `grpc.aio` call of any kind that has raised.
    """
    return grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )


def connect_plaintext(target: str) -> grpc.aio.Channel:
    """Return a channel without TLS, to a sidecar on this machine that adds it. No credential is ever sent on it.

    gRPC itself refuses call credentials on such a channel, but sends hand-written ones in plaintext.

    Args:
        target: "127.0.0.1:port", "[::1]:port", "localhost:port" or "unix:path".

    Raises:
        ConfigurationError: the target may be on another machine.
    """
    host = target.removeprefix("dns:///").rpartition(":")[0].strip("[]")
    if not target.startswith(("unix:/", "unix:///")) and host not in {"127.0.0.1", "::1", "localhost"}:
        raise ConfigurationError(f"{target}: plaintext stays on this machine; use connect() to go further")
    options = [("grpc.enable_http_proxy", 0)]  # one that the environment names may be on another machine
    return grpc.aio.insecure_channel(
        target,
        options=options,
        interceptors=(_NoneInUnaryUnary(), _NoneInUnaryStream(), _NoneInStreamUnary(), _NoneInStreamStream()),
    )


class _NoCredentials:
    """End calls that would show a credential to whoever listens."""

    async def _go_on(self, continuation: Any, details: Any, request: Any) -> Any:
        for key, _ in details.metadata or ():
            if key.lower() in CREDENTIAL_KEYS:
                raise PermissionError(f'"{key}" is not sent in plaintext; use connect()')
        return await continuation(details, request)


# gRPC takes an interceptor for one kind of call alone, the first that it finds in it: so there is a class for each
class _NoneInUnaryUnary(_NoCredentials, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._go_on(continuation, client_call_details, request)


class _NoneInUnaryStream(_NoCredentials, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._go_on(continuation, client_call_details, request)


class _NoneInStreamUnary(_NoCredentials, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._go_on(continuation, client_call_details, request_iterator)


class _NoneInStreamStream(_NoCredentials, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._go_on(continuation, client_call_details, request_iterator)


class _Proofs(grpc.AuthMetadataPlugin):
    """What each attempt carries: made anew, so that a retry of gRPC's own is no replay."""

    def __init__(
        self, token: TokenSource | None, api_key: TokenSource | None, replay_protected: frozenset[str]
    ) -> None:
        self._token = token
        self._api_key = api_key
        self._replay_protected = replay_protected

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            metadata = self._metadata(context)
        except Exception as error:  # noqa: BLE001  # gRPC ends the call with it; raised here it would be lost
            callback((), error)
        else:
            callback(metadata, None)

    def _metadata(self, context: grpc.AuthMetadataContext) -> tuple[tuple[str, str], ...]:
        token = self._token() if self._token else ""
        metadata: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {token}"),) if token else ()
        if self._api_key:
            metadata = (*metadata, (API_KEY, self._api_key()))
        service = context.service_url.rpartition("/")[2]
        if f"{service}/{context.method_name}" in self._replay_protected:
            return (*metadata, (NONCE_KEY, secrets.token_urlsafe(NONCE_BYTES)), (TIME_KEY, f"{time.time():.3f}"))
        return metadata


class _Deadline(grpc.aio.UnaryUnaryClientInterceptor):
    """A unary call has an end, also where its caller named none."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        if client_call_details.timeout is None:
            client_call_details = client_call_details._replace(timeout=self._seconds)
        return await continuation(client_call_details, request)


def _service_config(services: list[ServiceDescriptor]) -> dict[str, Any]:
    safe = [
        {"service": service.full_name, "method": method.name}
        for service in services
        for method in service.methods
        if method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
    ]
    return {"methodConfig": [{"name": safe, "retryPolicy": RETRY_POLICY}] if safe else []}


def _replay_protected(services: list[ServiceDescriptor]) -> frozenset[str]:
    return frozenset(
        f"{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if method.GetOptions().Extensions[access_pb2.access].replay_protected
    )


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror}); check the path") from None
    if not content:
        raise ConfigurationError(f"{file} is empty")  # gRPC would take an empty CA bundle for the public roots
    return content
