"""Calls that no server has to carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from secure_rpc.call import Call, Contract, Metadata, Method, Patience, Principal


@dataclass
class Context:
    """What gRPC knows of a call."""

    address: str
    tls: dict[str, list[bytes]] = field(default_factory=dict)
    remaining_seconds: float | None = None
    trailers: Metadata = ()

    def peer(self) -> str:
        return self.address

    def time_remaining(self) -> float | None:
        return self.remaining_seconds

    def trailing_metadata(self) -> Metadata:
        return self.trailers

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        self.trailers = tuple(metadata)

    def auth_context(self) -> dict[str, list[bytes]]:
        return self.tls


@pytest.fixture
def method() -> Callable[..., Method]:
    """Return what makes a method by what its contract says."""

    def make(path: str = "/things.v1.Things/Get", **contract: Any) -> Method:
        return Method(path, Patience(1), contract=Contract(**contract))

    return make


@pytest.fixture
def call(method: Callable[..., Method]) -> Callable[..., Call]:
    """Return what makes a call of a principal, from an address."""

    def make(
        principal: Principal | None = None,
        metadata: Metadata = (),
        address: str = "ipv4:10.0.0.1:40000",
        tls: dict[str, list[bytes]] | None = None,
    ) -> Call:
        made = Call(method(), "/things.v1.Things/Get", metadata)
        made.principal = principal
        made.context = Context(address, tls or {})
        return made

    return make
