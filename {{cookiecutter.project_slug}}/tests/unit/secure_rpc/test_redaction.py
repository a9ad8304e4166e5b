"""What people are shown of a message."""

from __future__ import annotations

from google.protobuf import any_pb2

from secure_rpc.redaction import REDACTED, redacted

from support.secrets_kept import secret


def test_nothing_hidden_is_shown_at_any_depth() -> None:
    shown = redacted(secret())
    assert shown == {
        "label": "card of alice",
        "card": REDACTED,
        "spareCard": REDACTED,
        "keys": REDACTED,
        "purse": {"content": REDACTED, "inner": [{"content": REDACTED}]},
        "purses": {"a": {"content": REDACTED}},
        "hint": REDACTED,
    }


def test_nor_is_what_is_packed() -> None:
    packed = any_pb2.Any()
    packed.Pack(secret())
    shown = redacted(packed)
    assert shown["card"] == REDACTED
    assert "secret" not in str(shown)
