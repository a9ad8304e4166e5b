"""Records as syslog messages (RFC 5424), over TCP (RFC 6587), TLS (RFC 5425) or a Unix socket."""

from __future__ import annotations

import errno
import select
import socket
import ssl
from collections.abc import Callable, Sequence

from secure_rpc.audit.export.sink import Sink, SinkUnavailable
from secure_rpc.audit.record import CALL
from secure_rpc.audit.trail import Line

FACILITY = 13  # log audit
INFORMATIONAL, NOTICE = 6, 5
TIMEOUT_SECONDS = 10.0
MAX_NAME_CHARACTERS = 48  # of APP-NAME
MAX_MESSAGE_ID_CHARACTERS = 32
STRUCTURED_ID = "audit@32473"  # the number is that of examples (RFC 5612): who has one of his own gives it


class Syslog(Sink):
    """Send to a syslog server.

    It acknowledges nothing: what was sent just before a connection broke may be lost on the way. So the batch before is
    sent again after a break.

    Args:
        connect: returns a connected socket, or raises OSError.
        name: of the service, which is the messages' APP-NAME.
        host: on which the service runs.
        structured_id: the SD-ID under which chain and number stand.
    """

    def __init__(
        self, connect: Callable[[], socket.socket], name: str, host: str, structured_id: str = STRUCTURED_ID
    ) -> None:
        self._connect = connect
        self._name = _printable(name, MAX_NAME_CHARACTERS)
        self._host = _printable(host, 255)
        self._structured_id = structured_id
        self._socket: socket.socket | None = None
        self._before: Sequence[Line] = ()

    def send(self, lines: Sequence[Line]) -> None:
        """See `Sink`."""
        try:
            if self._socket is not None and _has_ended(self._socket):
                self.close()
            if self._socket is None:
                self._socket = self._connect()
                self._put(self._socket, self._before)
            self._put(self._socket, lines)
        except OSError as error:
            self.close()
            raise SinkUnavailable(str(error)) from error
        self._before = lines

    def close(self) -> None:
        """See `Sink`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _put(self, to: socket.socket, lines: Sequence[Line]) -> None:
        messages = [self.message(line) for line in lines]
        if to.type == socket.SOCK_DGRAM:
            for message in messages:
                to.send(message)
        elif messages:
            to.sendall(b"".join(b"%d %b" % (len(message), message) for message in messages))  # RFC 6587, 3.4.1

    def message(self, line: Line) -> bytes:
        """Return a record as a message."""
        content = line.content
        is_usual = content["event"] != CALL or content.get("code") == "OK"
        priority = FACILITY * 8 + (INFORMATIONAL if is_usual else NOTICE)
        fields = {"chain": content["chain"], "seq": content["seq"], "callId": content.get("call_id", "")}
        structured = " ".join(f'{key}="{_escaped(str(value))}"' for key, value in fields.items() if value)
        message_id = _printable(content["event"], MAX_MESSAGE_ID_CHARACTERS)
        header = f"<{priority}>1 {line.time or '-'} {self._host} {self._name} - {message_id}"
        return f"{header} [{self._structured_id} {structured}] ".encode() + line.raw


def tcp(host: str, port: int, context: ssl.SSLContext | None = None) -> socket.socket:
    """Connect by TCP, or TLS where there is a context for it.

    Raises:
        OSError: it cannot be done.
    """
    plain = socket.create_connection((host, port), TIMEOUT_SECONDS)
    if context is None:
        return plain
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def unix(path: str) -> socket.socket:
    """Connect to a Unix socket, of datagrams if it is one.

    Raises:
        OSError: it cannot be done.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        made = socket.socket(socket.AF_UNIX, kind)
        made.settimeout(TIMEOUT_SECONDS)
        try:
            made.connect(path)
        except OSError as error:
            made.close()
            if kind == socket.SOCK_STREAM or not _is_wrong_kind(error):
                raise
        else:
            return made
    raise OSError(f"{path} is no socket")  # never: the second kind returns or raises


def _is_wrong_kind(error: OSError) -> bool:
    return error.errno == errno.EPROTOTYPE


def _has_ended(connection: socket.socket) -> bool:
    """Tell whether the other side has closed: a send would still succeed, and be lost."""
    if connection.type == socket.SOCK_DGRAM or not select.select([connection], [], [], 0)[0]:
        return False
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(0)
        try:
            return connection.recv(1) == b""
        except (ssl.SSLWantReadError, BlockingIOError):  # a session ticket, say
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(TIMEOUT_SECONDS)
    return connection.recv(1, socket.MSG_PEEK) == b""


def _printable(text: str, most: int) -> str:
    """Return text as a header field may have it: printable ASCII without spaces."""
    return "".join(character if "!" <= character <= "~" else "_" for character in text)[:most] or "-"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
