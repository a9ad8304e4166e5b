"""The process's memory, once all has been made that stays."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

# Alive at once before the collector of garbage looks for cycles. A call leaves none, but what is told of it lives for a
# moment: with Python's 700, calls would pay for walks over that, in vain. Not many more either: a handler may leave
# cycles that hold requests, and then this is how many a caller can make the process hold
GARBAGE_OBJECTS = 2000


def settle() -> None:
    """Leave what was made so far alone: it stays.

    The collector of garbage would walk over it in vain, while all calls wait, for tens of milliseconds; the C library
    would keep what only the start has needed, some 10 MB.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    with suppress(AttributeError, OSError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
