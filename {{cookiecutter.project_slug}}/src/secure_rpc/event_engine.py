"""gRPC's threads, kept for as long as the process lives.

They go with the last channel or server: closing that one waits, with Python's lock held, for threads of which one may
wait for that lock to run a callback of ours, such as those of call credentials. Nothing would ever end that.
"""

from __future__ import annotations

import ctypes
import functools

import grpc


@functools.cache
def keep() -> None:
    """See that this process has a channel that is never closed; it never connects, either."""
    channel = grpc.insecure_channel("127.0.0.1:1")
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(channel))  # not closed at the interpreter's end, either
