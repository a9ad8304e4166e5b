"""What methods ask of their callers, read from `secure_rpc.v1.access` in their protos, or from the settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from secure_rpc.call import Contract
from secure_rpc.configuration import ConfigurationError, Section, did_you_mean
from secure_rpc.v1 import access_pb2

PERMISSION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class ForeignContract(Section):
    """The access rule of a method whose proto is not ours to annotate, such as the standard health service."""

    public: bool = False
    permissions: tuple[str, ...] = ()
    any_permissions: tuple[str, ...] = ()
    any_caller: bool = False  # whose identity is verified


class Contracts:
    """Give each method its contract, or refuse it, at start.

    Args:
        foreign: contracts of methods without annotation, by "/package.Service/Method".
        quota_classes: those that the settings define.
    """

    def __init__(self, foreign: Mapping[str, ForeignContract], quota_classes: Collection[str]) -> None:
        self._foreign = foreign
        self._quota_classes = quota_classes
        self._seen: set[str] = set()
        self.permissions: set[str] = set()  # all that any method asks for

    def of(self, path: str, descriptor: MethodDescriptor | None) -> Contract:
        """Return the contract of a method.

        Raises:
            ConfigurationError: it has none, one that asks for nothing, or one that names what does not exist.
        """
        self._seen.add(path)
        options: Any = descriptor.GetOptions() if descriptor else None
        if path in self._foreign:
            foreign = self._foreign[path]
            if options is not None and options.HasExtension(access_pb2.access):
                raise ConfigurationError(
                    f"authorization.contracts: {path} has an access rule in its proto; remove the one in the settings"
                )
            contract = Contract(
                foreign.public, foreign.permissions, foreign.any_permissions, any_caller=foreign.any_caller
            )
        elif options is not None and options.HasExtension(access_pb2.access):
            contract = _from_proto(options.Extensions[access_pb2.access])
        else:
            raise ConfigurationError(
                f"{path} has no access rule, so nobody can be allowed to call it: add "
                '`option (secure_rpc.v1.access) = {permissions: "..."};` to the rpc, or name the method under '
                "authorization.contracts in the settings if its proto is not yours"
            )
        _check_permissions(path, contract)
        if contract.quota_class and contract.quota_class not in self._quota_classes:
            remedy = did_you_mean(contract.quota_class, self._quota_classes)
            raise ConfigurationError(
                f'{path}: the quota class "{contract.quota_class}" is not in the settings; {remedy}'
            )
        if descriptor is not None:
            _check_fields(path, contract, descriptor.input_type)
        self.permissions.update(contract.permissions, contract.any_permissions)
        return contract

    def check_foreign(self) -> None:
        """Refuse contracts of methods that the server does not have.

        Raises:
            ConfigurationError: there are some.
        """
        for path in self._foreign:
            if path not in self._seen:
                raise ConfigurationError(
                    f"authorization.contracts: the server has no method {path}; {did_you_mean(path, self._seen)}"
                )


def _from_proto(access: access_pb2.Access) -> Contract:
    return Contract(
        public=access.public,
        permissions=tuple(access.permissions),
        any_permissions=tuple(access.any_permissions),
        tenant_field=access.tenant_field,
        replay_protected=access.replay_protected,
        quota_class=access.quota_class,
        max_request_bytes=access.max_request_bytes,
        audit_fields=tuple(access.audit_fields),
        signed=access.signed,
        any_caller=access.any_caller,
    )


def _check_permissions(path: str, contract: Contract) -> None:
    named = contract.permissions + contract.any_permissions
    if contract.public and named:
        raise ConfigurationError(f"{path}: is public and asks for permissions; keep one of the two")
    if contract.any_caller and (named or contract.public):
        raise ConfigurationError(
            f"{path}: is open to any caller, and says who may call it besides; keep one of the two"
        )
    if not (contract.public or contract.any_caller or named):
        raise ConfigurationError(
            f'{path}: asks for no permission; name one, or say "any_caller: true" or "public: true" if that is meant'
        )
    if contract.any_caller and contract.tenant_field:
        raise ConfigurationError(
            f"{path}: is open to any caller, so nobody is given the tenants that its tenant_field names; "
            "name a permission"
        )
    for option in ("tenant_field", "quota_class"):
        if contract.public and getattr(contract, option):
            raise ConfigurationError(
                f"{path}: is public, so its {option} would count for nobody; remove one of the two"
            )
    for name in named:
        if not PERMISSION.fullmatch(name):
            raise ConfigurationError(f'{path}: the permission "{name}" is not of the form "things.verb"')


def _check_fields(path: str, contract: Contract, request: Descriptor) -> None:
    wanted = {
        "tenant_field": (contract.tenant_field,) if contract.tenant_field else (),
        "audit_fields": contract.audit_fields,
    }
    for option, names in wanted.items():
        for name in names:
            field = request.fields_by_name.get(name)
            if field is None:
                remedy = did_you_mean(name, request.fields_by_name)
                raise ConfigurationError(f'{path}: {option} "{name}" is no field of {request.full_name}; {remedy}')
            if option == "tenant_field" and (field.type != FieldDescriptor.TYPE_STRING or field.is_repeated):
                raise ConfigurationError(f'{path}: tenant_field "{name}" is not a single string')
