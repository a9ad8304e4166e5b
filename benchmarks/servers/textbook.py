"""The usual way: six interceptors in a row, each as tutorials have it.

They do less than the full chain: no certificate is looked at, no message is validated, nothing is audited.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import grpc
import jwt
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from prometheus_client import Counter, Histogram

from benchmarks.servers.common import CERTIFICATES, add_service, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    Proceed: TypeAlias = Callable[["Request", Context], Awaitable[object]]
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Details: TypeAlias = grpc.HandlerCallDetails

AUDIENCE, ISSUER = "order-service", "https://issuer.example.org"
PERMISSIONS = {
    "/order_service.v1.OrderService/GetOrder": {"readers", "writers", "admins"},
    "/order_service.v1.OrderService/CreateOrder": {"writers", "admins"},
}
LIMIT = parse("1000000/second")
CLAIMS: ContextVar[dict[str, Any]] = ContextVar("claims")


class Request(Protocol):
    """What the measured methods are asked with."""

    tenant: str


class Interceptor(grpc.aio.ServerInterceptor):
    """Surrounds the handler of each unary call."""

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler | None]], details: Details
    ) -> Handler | None:
        """Return a handler that runs `around`."""
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        proceed: Proceed = handler.unary_unary  # type: ignore[assignment]  # typed as if it were not async

        async def behave(request: Request, context: Context) -> object:
            return await self.around(proceed, request, context, details.method)

        return grpc.unary_unary_rpc_method_handler(
            behave,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    async def around(self, proceed: Proceed, request: Request, context: Context, path: str) -> object:
        """Do what the interceptor is for, then go on."""
        raise NotImplementedError


class Logging(Interceptor):
    """One JSON line a call."""

    def __init__(self) -> None:
        """Set up the standard library's logging."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        self.log = logging.getLogger("calls")
        self.log.addHandler(handler)
        self.log.setLevel(logging.INFO)

    async def around(self, proceed: Proceed, request: Request, context: Context, path: str) -> object:
        """Log the call when it has ended."""
        started = time.perf_counter()
        try:
            return await proceed(request, context)
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            self.log.info(
                "call", extra={"method": path, "peer": context.peer(), "code": context.code(), "ms": milliseconds}
            )


class JsonFormatter(logging.Formatter):
    """Lines of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(
            {
                "time": self.formatTime(record),
                "level": record.levelname,
                "logger": record.name,
                "message": record.getMessage(),
                **{name: str(record.__dict__[name]) for name in ("method", "peer", "code", "ms")},
            }
        )


class Metrics(Interceptor):
    """A counter and a histogram."""

    def __init__(self) -> None:
        """Make them."""
        self.calls = Counter("calls", "Calls.", ["method", "code"])
        self.seconds = Histogram("seconds", "Duration.", ["method"])

    async def around(self, proceed: Proceed, request: Request, context: Context, path: str) -> object:
        """Count and time."""
        started = time.perf_counter()
        try:
            return await proceed(request, context)
        finally:
            self.calls.labels(method=path, code=str(context.code())).inc()
            self.seconds.labels(method=path).observe(time.perf_counter() - started)


class Errors(Interceptor):
    """What a handler raises becomes INTERNAL."""

    async def around(self, proceed: Proceed, request: Request, context: Context, path: str) -> object:
        """Catch it."""
        try:
            return await proceed(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception:
            logging.getLogger("calls").exception("failed in %s", path)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")


class Authentication(Interceptor):
    """The token is verified on each call."""

    def __init__(self) -> None:
        """Read the issuer's key."""
        keys = json.loads((Path.cwd() / CERTIFICATES / "jwks.json").read_text(encoding="utf-8"))
        self.key = jwt.PyJWKSet.from_dict(keys).keys[0].key

    async def around(self, proceed: Proceed, request: Request, context: Context, path: str) -> object:
        """Verify, and leave the claims where those after it find them."""
        del path
        token = str(dict(context.invocation_metadata() or ()).get("authorization", "")).removeprefix("Bearer ")
        try:
            CLAIMS.set(jwt.decode(token, self.key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER))
        except jwt.PyJWTError:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid token")
        return await proceed(request, context)


class Authorization(Interceptor):
    """Groups by method in a dictionary, and the tenant."""

    async def around(self, proceed: Proceed, request: Request, context: Context, path: str) -> object:
        """Refuse what the token's groups and tenants do not allow."""
        claims = CLAIMS.get()
        if not PERMISSIONS[path] & set(claims["groups"]) or request.tenant not in claims["tenant"]:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not allowed")
        return await proceed(request, context)


class RateLimit(Interceptor):
    """The `limits` library, in memory."""

    def __init__(self) -> None:
        """Make the limiter."""
        self.limiter = FixedWindowRateLimiter(MemoryStorage())

    async def around(self, proceed: Proceed, request: Request, context: Context, path: str) -> object:
        """Count the call for its subject."""
        if not self.limiter.hit(LIMIT, CLAIMS.get()["sub"], path):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls")
        return await proceed(request, context)


def make(outermost: Sequence[grpc.aio.ServerInterceptor] = ()) -> grpc.aio.Server:
    """Return the server; further interceptors come before the others."""
    interceptors = [*outermost, Logging(), Metrics(), Errors(), Authentication(), Authorization(), RateLimit()]
    server = grpc.aio.server(interceptors=interceptors)
    add_service(server)
    return server


def main() -> None:
    """Serve."""
    run(make)
