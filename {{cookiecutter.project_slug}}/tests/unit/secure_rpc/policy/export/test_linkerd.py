"""What Linkerd is told: kinds and fields as its resource definitions and the Gateway API's have them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from secure_rpc.call import Contract
from secure_rpc.policy.export import linkerd
from secure_rpc.policy.export.common import Access, Target

from .conftest import ISSUER, Exporting

TARGET = Target("things", {"app": "things"}, "shop", 50051)
ALICE = {"issuer": ISSUER.issuer, "subject": "alice"}
MESH = "serviceaccount.identity.linkerd.e.org"

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
# all fields that may be there, by kind and version; what is in a list is looked at item by item
REFERENCE = {"group": str, "kind": str, "name": str}
FIELDS: dict[tuple[str, str], Any] = {
    ("policy.linkerd.io/v1beta3", "Server"): {
        "podSelector": {"matchLabels": {"app": str}},
        "port": int,
        "proxyProtocol": ("unknown", "HTTP/1", "HTTP/2", "gRPC", "opaque", "TLS"),
        "accessPolicy": ("deny", "audit"),
    },
    ("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication"): {"identities": [str]},
    ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"): {
        "targetRef": REFERENCE,
        "requiredAuthenticationRefs": [REFERENCE],
    },
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): {
        "parentRefs": [REFERENCE],
        "rules": [{"matches": [{"method": {"type": ("Exact",), "service": str, "method": str}}]}],
    },
}


def documents(access: Access) -> list[dict[str, Any]]:
    return linkerd.export(access, TARGET).documents


def identities(access: Access) -> list[list[str]]:
    return [each["spec"]["identities"] for each in documents(access) if each["kind"] == "MeshTLSAuthentication"]


def said(access: Access) -> str:
    return "\n".join(map(str, linkerd.export(access, TARGET).inexpressible))


def assert_known(found: object, known: object) -> None:
    """Hold a value against what may be there; each field that is known has to be there, too."""
    if isinstance(known, dict):
        assert isinstance(found, dict)
        assert found.keys() == known.keys()
        for key, value in found.items():
            assert_known(value, known[key])
    elif isinstance(known, list):
        assert isinstance(found, list)
        assert found
        for value in found:
            assert_known(value, known[0])
    elif isinstance(known, tuple):
        assert found in known
    else:
        assert type(found) is known


def test_every_document_has_the_fields_of_its_kind(access: Exporting) -> None:
    contracts = {"/h.H/Check": Contract(public=True), "/x.X/X": Contract(permissions=("things.read",))}
    made = documents(access(ALICE, contracts=contracts))
    for document in made:
        assert document.keys() == {"apiVersion", "kind", "metadata", "spec"}
        assert document["metadata"].keys() == {"name", "namespace"}
        assert NAME.fullmatch(document["metadata"]["name"])
        assert_known(document["spec"], FIELDS[document["apiVersion"], document["kind"]])
    assert {(each["apiVersion"], each["kind"]) for each in made} == FIELDS.keys()


def test_without_a_binding_everything_is_denied(access: Exporting) -> None:
    (server,) = documents(access())
    assert (server["kind"], server["spec"]["accessPolicy"], server["spec"]["port"]) == ("Server", "deny", 50051)


@pytest.mark.parametrize(
    ("workload", "identity", "listed"),
    [
        ("spiffe://e.org/ns/a/sa/x", f"x.a.{MESH}", False),
        ("spiffe://e.org/ns/a/sa/*", f"*.a.{MESH}", False),
        ("spiffe://e.org/ns/a/sa/x-*", f"*.a.{MESH}", True),
        ("spiffe://e.org/ns/*/sa/x", f"*.{MESH}", True),
        ("spiffe://e.org/vm/x", "spiffe://e.org/vm/x", False),
        ("spiffe://e.org/vm/*", "*", True),
        ("dns:x.example", "*", True),
    ],
)
def test_a_workload_is_known_by_its_mesh_identity(
    access: Exporting, workload: str, identity: str, *, listed: bool
) -> None:
    made = access({"workload": workload})
    assert identities(made) == [[identity]]
    assert (f": the workload {workload}: " in said(made)) is listed
    assert f"that {workload} is given this for calls without a token" in said(made)


def test_a_user_is_any_workload_of_the_mesh_or_the_one_that_is_named(access: Exporting) -> None:
    through = {**ALICE, "workload": "spiffe://e.org/ns/a/sa/x"}
    assert identities(access(ALICE, through)) == [["*"]]
    assert identities(access(through)) == [[f"x.a.{MESH}"]]
    assert f"the user alice of {ISSUER.issuer}" in said(access(ALICE))


def test_many_methods_take_several_routes(access: Exporting) -> None:
    contracts = {f"/x.X/M{number:03}": Contract(permissions=("things.read",)) for number in range(150)}
    made = documents(access(ALICE, contracts=contracts))
    routes = [each for each in made if each["kind"] == "GRPCRoute"]
    sizes = [[len(rule["matches"]) for rule in route["spec"]["rules"]] for route in routes]
    assert sizes == [[8] * 16, [8, 8, 6]]
    targets = [each["spec"]["targetRef"]["name"] for each in made if each["kind"] == "AuthorizationPolicy"]
    assert targets == [route["metadata"]["name"] for route in routes]
    assert len(identities(access(ALICE, contracts=contracts))) == 1


def test_of_opaque_bytes_those_get_in_who_may_call_some_method(access: Exporting) -> None:
    contracts = {
        "/h.H/Check": Contract(public=True),
        "/x.X/A": Contract(permissions=("things.read",)),
        "/x.X/B": Contract(permissions=("things.read",)),
    }
    given = access({"workload": "spiffe://e.org/ns/a/sa/x"}, contracts=contracts)
    made = linkerd.export(given, TARGET, opaque=True)
    server, authentication, policy = made.documents
    for document in made.documents:
        assert_known(document["spec"], FIELDS[document["apiVersion"], document["kind"]])
    assert (server["spec"]["proxyProtocol"], server["spec"]["accessPolicy"]) == ("opaque", "deny")
    assert authentication["spec"]["identities"] == [f"x.a.{MESH}"]
    assert policy["spec"]["targetRef"] == {
        "group": "policy.linkerd.io",
        "kind": "Server",
        "name": server["metadata"]["name"],
    }
    lost = "\n".join(map(str, made.inexpressible))
    assert re.search(r"/h\.H/Check: that anybody may call them: .* NARROWER than the service", lost)
    assert "which methods there are" in lost


def test_of_opaque_bytes_nobody_gets_in_who_is_given_nothing(access: Exporting) -> None:
    made = linkerd.export(access(contracts={"/h.H/Check": Contract(public=True)}), TARGET, opaque=True)
    assert [document["kind"] for document in made.documents] == ["Server"]


def test_names_that_would_be_the_same_are_told_apart(access: Exporting) -> None:
    contracts = {
        "/x.X/A": Contract(permissions=("things.read",)),
        "/x.X/B": Contract(any_permissions=("things.read", "a_b.x")),
        "/x.X/C": Contract(any_permissions=("things.read", "a-b.x")),
    }
    names = [each["metadata"]["name"] for each in documents(access(ALICE, contracts=contracts))]
    assert len({name for name in names if name.startswith("things-one-of-a-b.x-things.read")}) == 2
