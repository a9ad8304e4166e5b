"""A drill takes the methods that it has a use for, and says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.drills.plan import Plan

from probe.v1 import probe_pb2 as pb

PROBE, STEADY = (pb.DESCRIPTOR.services_by_name[name] for name in ("ProbeService", "SteadyService"))


def plan(*names: str, data: str = "{}") -> Plan:
    methods = [*PROBE.methods, *STEADY.methods]
    return Plan(
        module="",
        config=Path(),
        callers=Path(),
        caller="",
        methods=[method for method in methods if method.name in names],
        data=data,
        every_method=methods,
        rate=1,
        step_seconds=0,
        channels=1,
        say=print,
        environment={},
    )


def test_what_is_called_all_the_time_may_be_made_twice() -> None:
    assert plan("Unary", "Protected", "Get").unary().name == "Get"


def test_without_such_a_method_there_is_no_drill() -> None:
    with pytest.raises(ConfigurationError, match="idempotency_level"):
        plan("Unary", "Protected", "ServerStream").unary()


def test_what_is_kept_open_answers_with_a_stream() -> None:
    names = [method.name for method in plan("Get", "ClientStream", "ServerStream", "Bidi").streams()]
    assert names == ["ServerStream", "Bidi"]


def test_a_method_takes_the_fields_that_it_knows() -> None:
    known = plan("Get", data='{"tenant": "acme", "id": "1"}')
    assert known.request_for(known.unary()) == pb.Ask(tenant="acme")


@pytest.mark.parametrize("data", ["{", '{"count": "many"}'])
def test_data_that_is_no_request_is_told(data: str) -> None:
    wrong = plan("Get", data=data)
    with pytest.raises(ConfigurationError, match="is no Ask"):
        wrong.request_for(wrong.unary())
