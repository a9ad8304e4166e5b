"""A method's access rule is read, or the server does not start and says what would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from pydantic import ValidationError

from secure_rpc.call import Contract
from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy.contract import Contracts, ForeignContract
from secure_rpc.v1.access_pb2 import Access

PATH = "/things.v1.Things/Get"
HEALTH = "/grpc.health.v1.Health/Check"
MakeMethod = Callable[[Access | None], MethodDescriptor]


def contracts(foreign: Mapping[str, ForeignContract] | None = None) -> Contracts:
    return Contracts(foreign or {}, ["default", "bulk"])


def problem(descriptor: MethodDescriptor | None, foreign: Mapping[str, ForeignContract] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        contracts(foreign).of(PATH, descriptor)
    [told] = caught.value.problems
    return told


def test_everything_that_the_proto_says_is_read(method: MakeMethod) -> None:
    access = Access(
        permissions=["things.read", "things.list"],
        any_permissions=["things.own", "things.all"],
        tenant_field="tenant",
        replay_protected=True,
        quota_class="bulk",
        max_request_bytes=99,
        audit_fields=["title", "tags"],
    )
    known = contracts()
    assert known.of(PATH, method(access)) == Contract(
        public=False,
        permissions=("things.read", "things.list"),
        any_permissions=("things.own", "things.all"),
        tenant_field="tenant",
        replay_protected=True,
        quota_class="bulk",
        max_request_bytes=99,
        audit_fields=("title", "tags"),
    )
    assert known.permissions == {"things.read", "things.list", "things.own", "things.all"}


def test_a_public_method_asks_for_nothing(method: MakeMethod) -> None:
    assert contracts().of(PATH, method(Access(public=True))) == Contract(public=True)


ASKS_FOR_NOTHING = 'asks for no permission; name one, or say "any_caller: true" or "public: true" if that is meant'
OPEN_AND_MORE = "is open to any caller, and says who may call it besides; keep one of the two"


@pytest.mark.parametrize("descriptor", [True, False])
def test_a_contract_of_the_settings_is_for_methods_without_a_rule(method: MakeMethod, *, descriptor: bool) -> None:
    foreign = {PATH: ForeignContract(permissions=("things.read",), any_permissions=("things.list",))}
    known = contracts(foreign)
    assert known.of(PATH, method(None) if descriptor else None) == Contract(
        permissions=("things.read",), any_permissions=("things.list",)
    )
    known.check_foreign()


@pytest.mark.parametrize("descriptor", [True, False])
def test_a_method_without_a_rule_is_refused(method: MakeMethod, *, descriptor: bool) -> None:
    assert problem(method(None) if descriptor else None) == (
        f"{PATH} has no access rule, so nobody can be allowed to call it: add "
        '`option (secure_rpc.v1.access) = {permissions: "..."};` to the rpc, or name the method under '
        "authorization.contracts in the settings if its proto is not yours"
    )


def test_a_rule_in_proto_and_settings_is_refused(method: MakeMethod) -> None:
    foreign = {PATH: ForeignContract(public=True)}
    assert problem(method(Access(permissions=["things.read"])), foreign) == (
        f"authorization.contracts: {PATH} has an access rule in its proto; remove the one in the settings"
    )


@pytest.mark.parametrize(
    ("access", "told"),
    [
        (
            Access(public=True, permissions=["things.read"]),
            "is public and asks for permissions; keep one of the two",
        ),
        (
            Access(public=True, any_permissions=["things.read"]),
            "is public and asks for permissions; keep one of the two",
        ),
        (
            Access(public=True, tenant_field="tenant"),
            "is public, so its tenant_field would count for nobody; remove one of the two",
        ),
        (
            Access(public=True, quota_class="bulk"),
            "is public, so its quota_class would count for nobody; remove one of the two",
        ),
        (
            Access(any_caller=True, tenant_field="tenant"),
            "is open to any caller, so nobody is given the tenants that its tenant_field names; name a permission",
        ),
        (
            Access(any_caller=True, permissions=["things.read"]),
            "is open to any caller, and says who may call it besides; keep one of the two",
        ),
        (Access(), 'asks for no permission; name one, or say "any_caller: true" or "public: true" if that is meant'),
        (
            Access(tenant_field="tenant"),
            'asks for no permission; name one, or say "any_caller: true" or "public: true" if that is meant',
        ),
        (Access(permissions=["read"]), 'the permission "read" is not of the form "things.verb"'),
        (Access(permissions=["Things.read"]), 'the permission "Things.read" is not of the form "things.verb"'),
        (Access(permissions=["things.*"]), 'the permission "things.*" is not of the form "things.verb"'),
        (Access(permissions=["things.read\n"]), 'the permission "things.read\n" is not of the form "things.verb"'),
        (Access(any_permissions=[""]), 'the permission "" is not of the form "things.verb"'),
        (
            Access(permissions=["things.read"], quota_class="bluk"),
            'the quota class "bluk" is not in the settings; did you mean "bulk"?',
        ),
        (
            Access(permissions=["things.read"], quota_class="zzz"),
            'the quota class "zzz" is not in the settings; known: bulk, default',
        ),
        (
            Access(permissions=["things.read"], tenant_field="tennant"),
            'tenant_field "tennant" is no field of things.v1.GetRequest; did you mean "tenant"?',
        ),
        (
            Access(permissions=["things.read"], audit_fields=["title", "titel"]),
            'audit_fields "titel" is no field of things.v1.GetRequest; did you mean "title"?',
        ),
        (
            Access(permissions=["things.read"], tenant_field="count"),
            'tenant_field "count" is not a single string',
        ),
        (
            Access(permissions=["things.read"], tenant_field="tags"),
            'tenant_field "tags" is not a single string',
        ),
        (
            Access(permissions=["things.read"], tenant_field="tenant_bytes"),
            'tenant_field "tenant_bytes" is not a single string',
        ),
    ],
)
def test_a_rule_that_would_not_do_is_refused_with_a_remedy(method: MakeMethod, access: Access, told: str) -> None:
    assert problem(method(access)) == f"{PATH}: {told}"


def test_a_contract_of_the_settings_can_open_a_method_to_any_caller() -> None:
    known = contracts({HEALTH: ForeignContract(any_caller=True)})
    assert known.of(HEALTH, None) == Contract(any_caller=True)


def test_a_contract_for_a_method_that_does_not_exist_is_refused() -> None:
    known = contracts({"/grpc.health.v1.Health/Chek": ForeignContract(public=True)})
    with pytest.raises(ConfigurationError) as caught:
        known.of(HEALTH, None)
    assert HEALTH in caught.value.problems[0]
    with pytest.raises(ConfigurationError) as caught:
        known.check_foreign()
    assert caught.value.problems == (
        f'authorization.contracts: the server has no method /grpc.health.v1.Health/Chek; did you mean "{HEALTH}"?',
    )


@pytest.mark.parametrize("data", [{"pubic": True}, {"permissions": "things.read"}, {"tenant_field": "tenant"}])
def test_a_contract_of_the_settings_has_no_other_keys_or_types(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ForeignContract.model_validate(data)
