"""Requests pass the rules of their protos, whoever wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import protovalidate
import pytest
from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from secure_rpc.configuration import ConfigurationError
from secure_rpc.loading.samples import Samples, _mend_all

from probe.v1 import probe_pb2 as pb

PROBE = pb.DESCRIPTOR.services_by_name["ProbeService"]
STRING, INT64, BYTES = (
    descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{name}") for name in ("STRING", "INT64", "BYTES")
)


def message_with(name: str, rules: dict[str, tuple[int, validate_pb2.FieldRules]]) -> Message:
    """Return an empty message of a new type, whose fields have these types and rules."""
    file = descriptor_pb2.FileDescriptorProto(name=f"loading_{name}.proto", package=f"loading.{name}", syntax="proto3")
    kind = file.message_type.add(name="Asked")
    for number, (field, (type_, rule)) in enumerate(rules.items(), 1):
        added = kind.field.add(name=field, number=number, type=type_, label=1)
        added.options.Extensions[validate_pb2.field].CopyFrom(rule)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    made: Message = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"loading.{name}.Asked"))()
    return made


def test_a_request_is_made_that_passes() -> None:
    rule: Any = validate_pb2.FieldRules
    asked = message_with(
        "many",
        {
            "short": (STRING, rule(string={"min_len": 3})),
            "one_of": (STRING, rule(string={"in": ["blue", "red"]})),
            "key": (STRING, rule(string={"uuid": True})),
            "mail": (STRING, rule(string={"email": True})),
            "begins": (STRING, rule(string={"prefix": "orders/", "min_len": 9})),
            "ends": (STRING, rule(string={"suffix": ".pem", "min_len": 9})),
            "more": (INT64, rule(int64={"gt": 41})),
            "least": (INT64, rule(int64={"gte": 7})),
            "blob": (BYTES, rule(bytes={"len": 16})),
            "there": (STRING, rule(required=True)),
        },
    )
    validator = protovalidate.Validator()
    violations: Any = validator.collect_violations(asked)
    assert len({violation.proto.field.elements[0].field_name for violation in violations}) == 10, (
        "an empty one passes none of them"
    )
    assert _mend_all(asked, violations)
    assert validator.collect_violations(asked) == []


def test_a_rule_that_is_beyond_guessing_is_not_mended() -> None:
    rule: Any = validate_pb2.FieldRules
    cel = rule(cel=[{"id": "x", "message": "even", "expression": "this == '1' ? false : this == 'yes'"}])
    asked = message_with("hard", {"word": (STRING, cel)})
    validator = protovalidate.Validator()
    assert _mend_all(asked, validator.collect_violations(asked))
    assert not _mend_all(asked, validator.collect_violations(asked)), "what was tried is not tried again"


def test_the_tenant_is_that_of_the_caller_unless_the_sample_says_another() -> None:
    method = PROBE.methods_by_name["TenantUnary"]
    assert Samples({}, "acme").request_for(method).tenant == "acme"  # type: ignore[attr-defined]
    given = {"TenantUnary": {"tenant": "globex", "act": "x"}}
    assert Samples(given, "acme").request_for(method) == pb.Ask(tenant="globex", act="x")
    assert Samples(given, "acme").request_for(method, "nobody") == pb.Ask(tenant="nobody", act="x")


@pytest.mark.parametrize(
    ("given", "told"),
    [({"acts": 1}, "is no Ask"), ({"name": "x" * 65}, "name: .*mend the sample")],
)
def test_a_sample_that_does_not_pass_is_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Samples({"Unary": given}, "acme").request_for(PROBE.methods_by_name["Unary"])


def test_a_file_that_names_what_there_is_not_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "samples.yaml"
    methods = {f"/{PROBE.full_name}/{method.name}": method for method in PROBE.methods}
    file.write_text("Unary: { act: x }\n")
    assert Samples.read(file, "", methods).request_for(PROBE.methods_by_name["Unary"]) == pb.Ask(act="x")
    file.write_text("Unari: { act: x }\n")
    with pytest.raises(ConfigurationError, match='no method "Unari"'):
        Samples.read(file, "", methods)
