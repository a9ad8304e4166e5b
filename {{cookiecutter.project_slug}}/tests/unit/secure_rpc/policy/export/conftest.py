"""Access to things, made of what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import pytest

from secure_rpc.call import Contract
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.export.common import Access, TokenIssuer, access_of

ISSUER = TokenIssuer("https://issuer.example", ("things",), jwks_file="keys.json")


class Exporting(Protocol):
    def __call__(
        self,
        *principals: dict[str, str],
        issuers: Iterable[TokenIssuer] = (ISSUER,),
        contracts: dict[str, Contract] | None = None,
        **binding: Any,
    ) -> Access: ...


@pytest.fixture
def access(policy: Callable[[dict[str, Any]], PolicyDocument]) -> Exporting:
    """Return what gives a role with the permission things.read to principals, for methods that ask for it."""

    def make(
        *principals: dict[str, str],
        issuers: Iterable[TokenIssuer] = (ISSUER,),
        contracts: dict[str, Contract] | None = None,
        **binding: Any,
    ) -> Access:
        bound = {"role": "reader", "principals": list(principals), "tenants": "all", **binding}
        roles = {"reader": {"permissions": ["things.read"]}}
        document = policy({"roles": roles, "bindings": [bound] if principals else []})
        asked = contracts or {"/things.v1.Things/Get": Contract(permissions=("things.read",))}
        return access_of(document, asked, issuers, now_seconds=1_800_000_000, api_keys=True)

    return make
