"""Whatever the policy: no mesh refuses what the engine allows, and Envoy allows no more than it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_rpc.call import Contract, Method, Patience, Principal
from secure_rpc.policy.document import parse
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.export import envoy, istio, linkerd
from secure_rpc.policy.export.common import Access, Target, TokenIssuer, access_of

from support.meshes import Caller, envoy_allows, istio_allows, linkerd_allows

PERMISSIONS = ("a.read", "a.write", "b.read")
ISSUERS = ("https://one.example", "https://one.example/two")
NAMES = ("alice", "two/alice", "a*", "*")
WORKLOADS = (
    "spiffe://e.org/ns/a/sa/x",
    "spiffe://e.org/ns/a/sa/xy",
    "spiffe://e.org/ns/b/sa/x",
    "spiffe://e.org/vm/x",
    "dns:x.example",
    "cn:x",
)
PATTERNS = (*WORKLOADS, "spiffe://e.org/ns/a/sa/*", "spiffe://e.org/ns/*/sa/x", "spiffe://e.org/ns/*/sa/x*")
TARGET = Target("things", {"app": "things"})

names = st.sampled_from(NAMES)
patterns = st.sampled_from(PATTERNS)
users = st.fixed_dictionaries(
    {"issuer": st.sampled_from([*ISSUERS, "api-key"]), "subject": names},
    optional={"group": names, "workload": patterns},
)
groups = st.fixed_dictionaries({"issuer": st.sampled_from(ISSUERS), "group": names}, optional={"workload": patterns})
bindings = st.fixed_dictionaries(
    {
        "role": st.sampled_from(PERMISSIONS),
        "principals": st.lists(st.one_of(st.builds(dict, workload=patterns), users, groups), min_size=1, max_size=3),
    }
)
asked = st.lists(st.sampled_from(PERMISSIONS), max_size=2, unique=True).map(tuple)
contracts = st.one_of(st.builds(Contract, permissions=asked, any_permissions=asked), st.just(Contract(any_caller=True)))
GROUPS = (frozenset[str](), frozenset({"alice"}), frozenset({"two/alice", "a*"}))
EVERYBODY = [
    *(Principal(workload) for workload in WORKLOADS),
    *(
        Principal(workload, issuer, subject, frozenset(), held)
        for workload, issuer, subject, held in product(WORKLOADS, [*ISSUERS, "api-key"], NAMES[:3], GROUPS)
    ),
]
PATH = "/things.v1.Things/Get"


def exported(bound: list[dict[str, Any]], contract: Contract) -> tuple[Engine, Access]:
    roles = {name: {"permissions": [name]} for name in PERMISSIONS}
    text = yaml.safe_dump({"version": 1, "roles": roles, "bindings": bound})
    document = parse(Path("policy.yaml"), text)
    issuers = [TokenIssuer(name, ("things",), jwks_file="keys.json") for name in ISSUERS]
    return Engine.of(document), access_of(document, {PATH: contract}, issuers, now_seconds=0, api_keys=True)


@settings(deadline=None, max_examples=60)
@given(bound=st.lists(bindings, max_size=5), contract=contracts)
def test_no_mesh_is_narrower_than_the_engine_and_envoy_is_no_wider(
    bound: list[dict[str, Any]], contract: Contract
) -> None:
    engine, access = exported(bound, contract)
    method = Method(PATH, Patience(1), contract=contract)
    (filters,) = envoy.export(access).documents
    policy = istio.export(access, TARGET).documents[-1]
    documents = linkerd.export(access, TARGET).documents
    for principal in EVERYBODY:
        allowed = engine.decide(principal, method).allowed
        caller = Caller(principal)
        if principal.issuer == "api-key" or principal.workload.startswith(("dns:", "cn:")):
            assert envoy_allows(filters, _as_envoy_sees(caller), PATH) >= allowed
        else:
            assert envoy_allows(filters, caller, PATH) is allowed
        assert istio_allows(policy, caller, PATH) >= allowed
        assert linkerd_allows(documents, caller, PATH) >= allowed
        if access.closed:
            assert not istio_allows(policy, caller, PATH)
            assert not linkerd_allows(documents, caller, PATH)


def _as_envoy_sees(caller: Caller) -> Caller:
    kind, _, name = caller.workload.partition(":")
    if kind in {"dns", "cn"}:
        caller.workload = name if kind == "dns" else f"CN={name},O=e"
    return caller
