"""Which methods have their fields decrypted; what becomes of the fields, the tests of attacks show."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_rpc.confidential import EncryptedFields, Keyring
from secure_rpc.configuration import ConfigurationError
from secure_rpc.method import Contract, Method, Patience
from secure_rpc.stages.confidentiality import Confidentiality

from probe.v1 import probe_pb2 as pb
from support.secrets_kept import write_keyring


def method_of(service: str, name: str, contract: Contract | None = None) -> Method:
    descriptor = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    return Method(f"/probe.v1.{service}/{name}", Patience(1), descriptor=descriptor, contract=contract or Contract())


def test_methods_without_sensitive_fields_cost_nothing(tmp_path: Path) -> None:
    stage = Confidentiality(Keyring(write_keyring(tmp_path / "keyring.yaml", "one")), EncryptedFields.REQUIRED)
    assert stage.bind(method_of("ProbeService", "Unary")) is None
    assert stage.bind(Method("", Patience(1))) is None
    assert stage.bind(method_of("SecretService", "Keep")) is not None


def test_without_keyring_nothing_is_bound() -> None:
    assert Confidentiality(None, EncryptedFields.OPTIONAL).bind(method_of("SecretService", "Keep")) is None


def test_a_tenant_that_is_encrypted_is_refused_at_start() -> None:
    stage = Confidentiality(None, EncryptedFields.OPTIONAL)
    with pytest.raises(ConfigurationError, match=r'Keep: the tenant_field "card" is sensitive'):
        stage.bind(method_of("SecretService", "Keep", Contract(tenant_field="card")))
