"""Secrets stay out of what is written: by the key that they stand under, by the field's option, and by their look.

The last is a net under the others: whoever logged it, and wherever in the text it stands, what looks like a credential
is taken out of the line that is about to be written.
"""

from __future__ import annotations

import re
import sys
import threading
import traceback
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any

REDACTED = "[redacted]"
SECRET_KEYS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "token",
        "cookie",
        "set-cookie",
        "password",
        "passphrase",
        "secret",
        "credentials",
        "private_key",
        "api_key",
        "x-api-key",
        "call-proof",
    }
)
SECRET_ENDINGS = ("_token", "_secret", "_password", "_cookie", "_private_key", "_api_key")  # of keys
MAX_DEPTH = 8  # of what is looked into; deeper than that nothing is shown
_QUOTED = r"""(\\*["']?\s*[:=,]\s*\\*["']?)"""  # between a key and its value: of JSON, of Python, of a header
# What a text has to hold, in lower case, for the pattern to be tried at all: most lines hold none of these
_SECRETS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    # a JWS or JWE (RFC 7515, section 3), whole or cut
    (("eyj",), re.compile(r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,4}"), REDACTED),
    (
        ("private key",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=\s:,]|\\+[nr]|-(?!----))*"
            r"(?:-----END [A-Z0-9 ]*PRIVATE KEY-----)?"
        ),
        REDACTED,
    ),
    (
        ("bearer", "basic", "dpop"),
        re.compile(r"\b((?i:bearer|basic|dpop))((?:\s|%20|\\+t)+)(?=[a-z]*[A-Z0-9._~+/=-])[A-Za-z0-9._~+/=-]{6,}"),
        rf"\1\2{REDACTED}",
    ),
    (
        ("cookie", "authorization", "x-api-key"),
        re.compile(
            rf"((?:set-)?cookie|(?:proxy-)?authorization|x-api-key){_QUOTED}(?!\[redacted\])[^\s\"'\\][^\"'\\\r\n]*",
            re.IGNORECASE,
        ),
        rf"\1\2{REDACTED}",
    ),
    # user and password of a URL
    (("@",), re.compile(r"([a-z][a-z0-9+.-]{0,20}://)[^\s/@\"']{1,512}@", re.IGNORECASE), rf"\1{REDACTED}@"),
)
_KEY_SECRET = re.compile(r"\.[A-Za-z0-9_-]{43}")  # of an API key of ours; begins with a letter that is quick to find
_API_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])[a-z0-9]{1,32}\.(?:[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"
    r"|(?=[a-z0-9_-]*[A-Z])[A-Za-z0-9_-]{44,})"  # with something stuck to its end; long names have no capitals
)


def scrub(text: str) -> str:
    """Return a text without what looks like a token, a private key, a cookie, an API key or a password in a URL."""
    lowered = text.lower()
    for hints, pattern, instead in _SECRETS:
        for hint in hints:
            if hint in lowered:
                text = pattern.sub(instead, text)
                break
    return _API_KEY.sub(REDACTED, text) if _KEY_SECRET.search(text) else text


def scrub_bytes(text: bytes) -> bytes:
    """Return bytes without what looks like a secret, all others as they were."""
    return scrub(text.decode("latin-1")).encode("latin-1")


def without_secrets(key: object, value: Any, depth: int = 0) -> Any:
    """Return what may be written of a value.

    Args:
        key: that it stands under.
        value: of any kind; messages are shown without fields that are `debug_redact` or `sensitive`.
        depth: how deep in another value it stands.
    """
    if isinstance(key, str) and is_secret(key):
        return REDACTED
    if value is None or isinstance(value, str | int | float):
        return value
    return "..." if depth >= MAX_DEPTH else _inside(value, depth + 1)


def _inside(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {key: without_secrets(key, held, depth) for key, held in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], str):  # noqa: PLR2004  # an entry of metadata
            return [value[0], without_secrets(value[0], value[1], depth)]
        return [without_secrets(None, each, depth) for each in value]
    return _of_message(value, depth) if hasattr(value, "ListFields") else value


@lru_cache(1024)
def is_secret(key: str) -> bool:
    """Tell whether what stands under a key is a secret."""
    lowered = key.lower()
    return lowered in SECRET_KEYS or lowered.replace("-", "_").endswith(SECRET_ENDINGS)


def _of_message(message: Any, depth: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for field, value in message.ListFields():
        if _is_hidden(field):
            shown[field.name] = REDACTED
        elif isinstance(value, bytes):
            shown[field.name] = f"{len(value)} bytes"
        elif hasattr(value, "items"):
            shown[field.name] = without_secrets(field.name, dict(value.items()), depth)
        elif isinstance(value, str) or not hasattr(value, "__iter__"):
            shown[field.name] = without_secrets(field.name, value, depth)
        else:
            shown[field.name] = without_secrets(field.name, list(value), depth)
    return shown


def _is_hidden(field: Any) -> bool:
    from secure_rpc.v1 import access_pb2  # noqa: PLC0415  # the supervisor logs no messages, and imports no protos

    options = field.GetOptions()
    return bool(options.debug_redact or options.Extensions[access_pb2.sensitive])


def guard_tracebacks() -> None:
    """Have what nobody catches written to standard error without secrets, on all threads."""

    def write(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        if sys.stderr is not None:
            sys.stderr.write(scrub(text))

    sys.excepthook = write
    threading.excepthook = lambda told: write(told.exc_type, told.exc_value, told.exc_traceback)
    sys.unraisablehook = lambda told: write(told.exc_type, told.exc_value, told.exc_traceback)
