"""API keys, `<id>.<secret>`: for callers that can hold no token. Only a hash of the secret is kept.

The secret is 256 random bits, so a plain SHA-256 of it cannot be reversed by trying; slow hashes are for passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import AwareDatetime, Field

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError, Section, read_yaml

ISSUER = "api-key"  # of principals that an API key vouches for
SECRET_BYTES = 32
LOOK_AGAIN_SECONDS = 1.0
_KEY = re.compile(r"([a-z0-9]{1,32})\.([A-Za-z0-9_-]{43})", re.ASCII)
_NOBODY = "0" * 64


class ApiKey(Section):
    """One key, as the file has it."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    subject: str = Field(min_length=1)  # two keys of one subject are both valid, for a rotation
    tenants: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    expires: AwareDatetime


class ApiKeyFile(Section):
    """The file."""

    keys: dict[str, ApiKey] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: tuple[int, int, int]
    keys: dict[str, ApiKey]


class ApiKeys:
    """Verify API keys against a file, which is read again when it changes.

    Args:
        path: the file.
        on_change: is told when other keys count; what was verified before must be forgotten.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: the file is missing or wrong.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_change: Callable[[], None] = lambda: None,
        on_failure: Callable[[ConfigurationError], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._on_change = on_change
        self._on_failure = on_failure
        self._clock = clock
        self._read = _Read(_stamp(path), load(path))
        self._looked_at = clock()

    def look(self) -> None:
        """Read the file again if it has changed; a file that is wrong leaves the keys as they were."""
        now = self._clock()
        if now - self._looked_at < LOOK_AGAIN_SECONDS:
            return
        self._looked_at = now
        try:
            stamp = _stamp(self._path)
            if stamp == self._read.stamp:
                return
            self._read = _Read(stamp, load(self._path))
        except ConfigurationError as error:
            self._on_failure(error)
        else:
            self._on_change()

    def verify(self, text: str) -> ApiKey:
        """Return what a key says.

        Raises:
            Unauthenticated: it is malformed, unknown, wrong or expired; the caller is not told which.
        """
        self.look()
        parts = _KEY.fullmatch(text)
        key_id, secret = parts.groups() if parts else ("", "")
        key = self._read.keys.get(key_id)
        # the same work whether the id is known or not: how long it takes tells nothing
        right = hmac.compare_digest(hash_of(secret), key.sha256 if key else _NOBODY)
        if key is None or not right:
            raise errors.Unauthenticated("the API key is not accepted", reason="API_KEY_INVALID")
        if key.expires.timestamp() <= self._clock():
            raise errors.Unauthenticated(
                "the API key is not accepted", reason="API_KEY_INVALID", recorded_reason="API_KEY_EXPIRED"
            )
        return key


def load(path: Path) -> dict[str, ApiKey]:
    """Read a file of keys.

    Raises:
        ConfigurationError: it is missing or wrong.
    """
    return read_yaml(path).validated(ApiKeyFile).keys


def save(path: Path, keys: dict[str, ApiKey]) -> None:
    """Write a file of keys, in one step, for its owner's eyes alone.

    Raises:
        ConfigurationError: it cannot be written.
    """
    content = ApiKeyFile(keys=keys).model_dump(mode="json")
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)  # what a crash has left may be for others' eyes too
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            yaml.safe_dump(content, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror}); check the path") from None


def new_key(subject: str, expires: datetime, tenants: tuple[str, ...], groups: tuple[str, ...]) -> tuple[str, ApiKey]:
    """Return a new key's text, which is told once and never kept, and what the file holds of it.

    Raises:
        ConfigurationError: it is nobody's.
    """
    if not subject:
        raise ConfigurationError("the subject is empty; name whose key it is")
    secret = secrets.token_urlsafe(SECRET_BYTES)
    key_id = secrets.token_hex(6)
    entry = ApiKey(
        sha256=hash_of(secret), subject=subject, tenants=tenants, groups=groups, expires=expires.astimezone(UTC)
    )
    return f"{key_id}.{secret}", entry


def hash_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); make it by `apikey new`") from None
    return status.st_mtime_ns, status.st_size, status.st_ino
