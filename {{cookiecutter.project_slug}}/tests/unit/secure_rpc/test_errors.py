"""Every status has its class, and whatever it carries can be sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from secure_rpc import errors

C = grpc.StatusCode
OVERHEAD_BYTES = 512  # names of headers, the correlation id, what gRPC adds
CLIENT_LIMIT_BYTES = 8192


def status_of(error: errors.StatusError, domain: str = errors.DOMAIN) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(error.trailing_metadata(domain))[errors.STATUS_DETAILS_KEY])


def unpacked(status: status_pb2.Status, kind: type[Any]) -> Any:
    [detail] = [detail for detail in status.details if detail.Is(kind.DESCRIPTOR)]
    message = kind()
    detail.Unpack(message)
    return message


def test_there_is_one_class_for_each_status_that_is_a_failure() -> None:
    assert set(errors.BY_CODE) == set(C) - {C.OK}
    assert len(errors.StatusError.__subclasses__()) == len(errors.BY_CODE)


@pytest.mark.parametrize("kind", errors.BY_CODE.values())
def test_the_docstring_is_the_map_and_each_class_has_a_sentence(kind: type[errors.StatusError]) -> None:
    assert f" {kind.__name__} " in f"{errors.__doc__} ".replace("\n", " ")
    assert kind().message == kind.default_message != errors.StatusError.__name__
    assert kind.__name__.upper() == kind.code.name.replace("_", "")


def test_the_reason_comes_first_and_names_its_domain_and_facts() -> None:
    error = errors.NotFound("no such order", reason="ORDER_MISSING", metadata={"order": "7"}, details=[detail(1)])
    status = status_of(error, "orders")
    assert (status.code, status.message) == (5, "no such order")
    info = unpacked(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, info.metadata) == ("ORDER_MISSING", "orders", {"order": "7"})
    assert status.details[0].Is(error_details_pb2.ErrorInfo.DESCRIPTOR)


def test_without_reason_and_details_only_the_trailers_are_sent() -> None:
    trailers = (("x-trailer", "kept"), ("x-trailer-bin", b"\xff"))
    assert errors.NotFound(trailers=trailers).trailing_metadata() == trailers


def test_the_trailers_come_before_the_rich_status() -> None:
    keys = [key for key, _ in errors.NotFound(reason="R", trailers=(("a", "b"),)).trailing_metadata()]
    assert keys == ["a", errors.STATUS_DETAILS_KEY]


def test_the_cause_is_not_sent() -> None:
    error = errors.Internal(reason="BROKEN")
    error.__cause__ = ValueError("hunter2")
    assert "hunter2" not in f"{error} {error.trailing_metadata()!r}"


# --- what would not fit, or could not be sent ---------------------------------------------------------------------


def detail(size: int) -> Message:
    return errors.bad_request({"field": "x" * size})


def test_a_status_that_would_not_fit_loses_its_last_details_first() -> None:
    status = status_of(errors.InvalidArgument(reason="MANY", details=[detail(1000), detail(1000), detail(2000)]))
    assert status.ByteSize() <= errors.MAX_STATUS_BYTES
    assert [entry.type_url.rpartition(".")[2] for entry in status.details] == ["ErrorInfo", "BadRequest", "BadRequest"]


@pytest.mark.parametrize("length", [errors.MAX_STATUS_BYTES // 2, errors.MAX_STATUS_BYTES])
def test_a_reason_that_would_not_fit_is_left_out(length: int) -> None:
    error = errors.InvalidArgument(reason="X" * length, trailers=(("a", "b"),))
    keys = [key for key, _ in error.trailing_metadata()]
    assert keys == ["a", *([errors.STATUS_DETAILS_KEY] if length < errors.MAX_STATUS_BYTES else [])]


def test_a_status_without_room_for_any_detail_is_sent_all_the_same() -> None:
    error = errors.InvalidArgument(details=[detail(errors.MAX_STATUS_BYTES)], trailers=(("a", "b"),))
    assert error.trailing_metadata() == (("a", "b"),)


@pytest.mark.parametrize("text", ["x", "\N{LATIN SMALL LETTER U WITH DIAERESIS}", "\N{GRINNING FACE}", "\n"])
def test_the_longest_message_fits_with_the_largest_status(text: str) -> None:
    error = errors.NotFound(text * 5000, reason="R", details=[detail(1800)])
    [(key, status)] = error.trailing_metadata()
    message = error.message.encode()
    assert len(message) <= errors.MAX_MESSAGE_BYTES
    on_the_wire = 3 * len(message) + len(key) + (errors.MAX_STATUS_BYTES + 2) // 3 * 4
    assert isinstance(status, bytes)
    assert len(status) <= errors.MAX_STATUS_BYTES
    assert on_the_wire + OVERHEAD_BYTES <= CLIENT_LIMIT_BYTES


def test_a_message_is_never_cut_amid_a_character() -> None:
    message = errors.NotFound("x" + "\N{GRINNING FACE}" * 5000).message
    assert set(message) == {"x", "\N{GRINNING FACE}"}


def test_text_that_json_can_hold_and_grpc_cannot_is_replaced() -> None:
    error = errors.NotFound("a\ud800b", reason="R", metadata={"k\ud800": "v\udfff"})
    assert error.message == "a?b"
    assert unpacked(status_of(error), error_details_pb2.ErrorInfo).metadata == {"k?": "v?"}


@pytest.mark.parametrize(
    "trailer",
    [("Upper", "v"), ("a b", "v"), ("", "v"), ("k", "line\n"), ("k", "\xfc"), ("k-bin", "text"), ("k\n", "v")],
    ids=repr,
)
def test_trailers_that_grpc_cannot_send_are_refused_where_they_are_given(trailer: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot send"):
        errors.NotFound(trailers=(trailer,))


@pytest.mark.parametrize("arguments", [{"trailers": (("k", 3),)}, {"trailers": (("k", b"v"),)}, {"details": ["text"]}])
def test_trailers_and_details_of_a_wrong_type_are_refused_where_they_are_given(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        errors.NotFound(**arguments)


# --- from what handlers give --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [code for code in C if code is not C.OK])
def test_a_code_becomes_its_class_whether_it_comes_as_name_or_number(code: grpc.StatusCode) -> None:
    for given in (code, code.value[0]):
        error = errors.of(given, "told", (("a", "b"),))
        assert (type(error), error.code, error.message) == (errors.BY_CODE[code], code, "told")
        assert error.trailers == (("a", "b"),)


@pytest.mark.parametrize("code", [C.OK, 0, 17, -1, "NOT_FOUND", None])
def test_what_is_no_failure_becomes_internal_and_tells_nothing(code: Any) -> None:
    error = errors.of(code, "hunter2", (("a", "hunter2"),))
    assert isinstance(error, errors.Internal)
    assert (error.message, error.trailers) == ("internal error", ())


# --- details ------------------------------------------------------------------------------------------------------


def test_the_details_are_those_of_google_rpc() -> None:
    details = [
        errors.bad_request({"name": "is too long", "act": "is missing"}),
        errors.retry_after(timedelta(seconds=1.5)),
        errors.quota_failure("alice", "10 calls a second"),
    ]
    status = status_of(errors.ResourceExhausted(details=details))
    violations = unpacked(status, error_details_pb2.BadRequest).field_violations
    assert {v.field: v.description for v in violations} == {"name": "is too long", "act": "is missing"}
    assert unpacked(status, error_details_pb2.RetryInfo).retry_delay.ToTimedelta() == timedelta(seconds=1.5)
    [violation] = unpacked(status, error_details_pb2.QuotaFailure).violations
    assert (violation.subject, violation.description) == ("alice", "10 calls a second")
