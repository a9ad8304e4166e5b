"""A client's channel: certificates renewed under way, a fresh token and replay proof for each attempt, safe retries."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from secure_rpc import event_engine
from secure_rpc.client_channel import Defaults, RotatingChannel
from secure_rpc.client_config import replay_protected, service_config, target_of
from secure_rpc.client_encryption import FieldEncryption
from secure_rpc.client_signing import CallSigning, load_signer, signed
from secure_rpc.confidential import HEADER, VERSION
from secure_rpc.configuration import ConfigurationError
from secure_rpc.stages.authentication import API_KEY
from secure_rpc.stages.idempotency import KEY as IDEMPOTENCY_KEY
from secure_rpc.stages.replay import NONCE_KEY, TIME_KEY
from secure_rpc.telemetry.propagation import outgoing
from secure_rpc.tls import client_credentials
from secure_rpc.tls.client_credentials import ClientCertificate
from secure_rpc.token_sources import TokenSource
from secure_rpc.watching import FileWatch

__all__ = ["connect", "connect_plaintext", "new_idempotency_key"]

NONCE_BYTES = 16
CREDENTIAL_KEYS = frozenset({"authorization", "proxy-authorization", "cookie", API_KEY})
KEEPALIVE_SECONDS = 330.0  # other servers take pings more often than every 300 seconds for an attack
RENEWAL_GRACE_SECONDS = 1800.0  # as long as servers let connections live


def connect(  # noqa: PLR0913  # each is a choice of its own
    target: str | Sequence[str],
    *,
    certificate_file: Path,
    key_file: Path,
    ca_file: Path,
    services: Iterable[ServiceDescriptor] = (),
    token: TokenSource | None = None,
    api_key: TokenSource | None = None,
    audience: str = "",
    signing_key_file: Path | None = None,
    signing_key_id: str = "",
    keyring_file: Path | None = None,
    server_name: str = "",
    deadline_seconds: float = 10.0,
    wait_for_ready: bool = False,
    keepalive_seconds: float = KEEPALIVE_SECONDS,
    renewal_grace_seconds: float = RENEWAL_GRACE_SECONDS,
    poll_seconds: float = 5.0,
) -> grpc.aio.Channel:
    """Return a channel to a service. There is no way to make one without TLS, so no token travels in plaintext.

    The three files may change at any time: new calls then show the new certificate, calls under way go on. A call made
    by a handler ends before the call that the handler serves, whatever it asks for.

    Args:
        target: "host:port", or any other gRPC name; or the addresses of several servers, each "address:port". Calls
            go to all servers that a name or a list leads to, in turn.
        certificate_file: ours, then its intermediates, PEM.
        key_file: of our certificate, PEM.
        ca_file: the CAs whose servers we trust, PEM.
        services: those that will be called. Methods that their protos mark as without side effects or idempotent
            are tried again when the server is unavailable, no other is; methods that ask for a replay proof get one,
            and are not tried again.
        token: gives the access token, "" or None for none; `token_sources` has sources that refresh.
        api_key: gives the API key, None for none.
        audience: the name of the service, as its settings have it; needed to call methods that are `signed`.
        signing_key_file: a key that the server has registered, PEM, by which such calls are signed; None for that of
            our certificate. Who ends TLS on the way replaces the certificate, but has no such key.
        signing_key_id: under which it is registered.
        keyring_file: the keys that encrypt sensitive fields, the same as the servers'; None where they travel as they
            are. With it, responses whose sensitive fields are plain text are refused.
        server_name: the name in the server's certificate, where the target does not say it.
        deadline_seconds: of unary calls that set none.
        wait_for_ready: whether calls that do not say it wait until a server is reached, rather than fail at once.
        keepalive_seconds: between two pings of a connection with calls. Servers of ours take them every
            `limits.keepalive_interval_seconds`; a tenth more than that is safe.
        renewal_grace_seconds: how long calls may go on with a certificate that has been replaced.
        poll_seconds: how often the files are looked at where the system does not tell that they have changed.

    Raises:
        ConfigurationError: a file cannot be read, or is no good; the addresses are none.
    """
    event_engine.keep()
    services = list(services)
    files = (certificate_file, key_file, ca_file)
    watch = FileWatch([*files, *([keyring_file] if keyring_file else [])], poll_seconds=poll_seconds)
    encryption = FieldEncryption(services, keyring_file)
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(service_config(services))),
        ("grpc.keepalive_time_ms", int(keepalive_seconds * 1000)),
        ("grpc.http2.max_pings_without_data", 0),  # by default it stops after two, and a silent stream is forgotten
        ("grpc.initial_reconnect_backoff_ms", 100),  # by default a second: longer than all attempts at a call together
    ]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    name = target_of(target, server_name)
    plugin = _Proofs(token, api_key, replay_protected(services), signed(services), encryption.methods)
    proofs = grpc.metadata_call_credentials(plugin)
    signer = load_signer(signing_key_file, signing_key_id) if signing_key_file else None

    def open_channel(certificate: ClientCertificate) -> grpc.aio.Channel:
        credentials = grpc.composite_channel_credentials(certificate.grpc_credentials(), proofs)
        return grpc.aio.secure_channel(name, credentials, options=options)

    def load() -> ClientCertificate:
        encryption.reload()
        return client_credentials.load(*files)

    signing = CallSigning(services, audience, plugin.headers_of, signer)
    return RotatingChannel(
        client_credentials.load(*files),
        open_channel,
        load,
        watch,
        defaults=Defaults(deadline_seconds, wait_for_ready),
        grace_seconds=renewal_grace_seconds,
        adapt=lambda said, named: signing.adapt(*encryption.adapt(said, named)),  # what is signed is encrypted
    )


def new_idempotency_key() -> tuple[str, str]:
    """Return a metadata entry for one call of a method that is protected from replays.

    Made again with the same entry, the call runs once, and is answered as it was the first time. So it may be tried
    again whatever became of the attempt before.
    """
    return IDEMPOTENCY_KEY, secrets.token_urlsafe(NONCE_BYTES)


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
        return await continuation(details._replace(metadata=outgoing(details.metadata)), request)


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
        self,
        token: TokenSource | None,
        api_key: TokenSource | None,
        replay_protected: frozenset[str],
        signed: frozenset[str],
        encrypted: frozenset[str],
    ) -> None:
        self._token = token
        self._api_key = api_key
        self._replay_protected = replay_protected
        self._signed = signed
        self._encrypted = encrypted

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            method = f"{context.service_url.rpartition('/')[2]}/{context.method_name}"
            # a proof speaks of the token: both come from one hand, or the token might be renewed in between
            metadata = () if method in self._signed else self.headers_of(method)
        except Exception as error:  # noqa: BLE001  # gRPC ends the call with it; raised here it would be lost
            callback((), error)
        else:
            callback(metadata, None)

    def headers_of(self, method: str) -> tuple[tuple[str, str], ...]:
        """Return what an attempt carries; the method is given as "package.Service/Method"."""
        token = self._token() if self._token else ""
        metadata: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {token}"),) if token else ()
        if self._api_key:
            metadata = (*metadata, (API_KEY, self._api_key()))
        if method in self._encrypted:
            metadata = (*metadata, (HEADER, VERSION))
        if method in self._replay_protected:
            return (*metadata, (NONCE_KEY, secrets.token_urlsafe(NONCE_BYTES)), (TIME_KEY, f"{time.time():.6f}"))
        return metadata
