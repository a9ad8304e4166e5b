"""Which methods are guarded by signatures; what becomes of the calls, the tests of attacks show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from secure_rpc.call import Method
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.call_proof import CallProofs
from secure_rpc.identity.signing_keys import SigningKeys
from secure_rpc.stages.integrity import Integrity
from secure_rpc.stages.once import Once
from secure_rpc.state.memory import MemoryNonces

MakeMethod: TypeAlias = Callable[..., Method]


@pytest.fixture
def stage() -> Integrity:
    proofs = CallProofs(SigningKeys(None), "probe", 300, certificate_keys=True)
    return Integrity(proofs, Once(MemoryNonces(), 300))


def test_methods_that_do_not_ask_for_it_cost_nothing(stage: Integrity, method: MakeMethod) -> None:
    assert stage.bind(method(replay_protected=True)) is None
    assert stage.bind(replace(method(signed=True), request_streaming=False)) is not None


def test_a_stream_of_requests_cannot_be_signed(stage: Integrity, method: MakeMethod) -> None:
    with pytest.raises(ConfigurationError, match=r'is "signed" and takes a stream of requests.*remove "signed"'):
        stage.bind(replace(method(signed=True), request_streaming=True))
