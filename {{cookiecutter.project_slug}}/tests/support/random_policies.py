"""Policies, principals and contracts at random, small enough that they often meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from secure_rpc.call import Contract, Principal
from secure_rpc.policy.document import PolicyDocument

from support.policy_ground import policy_of

PERMISSIONS = ("a.read", "a.write", "b.read")
TENANTS = ("acme", "globex")
ISSUERS = ("https://one.example", "https://two.example")
NAMES = ("alice", "bob", "admins")
WORKLOADS = ("spiffe://e.org/ns/a", "spiffe://e.org/ns/b")
PATTERNS = (*WORKLOADS, "spiffe://e.org/ns/*")

_names = st.sampled_from(NAMES)
_who: st.SearchStrategy[dict[str, str]] = st.one_of(
    st.builds(dict, workload=st.sampled_from(PATTERNS)),
    st.fixed_dictionaries(
        {"issuer": st.sampled_from(ISSUERS), "subject": _names},
        optional={"group": _names, "workload": st.sampled_from(PATTERNS)},
    ),
    st.fixed_dictionaries(
        {"issuer": st.sampled_from(ISSUERS), "group": _names}, optional={"workload": st.sampled_from(PATTERNS)}
    ),
)
_bindings = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["r0", "r1", "r2"]),
        "principals": st.lists(_who, min_size=1, max_size=2),
        "tenants": st.sampled_from(["own", "all"]) | st.lists(st.sampled_from(TENANTS), min_size=1, unique=True),
    }
)
_some = st.lists(st.sampled_from(PERMISSIONS), max_size=2, unique=True)


def _document(first: list[str], second: list[str], third: list[str], bindings: list[dict[str, Any]]) -> PolicyDocument:
    return policy_of({"r0": first, "r1": second, "r2": third}, *bindings)


documents: st.SearchStrategy[PolicyDocument] = st.builds(
    _document, _some, _some, _some, st.lists(_bindings, max_size=4)
)
principals: st.SearchStrategy[Principal] = st.builds(Principal, workload=st.sampled_from(WORKLOADS)) | st.builds(
    Principal,
    workload=st.sampled_from(WORKLOADS),
    issuer=st.sampled_from(ISSUERS),
    subject=_names,
    tenants=st.frozensets(st.sampled_from(TENANTS)),
    groups=st.frozensets(_names),
)
contracts: st.SearchStrategy[Contract] = st.builds(
    Contract, permissions=_some.map(tuple), any_permissions=_some.map(tuple)
)
