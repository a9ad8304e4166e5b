"""The process's memory, once all has been made that stays."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Alive at once before the collector of garbage looks for cycles. A call leaves none, but what is told of it lives for a
# moment: with Python's 700, calls would pay for walks over that, in vain. Not many more either: a handler may leave
# cycles that hold requests, and then this is how many a caller can make the process hold
GARBAGE_OBJECTS = 2000

MAPPINGS = Path("/proc/self/smaps")  # see proc(5)
MADV_DONTNEED = 4  # see madvise(2)

_MAPPING = re.compile(r"^(?=[0-9a-f]+-[0-9a-f]+ )", re.MULTILINE)  # where one begins
_FILE_OF_CODE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ [1-9][0-9]* ")
_UNCHANGED = re.compile(r"^Anonymous: +0 kB$", re.MULTILINE)


def settle(mappings: Path = MAPPINGS) -> None:
    """Leave what was made so far alone: it stays. Give back what only the start has needed.

    The collector of garbage would walk over it in vain, while all calls wait, for tens of milliseconds; the C library
    would keep some 10 MB; and of the code of libraries, another 18 MB are not looked at again.

    Args:
        mappings: where the system tells what the process has in memory; where it does not, no code is given back.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    with suppress(AttributeError, OSError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(AttributeError, OSError):  # a system other than Linux
        _let_go_of_code(mappings.read_text(encoding="utf-8", errors="replace"))


def _let_go_of_code(mappings: str) -> None:
    """Have the kernel take code out of the process's memory; what is run again is mapped again, from the file's cache.

    Serving runs a third of what the start has run. The kernel would take it back by itself, but only once memory is
    short, and until then counts it as the process's.
    """
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, end in code(mappings):
        madvise(start, end - start, MADV_DONTNEED)  # what it refuses stays


def code(mappings: str) -> Iterator[tuple[int, int]]:
    """Yield where code of files is mapped of which the process has changed nothing: only that can be read again.

    Args:
        mappings: as `/proc/self/smaps` has them.
    """
    for mapping in _MAPPING.split(mappings):
        found = _FILE_OF_CODE.match(mapping)
        if found and _UNCHANGED.search(mapping):
            yield int(found[1], 16), int(found[2], 16)
