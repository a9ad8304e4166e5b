"""How a stream ended that was refused while its requests were still on their way."""

from __future__ import annotations

from typing import Any


class _Patient:
    """A call of gRPC's core that leaves its status to the core.

    grpc.aio 1.85 takes a write that fails for the end of the call, as INTERNAL "Internal error from Core", for good; it
    fails because the server has ended the call, and the server's own status is about to come.
    """

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def set_internal_error(self, _text: str) -> None:
        """Do nothing: whoever asks for the status waits for the server's."""


def await_servers_word(call: Any) -> None:
    """Have a call end with what the server says of it, also where a write fails before that has come.

    This reaches below grpc.aio's public surface; a call without that part is left as it is.

    Args:
        call: of a method with a stream of requests, just begun.
    """
    if hasattr(call, "_cython_call"):
        call._cython_call = _Patient(call._cython_call)
