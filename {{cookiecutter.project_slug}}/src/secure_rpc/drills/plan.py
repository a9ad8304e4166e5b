"""What a drill is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from secure_rpc.configuration import ConfigurationError
from secure_rpc.v1 import access_pb2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be drilled, and how hard."""

    module: str  # served as `python -m module serve`
    config: Path  # the settings of development; what a drill changes is a copy
    callers: Path
    caller: str  # one of them
    methods: Sequence[MethodDescriptor]  # of which it takes those that it has a use for
    data: str  # a request in JSON; a method takes the fields that it knows
    every_method: Sequence[MethodDescriptor]  # of the service
    rate: float  # unary calls a second
    step_seconds: float  # how long a step is watched after it was taken up
    channels: int
    say: Callable[[str], None]  # how far it is
    environment: Mapping[str, str]  # of the service's process
    settings: Mapping[str, Any] = field(default_factory=dict)  # that replace those of the drill
    edge: Mapping[str, Any] = field(default_factory=dict)  # the same, of what an edge is told

    def unary(self) -> MethodDescriptor:
        """Return the method to be called all the time: the first that may be made again.

        Raises:
            ConfigurationError: there is none.
        """
        safe = [method for method in self.methods if _is_unary(method) and is_safe(method)]
        if not safe:
            raise ConfigurationError(
                "no unary method has an idempotency_level in its proto; name one by --method that may be made twice"
            )
        return safe[0]

    def streams(self) -> list[MethodDescriptor]:
        """Return the methods whose calls can be kept open: those that answer with a stream."""
        return [method for method in self.methods if method.server_streaming and not is_replay_protected(method)]

    def request_for(self, method: MethodDescriptor) -> Message:
        """Return the request that a method is sent.

        Raises:
            ConfigurationError: the data is no such request.
        """
        kind = message_factory.GetMessageClass(method.input_type)
        try:
            return json_format.Parse(self.data, kind(), ignore_unknown_fields=True)
        except json_format.ParseError as error:
            raise ConfigurationError(f"--data {self.data!r} is no {method.input_type.name}: {error}") from None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a drill."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    problems: Sequence[str]  # what should not have been; empty where the drill is passed
    data: Mapping[str, Any]  # the same, for programs


def is_safe(method: MethodDescriptor) -> bool:
    """Tell whether a method may be made again, as its proto says."""
    level = method.GetOptions().idempotency_level
    return level != MethodOptions.IDEMPOTENCY_UNKNOWN and not is_replay_protected(method)


def is_replay_protected(method: MethodDescriptor) -> bool:
    """Tell whether a method takes each call once."""
    return bool(method.GetOptions().Extensions[access_pb2.access].replay_protected)


def _is_unary(method: MethodDescriptor) -> bool:
    return not (method.client_streaming or method.server_streaming)
