"""Methods that ask for something, and engines of policies, for tests that decide without a server."""

from __future__ import annotations

from secure_rpc.call import Contract, Method, Patience
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.engine import Engine


def asking(*permissions: str, any_of: tuple[str, ...] = ()) -> Method:
    """Return a method that asks for permissions."""
    contract = Contract(permissions=permissions, any_permissions=any_of)
    return Method("/things.v1.Things/Get", Patience(1), contract=contract)


def active(document: PolicyDocument) -> ActivePolicy:
    """Return what decides by a policy."""
    return ActivePolicy(Engine.of(document, Conditions()))
