"""Sensitive fields, encrypted from end to end: AES-256-GCM (NIST SP 800-38D) with the keys of a file both ends have.

An encrypted value is "enc:v1:<key id>:<base64url of nonce and ciphertext>", bound to the method, to whether it is asked
or answered, and to the message and field that it is of.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Self

import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from secure_rpc.configuration import NOT_SHOWN, ConfigurationError, Section, read_yaml
from secure_rpc.sensitive import change
from secure_rpc.watching import FileWatch

HEADER, VERSION = "field-encryption", "v1"  # by which a caller asks for encrypted responses
PREFIX = "enc:v1:"
KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
MAX_KEYS = 100
MAX_VALUES = 1000  # of one message: 10 us each, and no other call goes on meanwhile
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SEALED = re.compile(r"enc:v1:([A-Za-z0-9._-]{1,64}):([A-Za-z0-9_-]+)", re.ASCII)


_WRONG = {
    "FIELD_NOT_ENCRYPTED": "is not encrypted",
    "FIELD_UNDECRYPTABLE": "cannot be decrypted",
    "FIELDS_TOO_MANY": f"a message can have {MAX_VALUES} encrypted values",
}


class EncryptedFields(Enum):
    """Whether sensitive fields may travel as plain text."""

    OPTIONAL = "optional"
    REQUIRED = "required"


class FieldError(Exception):
    """A sensitive field is not as it must be; `reason` is the reason of the refusal."""

    def __init__(self, reason: str, name: str) -> None:
        self.reason = reason
        super().__init__(f"{name}: {_WRONG[reason]}")


class KeyringFile(Section):
    """The file."""

    active: str  # the key that encrypts; all of them decrypt
    keys: dict[str, str] = Field(min_length=1, max_length=MAX_KEYS, repr=False)  # base64 of 32 bytes, by id

    @field_validator("keys", mode="before")
    @classmethod
    def _are_keys(cls, keys: Any) -> Any:
        for key_id, key in keys.items() if isinstance(keys, dict) else ():
            if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
                raise PydanticCustomError(NOT_SHOWN, "a key id is not 1 to 64 of A-Z a-z 0-9 . _ -, as text")
            try:
                good = isinstance(key, str) and len(base64.b64decode(key, validate=True)) == KEY_BYTES
            except (binascii.Error, ValueError):
                good = False
            if not good:
                raise PydanticCustomError(
                    NOT_SHOWN, "{key_id} is not 32 bytes in base64; make one by `keyring rotate`", {"key_id": key_id}
                )
        return keys

    @model_validator(mode="after")
    def _active_is_there(self) -> Self:
        if self.active not in self.keys:
            raise PydanticCustomError(NOT_SHOWN, "the active key is not among the keys; name one of them")
        return self


@dataclass(frozen=True, slots=True)
class _Keys:
    active: str
    ciphers: dict[str, AESGCM]


class Keyring:
    """Encrypt and decrypt the sensitive fields of messages with the keys of a file, which is followed.

    Args:
        path: the file.
        on_reload: is told whether a change was taken up, and what is wrong where it was not.

    Raises:
        ConfigurationError: the file is missing or wrong.
    """

    def __init__(
        self, path: Path, on_reload: Callable[[ConfigurationError | None], None] = lambda _error: None
    ) -> None:
        self._path = path
        self._on_reload = on_reload
        self._watch = FileWatch([path])
        self._keys = _keys_of(load(path))

    async def keep_fresh(self) -> None:
        """Read the file again when it changes, until cancelled."""

        async def take_up(_changed: frozenset[Path]) -> None:
            await asyncio.to_thread(self.reload)

        await self._watch.run(take_up)

    def reload(self) -> None:
        """Read the file now; one that is wrong leaves the keys as they were."""
        try:
            self._keys = _keys_of(load(self._path))
        except ConfigurationError as error:
            self._on_reload(error)
        else:
            self._on_reload(None)

    def encrypt(self, message: Any, where: str) -> None:
        """Encrypt the sensitive fields of a message, in place.

        Args:
            message: whose fields are plain text.
            where: it is sent, by `request_of` or `response_of`; nowhere else is it believed.

        Raises:
            FieldError: it has more of them than a message can.
        """
        keys, count = self._keys, _counter()
        cipher = keys.ciphers[keys.active]

        def seal(name: str, value: str | bytes) -> str | bytes:
            count(name)
            nonce, plain = secrets.token_bytes(NONCE_BYTES), value if isinstance(value, bytes) else value.encode()
            sealed = nonce + cipher.encrypt(nonce, plain, _bound_to(where, name))
            text = f"{PREFIX}{keys.active}:{_encode(sealed)}"
            return text if isinstance(value, str) else text.encode()

        change(message, seal)

    def decrypt(self, message: Any, where: str, mode: EncryptedFields) -> None:
        """Decrypt the sensitive fields of a message, in place.

        Args:
            message: whose fields may be encrypted.
            where: it has come, by `request_of` or `response_of`.
            mode: whether plain text is taken.

        Raises:
            FieldError: one was altered, put elsewhere, or encrypted with an unknown key; or is plain text; or there
                are more of them than a message can have.
        """
        keys, count, required = self._keys, _counter(), mode is EncryptedFields.REQUIRED

        def unseal(name: str, value: str | bytes) -> str | bytes:
            text = value if isinstance(value, str) else value.decode("latin-1")
            if not text.startswith(PREFIX):
                if required:
                    raise FieldError("FIELD_NOT_ENCRYPTED", name)
                return value
            count(name)
            opened = _open(keys, text, where, name)
            try:
                return opened if isinstance(value, bytes) else opened.decode()
            except UnicodeDecodeError:
                raise FieldError("FIELD_UNDECRYPTABLE", name) from None

        change(message, unseal)


def request_of(path: str) -> str:
    """Return what the fields of requests of a method are bound to.

    Args:
        path: "/package.Service/Method".
    """
    return f"request {path}"


def response_of(path: str) -> str:
    """Return what the fields of responses of a method are bound to.

    Args:
        path: "/package.Service/Method".
    """
    return f"response {path}"


def load(path: Path) -> KeyringFile:
    """Read a keyring.

    Raises:
        ConfigurationError: it is missing or wrong; no key is shown.
    """
    return read_yaml(path).validated(KeyringFile)


def save(path: Path, keyring: KeyringFile) -> None:
    """Write a keyring, in one step, for its owner's eyes alone.

    Raises:
        ConfigurationError: it cannot be written.
    """
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)  # what a crash has left may be for others' eyes too
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            yaml.safe_dump(keyring.model_dump(), file, sort_keys=False)  # the newest key stands last
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror}); check the path") from None


def new_key() -> tuple[str, str]:
    """Return a new key's id, and the key as the file has it."""
    return secrets.token_hex(4), base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _keys_of(file: KeyringFile) -> _Keys:
    return _Keys(file.active, {key_id: AESGCM(base64.b64decode(key)) for key_id, key in file.keys.items()})


def _open(keys: _Keys, text: str, where: str, name: str) -> bytes:
    parts = _SEALED.fullmatch(text)
    cipher = keys.ciphers.get(parts[1]) if parts else None
    sealed = _decode(parts[2]) if parts else b""
    if cipher is None or len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise FieldError("FIELD_UNDECRYPTABLE", name)
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound_to(where, name))
    except InvalidTag:
        raise FieldError("FIELD_UNDECRYPTABLE", name) from None


def _counter() -> Callable[[str], None]:
    counted = 0

    def count(name: str) -> None:
        nonlocal counted
        counted += 1
        if counted > MAX_VALUES:
            raise FieldError("FIELDS_TOO_MANY", name)

    return count


def _bound_to(where: str, name: str) -> bytes:
    return f"{where} {name}".encode()


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Return what base64url says, b"" where we would say it otherwise: bits at its end can be without use."""
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
    return content if _encode(content) == text else b""
