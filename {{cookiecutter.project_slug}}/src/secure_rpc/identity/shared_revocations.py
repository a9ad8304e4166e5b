"""Revocations that all replicas share: written once, known to each within a second, and kept by each for itself.

What was seen revoked stays so until its end, or until it is taken back: a store that is down, or has lost what it held,
lets nobody in again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import orjson
from pydantic import AwareDatetime, ValidationError, model_validator

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError, Section
from secure_rpc.identity.certificate import Certificate
from secure_rpc.identity.deny_list import DenyList, Entry, Revocation
from secure_rpc.identity.revocation import OnChange, Revoked

POLL_SECONDS = 0.5
MAX_ITEM_BYTES = 4096
MAX_ITEMS = 200_000
SLICE = 100  # items looked at in one turn of the event loop
REMEMBERED_SECONDS = timedelta(days=30).total_seconds()  # that something was taken back; a replica away longer keeps it
ATTEMPTS = 5  # to write, where others write, too

logger = logging.getLogger(__name__)


class SharedItems(Protocol):
    """Where the items are: fields and values, and a mark that changes with each write. All raise OSError."""

    async def version(self) -> bytes | None:
        """Return the mark."""

    def slices(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """Yield fields and their values."""

    async def put(self, field: bytes, value: bytes, *, drop: Collection[bytes], seen: bytes | None) -> bool:
        """Write a field and take out others, unless the mark is not what was seen."""


class Item(Section):
    """What a field holds."""

    revoked: Revocation
    taken_back: AwareDatetime | None = None  # since when it counts no more

    @model_validator(mode="after")
    def _has_its_end(self) -> Item:
        self.revoked.entry()  # a date may be out of range
        return self


class _Read(NamedTuple):
    value: bytes
    entry: Entry
    taken_back: bool


class SharedRevocations:
    """A `RevocationSource` that follows what is shared.

    Args:
        items: what is shared.
        max_staleness_seconds: how long what is known counts as the whole truth without being confirmed.
        refuse_when_stale: whether nobody is let in after that.
        on_reload: told after each reading of the whole whether it was taken up.
        clock: gives Unix time in seconds.
        monotonic: gives seconds that only grow.
    """

    def __init__(
        self,
        items: SharedItems,
        *,
        max_staleness_seconds: float,
        refuse_when_stale: bool = True,
        on_reload: Callable[[bool], None] = lambda _good: None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._items = items
        self._max_staleness_seconds = max_staleness_seconds
        self._refuse_when_stale = refuse_when_stale
        self._on_reload = on_reload
        self._clock = clock
        self._monotonic = monotonic
        self._known: dict[bytes, _Read] = {}
        self._revoked = Revoked(DenyList(), clock=clock)
        self._version: tuple[bytes | None] | None = None  # of what was read last
        self._confirmed = float("-inf")
        self._failing = False
        self._was_stale = True
        self.malformed = 0

    @property
    def age_seconds(self) -> float:
        """Return for how long what is known has not been confirmed; infinite where it never was."""
        return self._monotonic() - self._confirmed

    @property
    def is_refusing(self) -> bool:
        """Tell whether nobody is let in, since what is known is too old."""
        return self._refuse_when_stale and self.age_seconds > self._max_staleness_seconds

    def __len__(self) -> int:
        """Return how much is revoked."""
        return len(self._known)

    def denied(self) -> frozenset[tuple[str, str, str]]:
        """Return kind, issuer and name of all that is revoked."""
        return frozenset(each.entry[:3] for each in self._known.values())

    def check_certificate(self, certificate: Certificate) -> None:
        """See `RevocationSource`."""
        self._revoked.check_certificate(certificate)
        self._check_age()

    def check_user(self, issuer: str, subject: str, token_id: str) -> None:
        """See `RevocationSource`."""
        self._revoked.check_user(issuer, subject, token_id)
        self._check_age()

    async def keep_fresh(self, on_change: OnChange) -> None:
        """See `RevocationSource`."""
        while True:
            if await self.refresh():
                await on_change()
            await asyncio.sleep(POLL_SECONDS)

    async def refresh(self) -> bool:
        """Look once whether there is something new; return whether another answer than before may be given."""
        began, changed = self._monotonic(), False
        try:
            version = await self._items.version()
            if (version,) != self._version:
                changed = await self._read()
                self._version = (version,)
        except OSError as error:
            if not self._failing:
                logger.error("what it revokes is left as it was: %s", error)  # noqa: TRY400  # a store that is down
            self._failing = True
        else:
            if self._failing:
                logger.info("the shared revocations can be read again: %d", len(self))
            self._failing, self._confirmed = False, began
        is_stale, was_stale = self.is_refusing, self._was_stale
        self._was_stale = is_stale
        if is_stale and not was_stale:
            logger.error(
                "the shared revocations were not confirmed for %.0f s: all calls are refused until they are, "
                "as revocation.refuse_when_shared_stale says",
                self.age_seconds,
            )
        return changed or (is_stale and not was_stale)

    def _check_age(self) -> None:
        if self._refuse_when_stale and self._monotonic() - self._confirmed > self._max_staleness_seconds:
            raise errors.Unavailable("whether the credential is revoked cannot be told", reason="REVOCATION_UNKNOWN")

    async def _read(self) -> bool:
        """Take up the whole; return whether anything else is revoked than before.

        Raises:
            OSError: it cannot be had.
        """
        read: dict[bytes, _Read] = {}
        malformed: dict[bytes, str] = {}
        try:
            async for part in self._items.slices():
                for start in range(0, len(part), SLICE):
                    for field, value in part[start : start + SLICE]:
                        self._take(field, value, read, malformed)
                    await asyncio.sleep(0)
                if len(read) + len(malformed) > MAX_ITEMS:
                    raise OSError(f"the shared store holds more than {MAX_ITEMS} revocations")  # noqa: TRY301
        except OSError:
            self._on_reload(False)  # noqa: FBT003
            raise
        known = await self._put_together(read)
        changed = known.keys() != self._known.keys() or any(
            known[field].entry is not self._known[field].entry for field in known
        )
        self._known, self.malformed = known, len(malformed)
        for field, why in list(malformed.items())[:10]:
            logger.error("a shared revocation does not count, for it is malformed: %.100r: %s", field, why)
        self._on_reload(not malformed)
        logger.info("shared revocations were read: %d, and %d malformed ones", len(known), len(malformed))
        return changed

    def _take(self, field: bytes, value: bytes, read: dict[bytes, _Read], malformed: dict[bytes, str]) -> None:
        before = self._known.get(field)
        if before is not None and before.value == value:
            read[field] = before
            return
        try:
            read[field] = _parse(field, value)
        except Exception as error:  # noqa: BLE001  # whatever a hostile value brings about, the others count
            malformed[field] = f"{type(error).__name__} {error}"[:300]

    async def _put_together(self, read: dict[bytes, _Read]) -> dict[bytes, _Read]:
        now, lost = self._clock(), 0
        known = {}
        for field, before in self._known.items():
            if field not in read and before.entry.until_seconds > now:
                known[field] = before
                lost += 1
        known |= {field: each for field, each in read.items() if not each.taken_back and each.entry.until_seconds > now}
        if lost:
            logger.error("%d revocations are gone from the shared store, or were spoilt; they stay in force here", lost)
        deny_list = DenyList()
        entries = [each.entry for each in known.values()]
        for start in range(0, len(entries), 10 * SLICE):
            deny_list.add(entries[start : start + 10 * SLICE])
            await asyncio.sleep(0)
        self._revoked = Revoked(deny_list, clock=self._clock)
        return known


async def share(items: SharedItems, revocation: Revocation, now_seconds: float | None = None) -> bool:
    """Revoke something on every replica; return whether it was not revoked before.

    Raises:
        OSError: the store cannot be reached.
        ConfigurationError: too many others write at the same time.
    """
    return not await _write(items, Item(revoked=revocation), now_seconds)


async def take_back(items: SharedItems, revocation: Revocation, now_seconds: float | None = None) -> bool:
    """Take a revocation back on every replica; return whether there was one.

    Raises:
        OSError: the store cannot be reached.
        ConfigurationError: too many others write at the same time.
    """
    now = time.time() if now_seconds is None else now_seconds
    return await _write(items, Item(revoked=revocation, taken_back=datetime.fromtimestamp(now, UTC)), now)


async def _write(items: SharedItems, item: Item, now_seconds: float | None) -> bool:
    """Write an item, and take out what has come to its end; return whether its like was revoked before."""
    now = time.time() if now_seconds is None else now_seconds
    field = field_of(item.revoked.entry())
    value = orjson.dumps(item.model_dump(mode="json", exclude_defaults=True))
    if len(value) > MAX_ITEM_BYTES:
        raise ConfigurationError(f"the revocation takes more than {MAX_ITEM_BYTES} bytes; shorten its names")
    for _ in range(ATTEMPTS):
        seen, before, ended = await items.version(), False, set()
        async for part in items.slices():
            for other, content in part:
                if other == field:
                    before = _is_in_force(content, now)
                elif _has_ended(content, now):
                    ended.add(other)
        if await items.put(field, value, drop=ended, seen=seen):
            return before
    raise ConfigurationError("others write shared revocations at the same time; try again")


def field_of(entry: Entry) -> bytes:
    """Return the name of the field of an entry."""
    return orjson.dumps(entry[:3])


def _parse(field: bytes, value: bytes) -> _Read:
    """Return what an item says.

    Raises:
        ValueError: it is malformed; says how, without quoting it.
    """
    if len(value) > MAX_ITEM_BYTES:
        raise ValueError(f"more than {MAX_ITEM_BYTES} bytes")
    try:
        item = Item.model_validate_json(value)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_input=False, include_context=False)
        where = ".".join(
            str(part) for part in first["loc"] if part in {"revoked", "taken_back", *Revocation.model_fields}
        )
        raise ValueError(f"{where}: {first['msg']}"[:200]) from None
    entry = item.revoked.entry()
    if field != field_of(entry):
        raise ValueError("it stands under the name of another")
    return _Read(value, entry, item.taken_back is not None)


def _is_in_force(value: bytes, now: float) -> bool:
    item = _item_in(value)
    return item is not None and item.taken_back is None and item.revoked.entry().until_seconds > now


def _item_in(value: bytes) -> Item | None:
    try:
        return Item.model_validate_json(value)
    except ValidationError:
        return None


def _has_ended(value: bytes, now: float) -> bool:
    item = _item_in(value)
    if item is None:
        return False  # for people to look at
    if item.taken_back is not None:
        return item.taken_back.timestamp() + REMEMBERED_SECONDS < now
    return item.revoked.entry().until_seconds <= now
