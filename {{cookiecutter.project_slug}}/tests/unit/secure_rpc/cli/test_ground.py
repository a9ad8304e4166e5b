"""What the tools hold policies against is what the server has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secure_rpc.cli.ground import EXCHANGE_SERVICE, Ground
from secure_rpc.configuration import ConfigurationError
from secure_rpc.known import REFLECTION_METHOD
from secure_rpc.platform import Application
from secure_rpc.testing.service import RunningService

from support.policy_ground import CASES, ground_in

EXCHANGE = {"issuer": "https://ours.example.org", "key_file": "exchange.key", "audiences": ["inner"]}


async def test_the_tools_know_the_methods_and_contracts_of_the_server(
    application: Application, service: RunningService
) -> None:
    ground = Ground.of(application, service.server.settings)
    served = {method.path: method.contract for method in service.server.chain.methods}
    assert {method.path: method.contract for method in ground.methods} == served


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({}, set()),
        ({"reflection": {"enabled": True}}, {REFLECTION_METHOD}),
        ({"authentication": {"exchange": EXCHANGE}}, {f"/{EXCHANGE_SERVICE}/Exchange"}),
    ],
    ids=["neither", "reflection", "exchange"],
)
def test_what_is_switched_off_may_be_spoken_of_and_need_not_be(
    tmp_path: Path, settings: dict[str, Any], served: set[str]
) -> None:
    ground = ground_in(tmp_path, **settings)
    both = {REFLECTION_METHOD, f"/{EXCHANGE_SERVICE}/Exchange"}
    assert {method.path for method in ground.methods} & both == served
    assert {method.path for method in ground.others} == both - served
    assert {"reflection.read", "tokens.exchange", "probe.call"} <= set(ground.known.permissions)
    cases = CASES + "  - { principals: mallory, methods: [ServerReflectionInfo, Exchange], expect: deny }\n"
    (tmp_path / "policy_test.yaml").write_text(cases, encoding="utf-8")
    report = ground.try_cases()
    assert report.failures == []
    assert len(report.missing) == len(served)  # an allow of each that is on


def test_contracts_of_methods_that_are_not_there_are_refused_as_by_the_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the server has no method /a\.B/C"):
        ground_in(tmp_path, authorization={"contracts": {"/a.B/C": {"public": True}}})


def test_a_policy_is_held_against_settings_methods_and_conditions(tmp_path: Path) -> None:
    ground = ground_in(tmp_path)
    assert ground.policy().version
    for text, told in (
        ("probe.cal ", 'no method asks for the permission "probe.cal"; did you mean "probe.call"?'),
        ("probe.call", 'did you mean "request"?'),
    ):
        wrong = f"""\
version: 1
roles: {{ caller: {{ permissions: [{text}] }} }}
bindings:
  - {{ role: caller, principals: [{{ workload: spiffe://example.org/x }}], condition: "requst.count < 1" }}
"""
        (tmp_path / "wrong.yaml").write_text(wrong, encoding="utf-8")
        with pytest.raises(ConfigurationError, match=r"wrong\.yaml:") as caught:
            ground.policy(tmp_path / "wrong.yaml")
        assert told in str(caught.value)
