"""Streams that go on for longer than the credential, the connection or the server that they began with."""

from secure_rpc.client_streams.kept_call import kept_call
from secure_rpc.client_streams.kept_stream import KeptStream
from secure_rpc.client_streams.persistence import Persistence
from secure_rpc.client_streams.renewal import Timing
from secure_rpc.client_streams.sequence import Position, SequenceError, SequenceGap, SequenceReset

__all__ = [
    "KeptStream",
    "Persistence",
    "Position",
    "SequenceError",
    "SequenceGap",
    "SequenceReset",
    "Timing",
    "kept_call",
]
