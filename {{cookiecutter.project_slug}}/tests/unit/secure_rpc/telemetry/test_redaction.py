"""What looks like a secret stands in no text, wherever it comes from; all else stays as it was."""

from __future__ import annotations

import logging
import re
import secrets
import subprocess
import sys
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.identity.api_key import SECRET_BYTES
from secure_rpc.telemetry.redaction import REDACTED, scrub, scrub_bytes, without_secrets
from secure_rpc.testing.logs import as_they_were
from secure_rpc.v1 import exchange_pb2

from support.logs import lines_of

JWT = jwt.encode({"sub": "alice", "aud": "x"}, "k" * 32, algorithm="HS256")
KEY = f"k1.{secrets.token_urlsafe(SECRET_BYTES)}"
PEM = Authority.create("a").issue(client_request("a", "example.org")).key_pem.decode()
SECRETS = {
    "token": JWT,
    "token that was cut": JWT[: JWT.index(".") - 3],
    "private key": PEM,
    "private key on one line": PEM.replace("\n", "\\n"),
    "private key that was cut": PEM[:120],
    "API key": KEY,
    "API key with something stuck to it": f"{KEY}x",
}
AROUND = ("{}", "it said {} and went on", '{{"a": "{}"}}', "('x', '{}')", "x={}", "a\n{}\nb")


def shown(text: str, secret: str) -> bool:
    """Tell whether a piece of the secret that is worth having stands in a text."""
    pieces = re.findall(r"[A-Za-z0-9+/_-]{16,}", secret)
    return any(piece in text for piece in pieces)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", SECRETS)
def test_what_looks_like_a_secret_is_taken_out(name: str, around: str) -> None:
    text = around.format(SECRETS[name])
    assert shown(text, SECRETS[name])
    assert not shown(scrub(text), SECRETS[name])
    assert REDACTED in scrub(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcdef123456", "Authorization: [redacted]"),
        ("bearer  abcdef123456, next", "bearer  [redacted], next"),
        ("Basic dXNlcjpwYXNz", "Basic [redacted]"),
        ("{'authorization': 'Custom abc', 'x': 1}", "{'authorization': '[redacted]', 'x': 1}"),
        (r"{\"authorization\": \"Custom abc\"}", r"{\"authorization\": \"[redacted]\"}"),
        ("('x-api-key', 'anything')", "('x-api-key', '[redacted]')"),
        ("Set-Cookie: session=1; Path=/", "Set-Cookie: [redacted]"),
        ("redis://alice:hunter2@store:6379/0", "redis://[redacted]@store:6379/0"),
    ],
)
def test_headers_and_addresses_lose_their_secret_alone(text: str, expected: str) -> None:
    assert scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "call spiffe://example.org/ns/shop/sa/orders",
        "https://issuer.example.org/keys, mail to ops@example.org",
        "basic things about the bearer of a token",
        "authorization is required",
        "orders.v1.OrderService/GetOrder took 1.234 ms",
        "tests.test_a_name_that_says_what_is_shown_and_is_rather_long_for_that",
        "sha256 4bf92f3577b34da6a3ce929d0e0e47364bf92f3577b34da6a3ce929d0e0e4736",
        '{"authorization":"[redacted]","cookie":"[redacted]"}',
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert scrub(text) == text


@given(st.binary())
def test_bytes_of_any_kind_pass(data: bytes) -> None:
    assert scrub_bytes(b"\xff\x00" + data[:8]) == b"\xff\x00" + data[:8]
    scrub_bytes(data)


@pytest.mark.parametrize("text", ["cookie" * 50_000, "eyJ" * 50_000, "x://" * 50_000 + "@", "a." * 50_000 + "@"])
def test_a_text_that_is_made_for_it_holds_nothing_up(text: str) -> None:
    scrub(text)  # what takes more than linear time would end the test by its timeout


def test_a_message_is_shown_without_the_fields_that_its_proto_hides() -> None:
    message = exchange_pb2.ExchangeRequest(subject_token="s3cret", audience="orders")  # noqa: S106
    found = without_secrets("request", {"inner": [message]})
    assert found == {"inner": [{"subject_token": REDACTED, "audience": "orders"}]}


@pytest.mark.parametrize(
    "value",
    [
        {"headers": [("authorization", "s3cret")]},
        {"a": {"b": {"client_secret": "s3cret"}}},
        {"access_token": "s3cret"},
        [{"Refresh-Token": "s3cret"}],
        (("x-api-key", b"s3cret"),),
    ],
)
def test_values_are_taken_out_by_the_name_they_stand_under(value: Any) -> None:
    assert "s3cret" not in str(without_secrets("x", value))
    assert REDACTED in str(without_secrets("x", value))


def test_what_refers_to_itself_is_shown_to_some_depth() -> None:
    value: dict[str, Any] = {}
    value["again"] = value
    assert "..." in str(without_secrets("x", value))


@pytest.mark.parametrize("name", SECRETS)
def test_no_line_of_anybody_shows_a_secret(name: str) -> None:
    secret = SECRETS[name]

    def write() -> None:
        library = logging.getLogger("some.library")
        library.warning("it was %s", secret)
        library.warning("it was there", extra={"headers": secret})
        try:
            int(secret)
        except ValueError:
            library.exception("failed")

    with as_they_were():
        lines = lines_of(write)
    assert len(lines) == 3
    for line in lines:
        orjson.loads(line)
        assert not shown(line, secret)


def test_what_nobody_catches_shows_no_secret_on_any_thread() -> None:
    code = (
        "import threading\n"
        "from secure_rpc.telemetry.redaction import guard_tracebacks\n"
        "guard_tracebacks()\n"
        "class Late:\n"
        f"    def __del__(self): raise ValueError({JWT!r})\n"
        "Late()\n"
        f"t = threading.Thread(target=lambda: int({JWT!r})); t.start(); t.join()\n"
        f"raise KeyError({JWT!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 3
    assert not shown(done.stderr, JWT)
