"""The server, assembled, and its life: start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from secure_rpc import event_engine, memory
from secure_rpc.admin import Admin, exposure_of
from secure_rpc.chain import Chain
from secure_rpc.configuration import ConfigurationError
from secure_rpc.deadlines import Deadlines
from secure_rpc.exchange import TokenExchange
from secure_rpc.health import Health
from secure_rpc.platform import Application, Platform
from secure_rpc.serving import UNKNOWN_METHOD, is_supported, pumped_server
from secure_rpc.sessions import SessionRefresh
from secure_rpc.settings import Limits, ServingLoop, Settings
from secure_rpc.state.embedded import EmbeddedStore
from secure_rpc.telemetry.handshakes import failures_read
from secure_rpc.tls import floor, handshake
from secure_rpc.v1 import exchange_pb2_grpc, session_pb2_grpc
from secure_rpc.workers.control import Control

# How far gRPC's own limits are above ours: what is past those is answered by gRPC, and recorded as cancelled at best
REQUEST_HEADROOM, METADATA_HEADROOM = 2, 4
MAX_ARGUMENT = 2**31 - 1  # of a number that is handed to gRPC
MAX_PENDING_CALLS = 10_000  # that gRPC holds for us to take up; it turns some away from here on, all at twice as many
WATCH_SECONDS = 0.25  # how soon a serving loop that has ended by itself is noticed
CALM_SECONDS = 0.005  # without a new call
CALM_LIMIT_SECONDS = 1.0  # to wait for such a moment under many calls
SETTLE_SECONDS = 2.0  # for calls that were cut at the end of the grace to be cleaned up and recorded

HEALTH_SERVICE: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

log = structlog.get_logger(__name__)


class ServingLoopCrashed(Exception):
    """The loop that takes calls has ended by itself; nothing is served any more."""


class Server:
    """A service on its ports.

    Args:
        application: what the service adds to the platform.
        settings: of the service.
        control: the line to the supervisor, for a server that is one of its workers: the admin port is the supervisor's
            then, and the port is shared with the others.

    Raises:
        ConfigurationError: something in settings, policy, protos or files keeps it from starting.
    """

    def __init__(self, application: Application, settings: Settings, control: Control | None = None) -> None:
        if settings.tls.minimum_version is not floor.established():
            raise ConfigurationError(
                f"tls.minimum_version is {settings.tls.minimum_version.value}, but this process was started for "
                f"{floor.established().value}; start it by its command, or call secure_rpc.tls.floor.establish() first"
            )
        self.settings = settings
        self.platform = Platform(settings)
        self.chain = Chain(
            application.build_chain(self.platform),
            self.platform.contracts.of,
            domain=settings.service.name,
            request_timeout_seconds=settings.limits.request_timeout_seconds,
            deadlines=Deadlines(settings.limits.default_deadline_seconds, settings.limits.max_deadline_seconds),
            max_request_bytes=settings.limits.max_request_bytes,
            max_response_bytes=settings.limits.max_response_bytes,
            live=self.platform.live,
        )
        application.add_services(cast("grpc.aio.Server", self.chain))  # it takes servicers as a server does
        self.services = sorted({method.service for method in self.chain.methods})
        self.health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, cast("grpc.aio.Server", self.chain))
        if settings.reflection.enabled:
            servicer = ReflectionServicer([*self.services, HEALTH_SERVICE])
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, self.chain)  # type: ignore[no-untyped-call]
        exchange = settings.authentication.exchange
        if exchange is not None:
            exchange_pb2_grpc.add_TokenExchangeServiceServicer_to_server(
                TokenExchange(exchange, self.platform.exchanged_tokens.verify), cast("grpc.aio.Server", self.chain)
            )
        if settings.sessions.refresh:
            platform = self.platform
            refresh = SessionRefresh(platform.sessions, platform.active_policy, platform.metrics.sessions)
            session_pb2_grpc.add_SessionServiceServicer_to_server(refresh, cast("grpc.aio.Server", self.chain))
        self.platform.check(self.chain.methods)
        self.platform.metrics.calls.ended_are(lambda: self.chain.ended)
        self.port = 0
        self._is_worker = control is not None
        folder = settings.state.folder if settings.state else None
        self.embedded_store = EmbeddedStore(folder) if folder and not self._is_worker else None  # else the supervisor's
        self._told_to_stop = asyncio.Event()
        self._drain = True
        self.admin: Admin | Control
        if control is None:
            self.admin = Admin(exposure_of(settings), self.platform.metrics.render, self.unready_because)
        else:
            self.admin = control
            control.attach(self.platform.metrics, self.unready_because, lambda: self.tell_to_stop(drain=False))
        self._grpc_server: grpc.aio.Server | None = None
        self._fresh: list[asyncio.Task[None]] = []
        self._draining = False
        self._crashed = False

    def unready_because(self) -> list[str]:
        """Return the reasons for which no calls should be sent here."""
        reasons = []
        if self._grpc_server is None:
            reasons.append("starting")
        if self._draining:
            reasons.append("shutting down")
        if self.platform.certificates.current.not_after_seconds <= time.time():
            reasons.append("the server's certificate has expired")
        if self.platform.audit_log.failing and self.settings.audit.refuse_when_unwritable:
            reasons.append("audit records cannot be written")
        return [*reasons, *self.platform.unready_because()]

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: an address cannot be had, or TLS is not spoken as it should be.
        """
        event_engine.keep()
        certificates = self.platform.certificates
        with failures_read(_forget):  # the one by TLS 1.2 has to fail, and is none of a client's
            await handshake.check(certificates.grpc_credentials(), certificates.current.chain[0], floor.established())
        server = self._make_grpc_server()
        address = self.settings.listen.address
        try:
            handshakes = self.platform.metrics.handshakes
            self.port = server.add_secure_port(address, certificates.grpc_credentials(handshakes.started))
        except RuntimeError as error:
            raise ConfigurationError(
                f"listen.address: {address} cannot be had; stop what uses it, or choose another"
            ) from error
        if self.embedded_store is not None:
            await self.embedded_store.start()
        await self.platform.read_shared()
        await server.start()
        self._grpc_server = server
        keepers = (
            *(verifier.keep_fresh() for verifier in self.platform.verifiers),
            self.platform.policy.keep_fresh(),
            self.platform.keep_trust_fresh(),
            self.platform.keep_reviewing(),
            self.platform.metrics.process.watch_loop(),
            self.platform.keep_audit_up(),
            self.platform.load_limit.keep(),
        )
        self._fresh = [asyncio.create_task(keeper) for keeper in keepers]
        await self.health.serve(self.services)
        await self.admin.start()
        log.info(
            "serving",
            address=f"{address.rpartition(':')[0]}:{self.port}",
            admin=f"{self.settings.listen.admin_address.rpartition(':')[0]}:{self.admin.port}",
            probes=self.admin.probe_port or None,
            pid=os.getpid(),
            services=self.services,
            policy=self.platform.policy.version,
            minimum_tls=floor.established().value,
        )

    async def serve(self) -> None:
        """Serve until SIGTERM or SIGINT, then stop in order.

        Raises:
            ServingLoopCrashed: nothing is served any more; the process must end, and be started again.
        """
        if self._grpc_server is None:
            raise RuntimeError("start() comes before serve()")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.tell_to_stop)
        memory.settle()
        ended = asyncio.create_task(self._loop_ended(self._grpc_server))
        told = asyncio.create_task(self._told_to_stop.wait())
        await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
        if not self._told_to_stop.is_set():
            told.cancel()
            self._crashed = True
            await self.stop(drain=False)
            raise ServingLoopCrashed("the serving loop has ended by itself") from ended.result()
        ended.cancel()
        await self.stop(drain=self._drain)

    def tell_to_stop(self, *, drain: bool = True) -> None:
        """Let `serve` come to its end; the first to say so decides about the drain."""
        if not self._told_to_stop.is_set():
            self._drain = drain
            self._told_to_stop.set()

    async def stop(self, *, drain: bool = True) -> None:
        """Say that we are going, let calls under way finish, write what is left to write; once is enough.

        Args:
            drain: whether to go on serving for a while, so that balancers can notice.
        """
        if self._draining:
            return
        self._draining = True
        await self.health.enter_graceful_shutdown()
        seconds = self.settings.shutdown.drain_seconds if drain else 0.0
        log.info("draining", seconds=seconds)
        await asyncio.sleep(seconds)
        if self._told_to_stop.is_set():
            await self._moment_without_new_calls()
        self.health.end_watchers()
        if self._grpc_server is not None:
            await self._stop_grpc_server(self._grpc_server)
        for keeper in self._fresh:
            keeper.cancel()
        await asyncio.gather(*self._fresh, return_exceptions=True)
        for verifier in self.platform.verifiers:
            await verifier.close()
        await self.platform.close_store()
        await self.platform.tracing.close()
        if self.embedded_store is not None:
            await self.embedded_store.stop()
        self.platform.reporter.flush()
        await self.platform.audit_log.close()
        await self.admin.stop()
        log.info("stopped")

    @staticmethod
    async def _loop_ended(server: Any) -> BaseException | None:
        """Return when the serving loop has ended by itself, with what ended it, where that is known.

        `wait_for_termination` alone says so when the last call is gone: whoever ended the loop, and keeps the
        connection, would keep a process alive that serves nobody.
        """
        terminated = asyncio.ensure_future(server.wait_for_termination())  # never cancelled: stop() would be, too
        running = True
        while running and not terminated.done():
            running = server._server.is_running()  # noqa: SLF001  # grpc.aio has no public name for it
            await asyncio.wait({terminated}, timeout=WATCH_SECONDS)
        return terminated.exception() if terminated.done() else None

    async def _moment_without_new_calls(self) -> None:
        """Wait for one, but not for long: gRPC ends with CANCELLED what it has not handed over when it shuts down."""
        before = -1
        with suppress(TimeoutError):
            async with asyncio.timeout(CALM_LIMIT_SECONDS):
                while before != self.chain.taken_up:
                    before = self.chain.taken_up
                    await asyncio.sleep(CALM_SECONDS)

    async def _stop_grpc_server(self, server: grpc.aio.Server) -> None:
        """Stop taking calls; wait for those under way no longer than the grace, and until they are recorded."""
        grace = 0.0 if self._crashed else self.settings.shutdown.grace_seconds  # gRPC has cut them off already
        await server.stop(grace)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                while self.chain.under_way:  # noqa: ASYNC110  # an event would cost every call; this wait is one
                    await asyncio.sleep(0.01)

    def _make_grpc_server(self) -> grpc.aio.Server:
        largest_request = max(method.max_request_bytes for method in self.chain.methods)
        options = channel_arguments(self.settings.limits, largest_request, reuse_port=self._is_worker)
        if self.settings.serving_loop is ServingLoop.PUMPED:
            if is_supported():
                paths = [method.path for method in self.chain.methods]
                return pumped_server(self.chain, paths, options=options)
            log.warning(
                "this grpcio lacks the parts of our serving loop: grpc.aio's own is used, "
                "which one call with a hostile path can end; see docs/chain.md",
                grpcio=grpc.__version__,
                unknown_method=UNKNOWN_METHOD,
            )
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers((self.chain,))
        return server


def _forget(_reason: str) -> None:
    """Count nothing."""


def channel_arguments(
    limits: Limits, largest_request_bytes: int, *, reuse_port: bool = False
) -> Sequence[tuple[str, Any]]:
    """Return gRPC's names for our limits.

    Args:
        limits: as the settings have them.
        largest_request_bytes: the most that any method takes; contracts may allow more than the settings.
        reuse_port: whether other processes listen on the same port: those of one supervisor, which keeps others out.
    """
    max_metadata_bytes = min(METADATA_HEADROOM * limits.max_metadata_bytes, MAX_ARGUMENT)
    max_request_bytes = min(REQUEST_HEADROOM * largest_request_bytes, MAX_ARGUMENT)
    return (
        ("grpc.so_reuseport", int(reuse_port)),  # by default a second server takes half of the connections, silently
        ("grpc.max_concurrent_streams", limits.max_concurrent_streams),
        # by default 1,000 and 3,000: a burst gets good callers turned away, as CANCELLED, and nothing is recorded
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_CALLS),
        ("grpc.max_receive_message_length", max_request_bytes),
        ("grpc.max_send_message_length", limits.max_response_bytes),
        ("grpc.max_metadata_size", max_metadata_bytes),  # the two set apart, refusals between are random
        ("grpc.absolute_max_metadata_size", max_metadata_bytes),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        ("grpc.server_handshake_timeout_ms", int(limits.handshake_timeout_seconds * 1000)),
        ("grpc.max_connection_idle_ms", int(limits.connection_idle_seconds * 1000)),
        ("grpc.max_connection_age_ms", int(limits.connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", int(limits.connection_age_grace_seconds * 1000)),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.http2.min_ping_interval_without_data_ms", int(limits.keepalive_interval_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", int(limits.keepalive_without_calls)),
    )
