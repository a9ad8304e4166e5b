"""How a call can fail: one class per gRPC status. Raise them in stages and handlers alike.

StatusError
├── Cancelled          ├── InvalidArgument    ├── DeadlineExceeded   ├── NotFound
├── AlreadyExists      ├── PermissionDenied   ├── Unauthenticated    ├── ResourceExhausted
├── FailedPrecondition ├── Aborted            ├── OutOfRange         ├── Unimplemented
├── Internal           ├── Unavailable        ├── DataLoss           └── Unknown

Message, reason, metadata and details reach the caller, as a `google.rpc.Status` (AIP-193).
A cause (`raise Internal() from error`) is for the log alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import TypeAlias

from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

__all__ = [
    "Aborted",
    "AlreadyExists",
    "Cancelled",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "StatusError",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "bad_request",
    "of",
    "quota_failure",
    "retry_after",
]

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

DOMAIN = "secure-rpc"  # of the reasons that the platform gives; a service passes its own to Chain
STATUS_DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"  # what a client that retries waits for, whatever it would have waited for
NO_RETRY = "-1"
MAX_MESSAGE_BYTES = 1024  # clients refuse trailers of more than 8 KiB in all; percent-encoding can treble these
REMEMBERED = 256  # encoded statuses, of 2 KiB at most
MAX_STATUS_BYTES = 3072  # base64 adds a third

_KEY, _TEXT = re.compile(r"[0-9a-z_.-]+"), re.compile(r"[ -~]*")


class StatusError(Exception):
    """End the call with a status.

    Args:
        message: a sentence for the developer of the client, cut where too long; each class has its own default.
        reason: the stable UPPER_SNAKE_CASE name of the cause, sent as `ErrorInfo.reason`.
        metadata: facts that belong to the reason, sent as `ErrorInfo.metadata`.
        details: further messages of google/rpc/error_details.proto, most important first.
        trailers: trailing metadata of the caller's own making.
        recorded_reason: what log and audit say instead of the reason, where the caller must not learn it.

    Raises:
        TypeError: details or trailers are of a wrong type.
        ValueError: gRPC cannot send the trailers. Better here than where the status is sent: no answer would leave.
    """

    code = StatusCode.UNKNOWN
    default_message = "unknown error"

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        details: Iterable[Message] = (),
        trailers: Metadata = (),
        recorded_reason: str = "",
    ) -> None:
        self.message = _sendable(message or self.default_message)
        self.reason = reason
        self.metadata = {_sendable(key): _sendable(value) for key, value in (metadata or {}).items()}
        self.details = list(details)
        self.trailers = trailers
        self.recorded_reason = recorded_reason or reason
        if not all(isinstance(detail, Message) for detail in self.details):
            raise TypeError("details are protobuf messages")
        check_entries(trailers)
        super().__init__(self.message)

    def trailing_metadata(self, domain: str = DOMAIN) -> Metadata:
        """Return the trailers with the rich status added, without the details that would not fit.

        Args:
            domain: who gives the reason its meaning, sent as `ErrorInfo.domain` (AIP-193).
        """
        if self.reason and not self.details and not self.metadata:
            encoded = _reasoned(self.code, self.message, self.reason, domain)
            return (*self.trailers, (STATUS_DETAILS_KEY, encoded)) if encoded else self.trailers
        details = list(self.details)
        if self.reason:
            info = error_details_pb2.ErrorInfo(reason=self.reason, domain=domain, metadata=self.metadata)
            details.insert(0, info)
        while details:
            status = status_pb2.Status(code=self.code.value[0], message=self.message)
            for detail in details:
                status.details.add().Pack(detail)
            if status.ByteSize() <= MAX_STATUS_BYTES:
                return (*self.trailers, (STATUS_DETAILS_KEY, status.SerializeToString()))
            details.pop()
        return self.trailers


@lru_cache(REMEMBERED)
def _reasoned(code: StatusCode, message: str, reason: str, domain: str) -> bytes:
    """Return the rich status of most refusals, the same few over and over; nothing where it is too large."""
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    return status.SerializeToString() if status.ByteSize() <= MAX_STATUS_BYTES else b""


def _sendable(text: str) -> str:
    """Return what gRPC can encode: a lone surrogate, as JSON can hold, would leave the call without any answer."""
    return text.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")


def check_entries(metadata: Metadata) -> None:
    """See that metadata can be sent.

    Raises:
        TypeError: an entry is of a wrong type.
        ValueError: gRPC cannot send an entry.
    """
    for key, value in metadata:
        sendable = isinstance(value, bytes) if key.endswith("-bin") else _TEXT.fullmatch(value)  # type: ignore[arg-type]
        if not sendable or not _KEY.fullmatch(key):
            raise ValueError(f"{key!r}: gRPC cannot send this entry")


class Cancelled(StatusError):
    """The caller, or this server on its behalf, gave the call up."""

    code, default_message = StatusCode.CANCELLED, "the call was cancelled"


class Unknown(StatusError):
    """Nothing better is known."""

    code, default_message = StatusCode.UNKNOWN, "unknown error"


class InvalidArgument(StatusError):
    """The request is wrong whatever the state of the system."""

    code, default_message = StatusCode.INVALID_ARGUMENT, "the request is invalid"


class DeadlineExceeded(StatusError):
    """Time ran out before the work was done."""

    code, default_message = StatusCode.DEADLINE_EXCEEDED, "the deadline has passed"


class NotFound(StatusError):
    """What was asked for does not exist, or not for this caller."""

    code, default_message = StatusCode.NOT_FOUND, "not found"


class AlreadyExists(StatusError):
    """What was to be created exists."""

    code, default_message = StatusCode.ALREADY_EXISTS, "already exists"


class PermissionDenied(StatusError):
    """The caller is known and may not do this."""

    code, default_message = StatusCode.PERMISSION_DENIED, "permission denied"


class Unauthenticated(StatusError):
    """The caller is not known: credentials are missing or do not verify."""

    code, default_message = StatusCode.UNAUTHENTICATED, "valid credentials are required"


class ResourceExhausted(StatusError):
    """A quota or a limit is used up; RetryInfo says when to come again."""

    code, default_message = StatusCode.RESOURCE_EXHAUSTED, "a limit is exhausted"

    def trailing_metadata(self, domain: str = DOMAIN) -> Metadata:
        """Return the trailers, and with them what clients that retry wait for: RetryInfo, or nothing (gRFC A6)."""
        trailers = super().trailing_metadata(domain)
        if any(key == PUSHBACK_KEY for key, _ in trailers):
            return trailers
        delays = [detail.retry_delay for detail in self.details if isinstance(detail, error_details_pb2.RetryInfo)]
        pushback = str(-(-delays[0].ToMicroseconds() // 1000)) if delays else NO_RETRY
        return (*trailers, (PUSHBACK_KEY, pushback))


class FailedPrecondition(StatusError):
    """The system is not in the state that the call needs; do not retry before it is."""

    code, default_message = StatusCode.FAILED_PRECONDITION, "the system is not in the state required"


class Aborted(StatusError):
    """A conflict ended the call; retry at a higher level."""

    code, default_message = StatusCode.ABORTED, "aborted by a conflict"


class OutOfRange(StatusError):
    """The request goes past what there is."""

    code, default_message = StatusCode.OUT_OF_RANGE, "out of range"


class Unimplemented(StatusError):
    """The method does not exist here."""

    code, default_message = StatusCode.UNIMPLEMENTED, "the method is not implemented"


class Internal(StatusError):
    """Something of ours broke; the log says what, the caller is not told."""

    code, default_message = StatusCode.INTERNAL, "internal error"


class Unavailable(StatusError):
    """The service cannot serve just now; retry with a back-off."""

    code, default_message = StatusCode.UNAVAILABLE, "the service is unavailable, try again"


class DataLoss(StatusError):
    """Data is lost or corrupted beyond recovery."""

    code, default_message = StatusCode.DATA_LOSS, "data loss"


BY_CODE: dict[StatusCode, type[StatusError]] = {kind.code: kind for kind in StatusError.__subclasses__()}
_BY_NUMBER: dict[int, type[StatusError]] = {code.value[0]: kind for code, kind in BY_CODE.items()}


def of(code: StatusCode | int, message: str = "", trailers: Metadata = ()) -> StatusError:
    """Return the error for a code as handlers give it; Internal for OK and for what is no code."""
    number = code.value[0] if isinstance(code, StatusCode) else code
    kind = _BY_NUMBER.get(number)
    return kind(message, trailers=trailers) if kind else Internal()


def bad_request(violations: Mapping[str, str]) -> Message:
    """Return the detail that names each invalid field and what is wrong with it."""
    violation = error_details_pb2.BadRequest.FieldViolation
    detail: Message = error_details_pb2.BadRequest(
        field_violations=[violation(field=f, description=d) for f, d in violations.items()]
    )
    return detail


def retry_after(delay: timedelta) -> Message:
    """Return the detail that tells the client how long to wait."""
    retry_delay = duration_pb2.Duration()
    retry_delay.FromTimedelta(delay)
    detail: Message = error_details_pb2.RetryInfo(retry_delay=retry_delay)
    return detail


def quota_failure(subject: str, description: str) -> Message:
    """Return the detail that names the exhausted quota and whose it is."""
    violation = error_details_pb2.QuotaFailure.Violation(subject=subject, description=description)
    detail: Message = error_details_pb2.QuotaFailure(violations=[violation])
    return detail
