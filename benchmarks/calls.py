"""The call that is measured, as bytes, and a client that looks at what it is answered."""

from __future__ import annotations

import secrets
import time
import urllib.request
from typing import TYPE_CHECKING

import grpc

from benchmarks.workspace import FailedError

if TYPE_CHECKING:
    from benchmarks.workspace import Workspace

SERVICE = "/order_service.v1.OrderService"
PATH = f"{SERVICE}/GetOrder"
TENANT, ID, TITLE = "acme", "1", "A thing that is kept"
SECONDS = 10.0
FRAME_BYTES = 5  # before each message of gRPC's


def strings(*values: bytes) -> bytes:
    """Return a message whose fields 1, 2, ... are these strings or messages."""
    return b"".join(bytes([number << 3 | 2, len(value)]) + value for number, value in enumerate(values, 1))


REQUEST = strings(TENANT.encode(), ID.encode())
CREATION = strings(TENANT.encode(), TITLE.encode())
RESPONSE = strings(strings(ID.encode(), TENANT.encode(), TITLE.encode()))


def framed(message: bytes) -> bytes:
    """Return a message as gRPC puts it on the wire, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


FRAMED_REQUEST = framed(REQUEST)
FRAMED_RESPONSE_BYTES = FRAME_BYTES + len(RESPONSE)


class Client:
    """Calls one server as two callers: one who may write and one who may only read.

    Args:
        workspace: Has the certificates.
        target: "host:port".
        writer: The token of the one.
        reader: The token of the other.

    """

    def __init__(self, workspace: Workspace, target: str, writer: str, reader: str) -> None:
        """Open a connection."""
        folder = workspace.certificates
        credentials = grpc.ssl_channel_credentials(
            (folder / "ca.pem").read_bytes(), (folder / "client.key").read_bytes(), (folder / "client.pem").read_bytes()
        )
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
        self._channel = grpc.secure_channel(target, credentials, options)
        self._writer, self._reader = writer, reader

    def create(self) -> None:
        """Have the one thing kept that is asked for later."""
        once = (("request-nonce", secrets.token_hex(16)), ("request-time", f"{time.time():.3f}"))
        if self._call("CreateOrder", CREATION, self._writer, *once) != RESPONSE:
            raise FailedError("the first thing made is not the one that will be asked for")

    def check(self) -> None:
        """See that the measured call ends well and with the right answer.

        Raises:
            FailedError: It does not.

        """
        if self._call("GetOrder", REQUEST, self._reader) != RESPONSE:
            raise FailedError("the answer is not what was kept")

    def see_refused(self) -> None:
        """See that who shows no token is refused.

        Raises:
            FailedError: They are not, or not for that.

        """
        call = self._channel.unary_unary(PATH, request_serializer=bytes, response_deserializer=bytes)
        try:
            call(REQUEST, timeout=SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return
            raise FailedError(f"a call without a token was answered {error}") from error
        raise FailedError("a call without a token was served")

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _call(self, method: str, request: bytes, token: str, *metadata: tuple[str, str]) -> bytes:
        call = self._channel.unary_unary(f"{SERVICE}/{method}", request_serializer=bytes, response_deserializer=bytes)
        try:
            answer: bytes = call(request, timeout=SECONDS, metadata=(("authorization", f"Bearer {token}"), *metadata))
        except grpc.RpcError as error:
            raise FailedError(f"{method} was refused: {error}") from error
        return answer


def calls_counted(admin: str) -> dict[str, int]:
    """Return by status how many calls of the measured method a server has counted itself, from its metrics."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    counted = {}
    for line in lines:
        if line.startswith("grpc_server_call_duration_seconds_count{") and f'grpc_method="{PATH[1:]}"' in line:
            status = line.partition('grpc_status="')[2].partition('"')[0]
            counted[status] = int(float(line.rpartition("} ")[2].split()[0]))
    return counted
