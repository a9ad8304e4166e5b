"""What policy and contracts may speak of in a service, by its settings."""

from __future__ import annotations

from collections.abc import Collection

from secure_rpc.identity.api_key import ISSUER as API_KEY_ISSUER
from secure_rpc.identity.certificate import NameKind
from secure_rpc.policy.contract import ForeignContract
from secure_rpc.policy.document import Known
from secure_rpc.settings import Settings

NAME_PREFIXES = {NameKind.DNS: "dns:", NameKind.COMMON_NAME: "cn:"}
EXCHANGE_PERMISSION = "tokens.exchange"  # of secure_rpc/v1/exchange.proto; known also where the exchange is off
REFLECTION_METHOD = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def known_to_policy(settings: Settings, permissions: Collection[str]) -> Known:
    """Return what the policy can speak of.

    Args:
        settings: of the service.
        permissions: that its methods ask for.
    """
    authentication = settings.authentication
    issuers = [issuer.issuer for issuer in authentication.issuers]
    if authentication.api_keys_file is not None:
        issuers.append(API_KEY_ISSUER)
    return Known(
        permissions={*permissions, settings.reflection.permission, EXCHANGE_PERMISSION},
        issuers=issuers,
        trust_domains=[authentication.trust_domain, *authentication.federated_trust_domains],
        other_names=[prefix for kind, prefix in NAME_PREFIXES.items() if kind in authentication.certificate_names],
        quota_classes=list(settings.quotas),
    )


def foreign_contracts(settings: Settings) -> dict[str, ForeignContract]:
    """Return the contracts of methods without annotations: those that the settings name, and reflection's."""
    named = dict(settings.authorization.contracts)
    if settings.reflection.enabled:
        named[REFLECTION_METHOD] = ForeignContract(permissions=(settings.reflection.permission,))
    return named
