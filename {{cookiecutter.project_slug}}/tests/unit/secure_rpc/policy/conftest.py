"""Policies and methods, made of what a test says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from secure_rpc.policy.document import PolicyDocument, load
from secure_rpc.v1 import access_pb2


@pytest.fixture
def policy(tmp_path: Path) -> Callable[[dict[str, Any]], PolicyDocument]:
    """Return what loads a policy from data, through a file as always."""
    numbers = itertools.count()

    def make(data: dict[str, Any]) -> PolicyDocument:
        file = tmp_path / f"policy-{next(numbers)}.yaml"
        file.write_text(yaml.safe_dump({"version": 1, **data}), encoding="utf-8")
        return load(file)

    return make


@pytest.fixture
def method() -> Callable[[access_pb2.Access | None], MethodDescriptor]:
    """Return what makes /things.v1.Things/Get with an access rule; a pool of its own forgets it again."""

    def make(access: access_pb2.Access | None) -> MethodDescriptor:
        file = descriptor_pb2.FileDescriptorProto(name="things.proto", package="things.v1", syntax="proto3")
        request = file.message_type.add(name="GetRequest")
        single, repeated = FieldDescriptor.LABEL_OPTIONAL, FieldDescriptor.LABEL_REPEATED
        for number, (name, kind, label) in enumerate(
            [
                ("tenant", FieldDescriptor.TYPE_STRING, single),
                ("title", FieldDescriptor.TYPE_STRING, single),
                ("count", FieldDescriptor.TYPE_INT32, single),
                ("tags", FieldDescriptor.TYPE_STRING, repeated),
                ("tenant_bytes", FieldDescriptor.TYPE_BYTES, single),
            ],
            start=1,
        ):
            request.field.add(name=name, number=number, type=kind, label=label)
        made = file.service.add(name="Things").method.add(name="Get")
        made.input_type = made.output_type = ".things.v1.GetRequest"
        if access is not None:
            made.options.Extensions[access_pb2.access].CopyFrom(access)
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(file.SerializeToString())
        return pool.FindMethodByName("things.v1.Things.Get")

    return make
