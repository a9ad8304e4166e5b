"""Sound tokens in headers that are not: what is read must be what everybody else on the way would read."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from support.probe import path_of
from support.target import Target, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEME, MALFORMED, MISSING = "TOKEN_SCHEME_UNKNOWN", "TOKEN_MALFORMED", "TOKEN_MISSING"
HEADERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "Basic": (lambda token: b"Basic " + token, SCHEME),
    "no scheme": (lambda token: token, SCHEME),
    "scheme alone": (lambda _: b"Bearer", SCHEME),
    "scheme and a space": (lambda _: b"Bearer ", SCHEME),
    "scheme twice": (lambda token: b"Bearer Bearer " + token, SCHEME),
    "a space in front": (lambda token: b" Bearer " + token, SCHEME),
    "two spaces": (lambda token: b"Bearer  " + token, SCHEME),
    "a space at the end": (lambda token: b"Bearer " + token + b" ", SCHEME),
    "a tab": (lambda token: b"Bearer\t" + token, SCHEME),
    "a tab at the end": (lambda token: b"Bearer " + token + b"\t", MALFORMED),
    "a comma": (lambda token: b"Bearer " + token + b", Bearer x", SCHEME),
    "a fold": (lambda token: b"Bearer " + token + b"\r\n x", SCHEME),
    "a header more": (lambda token: b"Bearer " + token + b"\r\nx: y", SCHEME),
    "a newline at the end": (lambda token: b"Bearer " + token + b"\n", MALFORMED),
    "NUL at the end": (lambda token: b"Bearer " + token + b"\0", MALFORMED),
    "a byte that is not ASCII": (lambda token: b"Bearer " + token + b"\xff", MALFORMED),
    "a letter that is not ASCII": (lambda token: b"Bearer " + token + "é".encode(), MALFORMED),
    "an invisible letter": (lambda token: b"Bearer \xe2\x80\x8b" + token, MALFORMED),
    "empty": (lambda _: b"", MISSING),
}
AMBIGUOUS = "METADATA_AMBIGUOUS"


async def ask(target: Target, *headers: tuple[bytes, bytes]) -> tuple[bytes, str]:
    """Call with headers of any bytes; return status and reason, which the audit must know too."""
    begun = target.begun
    async with target.raw() as connection:
        stream = await connection.call(path_of("Unary").encode(), metadata=headers)
        answer = await connection.answer(stream)
    record = await target.record(answer["correlation-id"].decode())
    assert (record["subject"], target.begun) == ("", begun)
    return answer["grpc-status"], record["reason"]


@pytest.mark.parametrize(("forge", "reason"), HEADERS.values(), ids=HEADERS)
async def test_a_header_is_refused(target: Target, forge: Callable[[bytes], bytes], reason: str) -> None:
    assert await ask(target, (b"authorization", forge(target.token().encode()))) == (b"16", reason)


@pytest.mark.parametrize(
    "name", [b"authorization-bin", b"x-authorization", b"proxy-authorization", b"cookie", b"token"]
)
async def test_a_token_in_another_header_does_not_count(target: Target, name: bytes) -> None:
    value = b"Bearer " + target.token().encode()
    assert await ask(target, (name, b64encode(value) if name.endswith(b"-bin") else value)) == (b"16", MISSING)


async def test_a_binary_header_that_is_no_base64_reaches_no_handler(target: Target) -> None:
    begun = target.begun
    async with target.raw() as connection:
        stream = await connection.call(path_of("Public").encode(), metadata=[(b"authorization-bin", b"Bearer !")])
        assert (await connection.answer(stream)).get("grpc-status") != b"0"
    assert target.begun == begun


@pytest.mark.parametrize("order", ["good first", "good last", "good twice"])
async def test_two_authorization_headers_are_refused_whichever_is_good(target: Target, order: str) -> None:
    good, bad = b"Bearer " + target.token().encode(), b"Bearer x"
    values = {"good first": (good, bad), "good last": (bad, good), "good twice": (good, good)}[order]
    assert await ask(target, *((b"authorization", value) for value in values)) == (b"3", AMBIGUOUS)


@pytest.mark.parametrize("order", ["good first", "good last"])
async def test_two_authorization_headers_of_a_grpc_client_are_refused(target: Target, order: str) -> None:
    good, bad = f"Bearer {target.token()}", "Bearer x"
    first, second = (good, bad) if order == "good first" else (bad, good)
    told = await target.ask("Unary", authorization=first, metadata=[("authorization", second)])
    assert (told.code.name, reason_of(told.trailers).reason) == ("INVALID_ARGUMENT", AMBIGUOUS)
    assert (await target.record_of(told))["reason"] == AMBIGUOUS
