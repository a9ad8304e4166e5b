"""Deny-lists and CRLs read without making calls wait: small files on a thread, large ones in a process of their own.

A list of 20,000 takes a tenth of a second of Python, thread or not. What the child sends is taken up line by line.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity import crl as crls
from secure_rpc.identity import deny_list
from secure_rpc.identity.crl import Crl
from secure_rpc.identity.deny_list import DenyList, Entry

Kind: TypeAlias = Literal["deny_list", "crl"]

LARGE_BYTES = 32_768  # from which on a file is read in a process of its own
ITEMS_PER_LINE = 500
CHILD_SECONDS = 60.0


class Loaded(NamedTuple):
    """What a file says."""

    deny_list: DenyList
    crls: tuple[Crl, ...]


class Order(NamedTuple):
    """What is to be read.

    The CAs are needed for CRLs alone.
    """

    kind: Kind
    path: Path
    authorities: Sequence[x509.Certificate] = ()

    def to_bytes(self) -> bytes:
        """Return it for another process."""
        pems = [each.public_bytes(Encoding.PEM).decode() for each in self.authorities]
        return orjson.dumps([self.kind, str(self.path), "".join(pems)])

    @classmethod
    def of(cls, plain: bytes) -> Order:
        """Return what another process has sent."""
        kind, path, pem = orjson.loads(plain)
        return cls(kind, Path(path), x509.load_pem_x509_certificates(pem.encode()) if pem else ())


def load(order: Order) -> Loaded:
    """Read a file now.

    Raises:
        ConfigurationError: it cannot be read, or is wrong.
    """
    if order.kind == "crl":
        return Loaded(DenyList(), tuple(crls.read(order.path, order.authorities, time.time())))
    return Loaded(DenyList(each.entry() for each in deny_list.read(order.path)), ())


async def load_beside(order: Order) -> Loaded:
    """Read a file while calls go on.

    Raises:
        ConfigurationError: it cannot be read, or is wrong.
    """
    if await asyncio.to_thread(_size_of, order.path) < LARGE_BYTES:
        return await asyncio.to_thread(load, order)
    lines = (await asyncio.to_thread(_run_child, order)).splitlines()
    header = orjson.loads(lines[0])
    if header["problems"]:
        raise ConfigurationError(*header["problems"])
    loaded = Loaded(DenyList(), tuple(Crl(*each) for each in header["crls"]))
    for line in lines[1:]:
        number, items = orjson.loads(line)
        if number is None:
            loaded.deny_list.add(_entry(*item) for item in items)
        else:
            loaded.crls[number].serials.update(int(item, 16) for item in items)
        await asyncio.sleep(0)
    return loaded


def answer(order: Order) -> Iterator[bytes]:
    """Yield the child's lines: a header, then what is revoked."""
    header: dict[str, Any] = {"problems": (), "crls": ()}
    entries: list[Entry] = []
    lists: list[Crl] = []
    try:
        if order.kind == "crl":
            lists = crls.read(order.path, order.authorities, time.time())
        else:
            entries = [each.entry() for each in deny_list.read(order.path)]
    except ConfigurationError as error:
        header["problems"] = error.problems
    header["crls"] = [[each.issuer, each.this_update_seconds, each.next_update_seconds] for each in lists]
    yield orjson.dumps(header)
    plain = ([*each[:3], None if each.until_seconds == deny_list.FOR_EVER else each.until_seconds] for each in entries)
    while items := list(islice(plain, ITEMS_PER_LINE)):
        yield orjson.dumps([None, items])
    for number, each in enumerate(lists):
        serials = (f"{serial:x}" for serial in each.serials)
        while some := list(islice(serials, ITEMS_PER_LINE)):
            yield orjson.dumps([number, some])


def _entry(kind: str, issuer: str, name: str, until_seconds: float | None) -> Entry:
    return Entry(kind, issuer, name, deny_list.FOR_EVER if until_seconds is None else until_seconds)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it says why


def _run_child(order: Order) -> bytes:
    """Return what the child says.

    Raises:
        ConfigurationError: it did not answer.
    """
    command = [sys.executable, "-P", "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(  # noqa: S603  # this module, by this Python
            command, input=order.to_bytes(), capture_output=True, timeout=CHILD_SECONDS, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{order.path}: could not be read in a process of its own: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigurationError(f"{order.path}: could not be read: {said[-1] if said else f'exit {done.returncode}'}")
    return done.stdout


if __name__ == "__main__":
    sys.stdout.buffer.writelines(line + b"\n" for line in answer(Order.of(sys.stdin.buffer.read())))
