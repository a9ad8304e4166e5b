"""The keys that callers sign with, registered in a file: whose each is, and how long it counts."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias, cast

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AwareDatetime, Field, field_validator, model_validator

from secure_rpc.caller import Principal
from secure_rpc.configuration import ConfigurationError, Section, read_yaml
from secure_rpc.identity.certificate import MIN_RSA_BITS
from secure_rpc.watching import FileWatch

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
MAX_KEYS = 10_000
LARGE_BYTES = 32_768  # from which on a file is read again in a process of its own
CHILD_SECONDS = 60.0
REMEDY = "use an EC key on P-256 or P-384, an Ed25519 key, or an RSA key of 2048 bits or more"


def algorithms_of(key: object) -> tuple[str, ...]:
    """Return by which algorithms a key may sign (RFC 7518, section 3.1; RFC 8037), none where it is no good.

    Args:
        key: of `cryptography`, public or private.
    """
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return {"secp256r1": ("ES256",), "secp384r1": ("ES384",)}.get(key.curve.name, ())
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return ("PS256", "RS256") if key.key_size >= MIN_RSA_BITS else ()
    return ("EdDSA",) if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey) else ()


class RegisteredKey(Section):
    """One key, as the file has it."""

    public_key: str = Field(max_length=4096)  # PEM
    workload: str = ""  # whose it is: that of the certificate, as in "spiffe://...", or
    issuer: str = ""  # the user of a token or of an API key
    subject: str = ""
    expires: AwareDatetime | None = None

    @field_validator("public_key")
    @classmethod
    def _is_strong(cls, pem: str) -> str:
        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError(f"is no public key in PEM; {REMEDY}") from error
        if not algorithms_of(key):
            raise ValueError(f"signs by no algorithm that is taken; {REMEDY}")
        return pem

    @model_validator(mode="after")
    def _is_somebodys(self) -> Self:
        if bool(self.workload) == bool(self.subject) or bool(self.subject) != bool(self.issuer):
            raise ValueError('say whose it is: either "workload", or "issuer" and "subject"')
        return self


class SigningKeyFile(Section):
    """The file."""

    keys: dict[str, RegisteredKey] = Field(default_factory=dict, max_length=MAX_KEYS)

    @field_validator("keys")
    @classmethod
    def _ids_fit(cls, keys: dict[str, RegisteredKey]) -> dict[str, RegisteredKey]:
        for key_id in keys:
            if not KEY_ID.fullmatch(key_id):
                raise ValueError(f'the key id "{key_id}" is not 1 to 64 of A-Z a-z 0-9 . _ -')
        return keys


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that is registered."""

    public_key: PublicKey
    algorithms: tuple[str, ...]
    entry: RegisteredKey

    def belongs_to(self, principal: Principal | None) -> bool:
        """Tell whether the key is the caller's: its user's, or its workload's."""
        if principal is None:
            return False
        entry = self.entry
        if entry.workload:
            return entry.workload == principal.workload
        return (entry.issuer, entry.subject) == (principal.issuer, principal.subject)

    def has_expired(self, now_seconds: float) -> bool:
        """Tell whether the key counts no more."""
        return self.entry.expires is not None and self.entry.expires.timestamp() <= now_seconds


@dataclass(frozen=True, slots=True)
class _Registered:
    keys: dict[str, SigningKey] = field(default_factory=dict)
    users: frozenset[tuple[str, str]] = frozenset()  # issuer and subject of those who have one, expired or not


class SigningKeys:
    """The keys of a file, which is followed.

    Args:
        path: the file; None where no key is registered.
        on_reload: is told whether a change was taken up, and what is wrong where it was not.

    Raises:
        ConfigurationError: the file is missing or wrong.
    """

    def __init__(
        self, path: Path | None, on_reload: Callable[[ConfigurationError | None], None] = lambda _error: None
    ) -> None:
        self._path = path
        self._on_reload = on_reload
        self._watch = FileWatch([path] if path else [])
        self._registered = load(path) if path else _Registered()

    def find(self, key_id: str) -> SigningKey | None:
        """Return a key by its id."""
        return self._registered.keys.get(key_id)

    def is_known(self, principal: Principal | None) -> bool:
        """Tell whether a key is registered of the caller's user, expired or not."""
        return principal is not None and (principal.issuer, principal.subject) in self._registered.users

    async def keep_fresh(self) -> None:
        """Read the file again when it changes, until cancelled; one that is wrong leaves the keys as they were."""
        if self._path is not None:
            await self._watch.run(self._take_up)

    async def _take_up(self, _changed: frozenset[Path]) -> None:
        if self._path is None:
            return
        try:
            self._registered = await load_beside(self._path)
        except ConfigurationError as error:
            self._on_reload(error)
        else:
            self._on_reload(None)


def load(path: Path) -> _Registered:
    """Return the keys of a file, ready for use.

    Raises:
        ConfigurationError: it is missing or wrong.
    """
    return _registered(read(path))


def read(path: Path) -> dict[str, RegisteredKey]:
    """Read a file of keys.

    Raises:
        ConfigurationError: it is missing or wrong.
    """
    return read_yaml(path).validated(SigningKeyFile).keys


def _registered(entries: dict[str, RegisteredKey]) -> _Registered:
    keys = {key_id: _signing_key(entry) for key_id, entry in entries.items()}
    return _Registered(keys, frozenset((entry.issuer, entry.subject) for entry in entries.values() if entry.subject))


async def load_beside(path: Path) -> _Registered:
    """Read a file of keys while calls go on: a parser of YAML lets nothing else run until it is done with all of it.

    Raises:
        ConfigurationError: it is missing or wrong.
    """
    return await asyncio.to_thread(_load_by_child if await asyncio.to_thread(_is_large, path) else load, path)


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size >= LARGE_BYTES
    except OSError:
        return False  # reading it says why


def _load_by_child(path: Path) -> _Registered:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    command = [sys.executable, "-P", "-m", __name__, str(path)]
    try:
        done = subprocess.run(  # noqa: S603  # this module, by this Python
            command, capture_output=True, timeout=CHILD_SECONDS, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{path}: could not be read in a process of its own: {error}") from None
    problems, *lines = done.stdout.splitlines() or [orjson.dumps([f"{path}: could not be read: {done.stderr!r}"])]
    if found := orjson.loads(problems):
        raise ConfigurationError(*found)
    # one by one: other threads come between
    entries = {key_id: RegisteredKey.model_validate_json(entry) for key_id, entry in map(orjson.loads, lines)}
    return _registered(entries)


def _answer(path: Path) -> Iterator[bytes]:
    """Yield the child's lines: what is wrong, then a key each."""
    try:
        entries = read(path)
    except ConfigurationError as error:
        yield orjson.dumps(error.problems)
        return
    yield orjson.dumps([])
    for key_id, entry in entries.items():
        yield orjson.dumps([key_id, entry.model_dump_json()])


def _signing_key(entry: RegisteredKey) -> SigningKey:
    key = cast("PublicKey", load_pem_public_key(entry.public_key.encode()))  # the entry was held against the kinds
    return SigningKey(key, algorithms_of(key), entry)


if __name__ == "__main__":
    sys.stdout.buffer.writelines(line + b"\n" for line in _answer(Path(sys.argv[1])))
