"""What exchanges callers' tokens: asks the service once for each, and remembers what it was given."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from secure_rpc import errors
from secure_rpc.v1 import exchange_pb2 as pb
from secure_rpc.v1 import exchange_pb2_grpc as pb_grpc

# Clients renew the sessions of streams when a fifth of a token's life is left (client_streams/renewal.py). By then
# another token must be had, or their streams would end.
AHEAD = 0.25  # the share of its life that a token has left when it is asked for anew
OF_THE_CALLERS_TOKEN = "TOKEN_"  # noqa: S105  # how the reasons begin for which a token is not believed
OF_THE_EDGE = "TOKEN_MISSING"  # the edge itself should have shown one

logger = logging.getLogger(__name__)


class Given(NamedTuple):
    """A token that was given in exchange."""

    token: str
    renew_at_seconds: float  # Unix time


class Exchanger:
    """Exchange tokens.

    Args:
        channel: to the service, by the certificate of the edge.
        audience: for which the new tokens are.
        timeout_seconds: of one exchange.
        remembered_tokens: the most that are remembered; the one unused for longest goes first.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        audience: str,
        *,
        timeout_seconds: float = 2.0,
        remembered_tokens: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stub: Any = pb_grpc.TokenExchangeServiceStub(channel)
        self._audience = audience
        self._timeout_seconds = timeout_seconds
        self._remembered_tokens = remembered_tokens
        self._clock = clock
        self._given: OrderedDict[bytes, Given] = OrderedDict()  # by SHA-256 of the caller's: that one is not kept
        self._asking: dict[bytes, asyncio.Task[str]] = {}

    def __len__(self) -> int:
        """Return how many tokens are remembered."""
        return len(self._given)

    def known(self, token: str) -> str:
        """Return what was given for a token before, "" where it has to be asked for."""
        key = _key(token)
        given = self._given.get(key)
        if given is None or given.renew_at_seconds <= self._clock():
            return ""
        self._given.move_to_end(key)
        return given.token

    async def exchange(self, token: str) -> str:
        """Return the token that the service gives for another; all who wait for the same one ask once.

        Raises:
            Unauthenticated: the service does not believe it.
            PermissionDenied: it lets the edge exchange nothing.
            Unavailable: it cannot be asked, or not like this.
        """
        if given := self.known(token):
            return given
        key = _key(token)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key, token))
            asking.add_done_callback(lambda _: self._asking.pop(key))
        return await asyncio.shield(asking)

    async def _ask(self, key: bytes, token: str) -> str:
        request = pb.ExchangeRequest(subject_token=token, audience=self._audience)
        asked = self._clock()
        try:
            response = await self._stub.Exchange(request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from None  # what it holds may say more than a log should
        ends = response.expires_at.ToMicroseconds() / 1e6
        self._given[key] = Given(response.access_token, ends - (ends - asked) * AHEAD)
        self._given.move_to_end(key)
        while len(self._given) > self._remembered_tokens:
            self._given.popitem(last=False)
        token_given: str = response.access_token
        return token_given


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _refusal(error: grpc.aio.AioRpcError) -> errors.StatusError:
    """Return how a refusal of the service is told to the caller; why, if it is not the caller's doing, is logged."""
    reason, code = _reason(error), error.code()
    if code is grpc.StatusCode.UNAUTHENTICATED and reason.startswith(OF_THE_CALLERS_TOKEN) and reason != OF_THE_EDGE:
        return errors.Unauthenticated("the token is not accepted", reason=reason)
    logger.warning("the service has exchanged no token: %s %s", code.name, reason)
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return errors.PermissionDenied("this edge may exchange no tokens", reason=reason)
    return errors.Unavailable("tokens cannot be exchanged now", reason=reason)


def _reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(cast("Any", error))
    info = error_details_pb2.ErrorInfo()
    for packed in status.details if status else ():
        if packed.Is(info.DESCRIPTOR) and packed.Unpack(info):
            return str(info.reason)
    return ""
