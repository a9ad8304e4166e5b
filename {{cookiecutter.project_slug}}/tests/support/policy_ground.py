"""What there is around policies of the probe, for tests of the tools: in a folder of their own, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from secure_rpc.call import Contract, Method
from secure_rpc.cli.ground import Ground
from secure_rpc.platform import Application
from secure_rpc.policy.document import PolicyDocument, parse
from secure_rpc.settings import load
from secure_rpc.testing.service import merged

from probe.v1 import probe_pb2_grpc
from support.probe import Servicer
from support.target import ISSUER, SETTINGS

POLICY = f"""\
version: 1
roles:
  caller: {{ permissions: [probe.call] }}
bindings:
  - name: callers
    role: caller
    principals: [{{ issuer: "{ISSUER}", group: callers }}]
    tenants: own
"""
CASES = f"""\
version: 1
now: 2026-01-01T12:00:00Z
principals:
  alice: {{ issuer: "{ISSUER}", subject: alice, groups: [callers], tenants: [acme] }}
  mallory: {{ issuer: "{ISSUER}", subject: mallory, tenants: [acme] }}
cases:
  - principals: alice
    methods: &without_tenant
      [Unary, ServerStream, ServerStreamByWrite, ClientStream, ClientStreamByRead, Bidi, BidiByReadWrite, Protected]
    expect: allow
  - principals: alice
    methods: &with_tenant [TenantUnary, TenantBidi]
    tenants: acme
    expect: allow
  - {{ principals: mallory, methods: *without_tenant, expect: deny }}
  - {{ principals: mallory, methods: *with_tenant, tenants: acme, expect: deny }}
  - {{ principals: alice, methods: *with_tenant, tenants: globex, expect: deny }}
"""


def write_files(folder: Path, *, policy: str = POLICY, cases: str = CASES, **settings: Any) -> Path:
    """Write settings, policy and table into a folder, and return the settings.

    Args:
        folder: where to.
        policy: the document.
        cases: the table; none is written where it is empty.
        settings: that differ, nested as in the file.
    """
    paths: dict[str, Any] = {
        "authorization": {"policy_file": str(folder / "policy.yaml"), "rollout_file": str(folder / "rollout.yaml")},
        "audit": {"file": str(folder / "audit.log")},
    }
    config = folder / "settings.yaml"
    config.write_text(yaml.safe_dump(merged(merged(yaml.safe_load(SETTINGS), paths), settings)), encoding="utf-8")
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    if cases:
        (folder / "policy_test.yaml").write_text(cases, encoding="utf-8")
    return config


def ground_in(folder: Path, **files: Any) -> Ground:
    """Return what there is around a policy of the probe; see `write_files`."""
    return Ground.of(probing(), load(write_files(folder, **files)))


def probing() -> Application:
    """Return the probe, with no stage before it."""

    def add_services(server: Any) -> None:
        probe_pb2_grpc.add_ProbeServiceServicer_to_server(Servicer(), server)

    return Application(lambda _platform: [], add_services)


def asks(method: Method, *permissions: str, any_of: tuple[str, ...] = ()) -> Method:
    """Return a method that asks for other permissions."""
    contract: Contract = replace(method.contract, permissions=permissions, any_permissions=any_of)
    return replace(method, contract=contract)


def policy_of(roles: Mapping[str, Any], *bindings: Mapping[str, Any]) -> PolicyDocument:
    """Return a policy.

    Args:
        roles: permissions by role.
        bindings: as in the file.
    """
    data = {
        "version": 1,
        "roles": {name: {"permissions": list(permissions)} for name, permissions in roles.items()},
        "bindings": [dict(binding) for binding in bindings],
    }
    return parse(Path("policy.yaml"), yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False))
