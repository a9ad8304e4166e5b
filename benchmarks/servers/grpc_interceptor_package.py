"""Interceptors by the package `grpc-interceptor`: its own for errors, and one that verifies the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc_interceptor.exception_to_status import AsyncExceptionToStatusInterceptor
from grpc_interceptor.exceptions import Unauthenticated
from grpc_interceptor.server import AsyncServerInterceptor

from benchmarks.servers.common import add_service, run
from benchmarks.tokens import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable


class Authentication(AsyncServerInterceptor):  # type: ignore[misc]  # it ships no types
    """Verify the token of each call, and that its groups may call at all."""

    def __init__(self) -> None:
        """Read the keys."""
        self._verifier = Verifier()

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any],
        method_name: str,
    ) -> Any:  # fmt: skip
        """Refuse who is not known."""
        del method_name
        metadata = dict(context.invocation_metadata() or ())
        try:
            self._verifier.verify(str(metadata.get("authorization", "")))
        except ValueError as error:
            raise Unauthenticated(str(error)) from error
        response = method(request_or_iterator, context)
        return await response if hasattr(response, "__await__") else response


def make() -> grpc.aio.Server:
    """Return the server."""
    server = grpc.aio.server(interceptors=(AsyncExceptionToStatusInterceptor(), Authentication()))
    add_service(server)
    return server


def main() -> None:
    """Serve."""
    run(make)
