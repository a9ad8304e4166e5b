"""The account of one caller in the shared store: GCRA and reservations as one script, by the store's own clock.

A hash holds when the next call would be on time (`due`), and what each replica has reserved and until when. What is
reserved counts as gone until it is reported as used or given back, and is not refilled meanwhile: however many replicas
hold some, no more calls are let through in any time than GCRA with one counter would let through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

EPOCH_SECONDS = 1_700_000_000  # times count from here: microseconds keep their fractions in a double
LAPSES_SECONDS = 5.0  # then what a replica has reserved and not reported is nobody's

SCRIPT = """
local clock = redis.call('TIME')
local now = (tonumber(clock[1]) - 1700000000) * 1000000 + tonumber(clock[2])
local key, holder = KEYS[1], ARGV[1]
local interval, burst, share = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local need, ahead, used, back = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local lapses = tonumber(ARGV[9])

local stored = redis.pcall('HGETALL', key)
if stored.err then -- it is no hash: somebody else wrote it
  redis.call('DEL', key)
  stored = {}
end
local due, mine, others, known, lapsed, ended = now, 0, 0, 0, 0, 0
for i = 1, #stored, 2 do
  local name, value = stored[i], stored[i + 1]
  if name == 'due' then
    due = tonumber(value) or now
  else
    local count, ends = string.match(value, '^(%d+) (%d+)$')
    count, ends = math.min(share, tonumber(count) or 0), tonumber(ends) or 0
    if ends <= now then
      redis.call('HDEL', key, name)
      lapsed, ended = lapsed + count, math.max(ended, ends)
    elseif name == holder then
      mine, known = count, 1
    else
      others = others + count
    end
  end
end

local empty = now + burst * interval
due = math.max(now, math.min(empty, due))
if lapsed > 0 then -- it was not refilled until it lapsed
  due = math.max(due, math.min(empty, ended + (mine + others + lapsed) * interval))
end
due = math.max(due, now + (mine + others) * interval)
used = math.min(used, mine)
back = math.min(back, mine - used)
mine = mine - used - back
due = due - back * interval

local left = math.max(0, math.floor((empty - due) / interval + 0.01)) -- rounding must not take the last one away
local granted = math.min(need, left)
left = left - granted
due = due + granted * interval
local more, wait = 0, 0
if granted < need then
  wait = math.ceil(due - now - (burst - 1) * interval)
elseif 2 * left >= burst then -- far from the limit
  more = math.max(0, math.min(ahead, math.ceil((share - mine - others) / 2)))
  mine, left, due = mine + more, left - more, due + more * interval
end

redis.call('HSET', key, 'due', string.format('%.6f', due))
if mine > 0 then
  redis.call('HSET', key, holder, string.format('%d %d', mine, now + lapses))
elseif known == 1 then
  redis.call('HDEL', key, holder)
end
redis.call('PEXPIRE', key, math.ceil(math.max(due - now, lapses) / 1000) + 1000)
return {granted, more, wait, left, known}
"""


class Ask(NamedTuple):
    """What is asked of one account."""

    key: str
    holder: str  # whose reservation
    interval_seconds: float  # that one call costs
    burst: int
    share: int  # of the burst, that may be reserved in all
    need: int  # calls that wait
    ahead: int  # calls that may be reserved beside
    used: int  # of those reserved before
    back: int  # of those reserved before, that are not needed

    def arguments(self) -> tuple[str | float | int, ...]:
        """Return them as the script takes them."""
        numbers = (self.burst, self.share, self.need, self.ahead, self.used, self.back, int(LAPSES_SECONDS * 1e6))
        return (self.key, self.holder, repr(self.interval_seconds * 1e6), *numbers)


class Answer(NamedTuple):
    """What the account gives."""

    granted: int  # of those needed
    more: int  # of those asked ahead
    wait_microseconds: int  # until one is there, where not all were granted
    left: int
    known: bool  # whether the holder had reserved some, as far as the store knows

    @property
    def wait_seconds(self) -> float:
        """Return how long to wait."""
        return self.wait_microseconds / 1e6


class QuotaScript:
    """Runs the script for many accounts in one round trip.

    Args:
        text: of the script.
    """

    def __init__(self, text: str = SCRIPT) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()  # its name in the store

    async def run(self, client: Redis, asks: Sequence[Ask]) -> list[Answer]:
        """Return what the accounts give.

        Raises:
            RedisError: one of them could not be asked; what became of the others is not known.
        """
        found = await self._try(client, asks)
        unknown = [index for index, each in enumerate(found) if isinstance(each, NoScriptError)]
        if unknown:  # the store has been started anew; those were not run
            await client.script_load(self._text)
            again = await self._try(client, [asks[index] for index in unknown])
            for index, each in zip(unknown, again, strict=True):
                found[index] = each
        for each in found:
            if isinstance(each, Exception):
                raise each
        return [_answer(cast("list[int]", each)) for each in found]

    async def _try(self, client: Redis, asks: Sequence[Ask]) -> list[object]:
        pipe = client.pipeline(transaction=False)
        for ask in asks:
            pipe.execute_command("EVALSHA", self._digest, 1, *ask.arguments())
        return cast("list[object]", await pipe.execute(raise_on_error=False))


def _answer(found: list[int]) -> Answer:
    granted, more, wait, left, known = found
    return Answer(granted, more, wait, left, bool(known))
