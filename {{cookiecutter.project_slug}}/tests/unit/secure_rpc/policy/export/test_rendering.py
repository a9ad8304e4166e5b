"""Exported rules as a file."""

from __future__ import annotations

import yaml

from secure_rpc.policy.export import istio
from secure_rpc.policy.export.common import Target
from secure_rpc.policy.export.rendering import LINE_CHARACTERS, render

from .conftest import ISSUER, Exporting


def test_what_the_rules_do_not_say_stands_above_them_and_nothing_gets_out_of_the_comment(access: Exporting) -> None:
    who = {"issuer": ISSUER.issuer, "subject": "alice"}
    made = access(who, condition="true\n---\nkind: Secret", name="a\n---\nkind: Secret", tenants="own")
    export = istio.export(made, Target("things", {"app": "things"}))
    text = render(export, made, "policy.yaml (version 0123)")
    header, _, body = text.partition("\n---\n")  # a comment may end in dashes, too
    assert all(line.startswith("#") and len(line) <= LINE_CHARACTERS + 2 for line in header.splitlines())
    assert list(yaml.safe_load_all(text)) == list(yaml.safe_load_all(body)) == export.documents
    told = "".join(line.removeprefix("#") for line in header.splitlines()).replace(" ", "")  # long paths are broken
    for item in export.inexpressible:
        assert str(item).replace(" ", "") in told


def test_methods_that_nobody_may_call_are_named(access: Exporting) -> None:
    made = access()
    text = render(istio.export(made, Target("things", {"app": "things"})), made, "policy.yaml")
    assert "# - /things.v1.Things/Get\n" in text


def test_nothing_is_said_by_reference(access: Exporting) -> None:
    made = access({"workload": "spiffe://e.org/ns/a/sa/x"})
    text = render(istio.export(made, Target("things", {"app": "things"})), made, "policy.yaml")
    assert "&id" not in text
