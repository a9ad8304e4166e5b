"""Sessions in the shared store: a hash each, which ends with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from secure_rpc.caller import Peer, Principal
from secure_rpc.state.redis import Store
from secure_rpc.state.sessions import Extension, Owner, SessionRecord

GRACE_SECONDS = 60.0  # past its end, for a holder whose clock is behind or who is late to look
FIELDS = ("record", "until", "extension")

# Scripts run as one step. Times are compared as numbers and kept as they were given.
PUT = """
local before = tonumber(redis.call('HGET', KEYS[1], 'until') or '0')
if tonumber(ARGV[2]) > before then
  redis.call('HSET', KEYS[1], 'record', ARGV[1], 'until', ARGV[2])
  redis.call('PEXPIREAT', KEYS[1], ARGV[3])
end
return 1
"""
EXTEND = """
local before = redis.call('HGET', KEYS[1], 'until')
if not before then return false end
if tonumber(ARGV[2]) <= tonumber(before) then return before end
redis.call('HSET', KEYS[1], 'until', ARGV[2], 'extension', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
return ARGV[2]
"""

logger = logging.getLogger(__name__)


class RedisSessions:
    """See `SessionStore`.

    Args:
        store: what the replicas share.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, sessions: Sequence[tuple[str, SessionRecord]]) -> None:
        """See `SessionStore`; one round trip for all."""

        async def write(client: Redis) -> None:
            async with client.pipeline(transaction=False) as pipe:
                for session_id, record in sessions:
                    until = record.expires_at_seconds
                    pipe.eval(PUT, 1, self._key(session_id), _record_text(record), repr(until), _forgotten_at(until))
                await pipe.execute()

        await self._store.run(write)

    async def remove(self, ids: Sequence[str]) -> None:
        """See `SessionStore`; one round trip for all."""
        await self._store.run(lambda client: cast("Any", client.unlink(*map(self._key, ids))))

    async def read(self, session_id: str) -> SessionRecord | None:
        """See `SessionStore`."""
        [found] = await self._read([session_id])
        return _record_of(found)

    async def extend(self, session_id: str, extension: Extension) -> float | None:
        """See `SessionStore`."""
        until = extension.expires_at_seconds
        arguments = (self._key(session_id), _extension_text(extension), repr(until), str(_forgotten_at(until)))
        answer = await self._store.run(lambda client: cast("Any", client.eval(EXTEND, 1, *arguments)))
        return None if answer is None else float(answer)

    async def extensions(self, ids: Sequence[str]) -> list[Extension | None]:
        """See `SessionStore`; one round trip for all."""
        return [_extension_of(found) for found in await self._read(ids)]

    async def _read(self, ids: Sequence[str]) -> list[list[bytes | None]]:
        async def read(client: Redis) -> list[list[bytes | None]]:
            async with client.pipeline(transaction=False) as pipe:
                for session_id in ids:
                    pipe.hmget(self._key(session_id), list(FIELDS))
                return cast("list[list[bytes | None]]", await pipe.execute())

        return await self._store.run(read)

    def _key(self, session_id: str) -> str:
        return self._store.key(f"session:{session_id}")


def _forgotten_at(until_seconds: float) -> int:
    return int((until_seconds + GRACE_SECONDS) * 1000)


def _record_text(record: SessionRecord) -> bytes:
    return orjson.dumps([*record.owner, record.method, record.latest_seconds])


def _record_of(found: Sequence[bytes | None]) -> SessionRecord | None:
    """Return the record that fields of the store hold; what is no record of ours is none."""
    text, until, _ = found
    if text is None or until is None:
        return None
    try:
        workload, issuer, subject, method, latest = orjson.loads(text)
        owner = Owner(str(workload), str(issuer), str(subject))
        return SessionRecord(owner, str(method), float(until), float("inf") if latest is None else float(latest))
    except (ValueError, TypeError):
        logger.warning("a session in the shared store is malformed, and does not count")
        return None


def _extension_text(extension: Extension) -> bytes:
    principal, peer = extension.principal, extension.peer
    return orjson.dumps(
        {
            "workload": principal.workload,
            "issuer": principal.issuer,
            "subject": principal.subject,
            "tenants": sorted(principal.tenants),
            "groups": sorted(principal.groups),
            "roles": sorted(principal.roles),
            "proofs": principal.proofs,
            "expires_at": principal.expires_at_seconds,
            "claims": dict(principal.claims),
            "certificate": peer.certificate_pem.decode("ascii"),
            "chain": peer.chain_pem.decode("ascii"),
        }
    )


def _extension_of(found: Sequence[bytes | None]) -> Extension | None:
    """Return the extension that fields of the store hold; what is no extension of ours is none."""
    _, until, text = found
    if text is None or until is None:
        return None
    try:
        said = orjson.loads(text)
        principal = Principal(
            workload=said["workload"],
            issuer=said["issuer"],
            subject=said["subject"],
            tenants=frozenset(said["tenants"]),
            groups=frozenset(said["groups"]),
            roles=frozenset(said["roles"]),
            proofs=tuple(said["proofs"]),
            expires_at_seconds=float(said["expires_at"]),
            claims=dict(said["claims"]),
        )
        tls = {"x509_pem_cert": [said["certificate"].encode()], "x509_pem_cert_chain": [said["chain"].encode()]}
        return Extension(principal, Peer("", tls), float(until))
    except (ValueError, TypeError, KeyError, AttributeError):
        logger.warning("the extension of a session in the shared store is malformed, and does not count")
        return None
