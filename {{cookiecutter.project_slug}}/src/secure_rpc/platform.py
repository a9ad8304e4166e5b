"""The stages of a service, made from its settings, ready for its chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.chain import Stage
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.principal import Identities
from secure_rpc.identity.token import TokenVerifier
from secure_rpc.policy import document
from secure_rpc.policy.contract import Contracts, ForeignContract
from secure_rpc.policy.engine import Engine
from secure_rpc.settings import Settings
from secure_rpc.stages.audit import Audit
from secure_rpc.stages.authentication import Authentication
from secure_rpc.stages.authorization import Authorization
from secure_rpc.stages.error_boundary import ErrorBoundary
from secure_rpc.stages.load_limit import LoadLimit
from secure_rpc.stages.rate_limit import RateLimit
from secure_rpc.stages.replay import Replay
from secure_rpc.stages.telemetry import Telemetry
from secure_rpc.stages.validation import Validation
from secure_rpc.state.memory import MemoryNonces, MemoryQuotas
from secure_rpc.telemetry.calls import CallReporter
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.tls.floor import TlsVersion

REFLECTION_METHOD = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


class Platform:
    """Everything a service's `build_chain` can put into its chain.

    Args:
        settings: of the service.

    Raises:
        ConfigurationError: a file that the settings name is missing or wrong.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.policy = document.load(settings.authorization.policy_file)
        self.contracts = Contracts(_foreign_contracts(settings), settings.quotas)
        self.identities = Identities(
            certificate_reader(frozenset(settings.authentication.trust_domains)),
            TokenVerifier(settings.authentication.issuers),
            settings.authentication.credentials,
            size=settings.authentication.remembered_identities,
        )
        self.reporter = CallReporter(self.metrics, settings.logging.allowed_calls_sample)
        self.audit_log = ChainLog(
            settings.audit.file,
            on_written=self.metrics.audit_records.inc,
            on_failure=lambda _: self.metrics.audit_failures.inc(),
        )
        self.telemetry = Telemetry(self.metrics, self.reporter)
        self.audit = Audit(
            self.audit_log,
            settings.audit.durability,
            refuse_when_unwritable=settings.audit.refuse_when_unwritable,
        )
        self.error_boundary = ErrorBoundary()
        self.load_limit = LoadLimit(
            settings.load.max_concurrent_calls,
            settings.load.max_concurrent_calls_per_peer,
            settings.limits.max_metadata_bytes,
        )
        self.authentication = Authentication(
            self.identities, tls_1_3_only=settings.tls.minimum_version is TlsVersion.TLS_1_3
        )
        self.authorization = Authorization(Engine(self.policy, settings.authentication.remembered_identities))
        self.rate_limit = RateLimit(MemoryQuotas(settings.remembered_callers), settings.quotas)
        self.replay = Replay(MemoryNonces(settings.replay.remembered_nonces), settings.replay.window_seconds)
        self.validation = Validation()
        self.metrics.before_scrape(self._refresh)

    def check(self) -> None:
        """Hold the policy and the settings against the methods that were added.

        Raises:
            ConfigurationError: they name methods or permissions that do not exist.
        """
        self.contracts.check_foreign()
        self.policy.check_permissions(self.contracts.permissions | {self.settings.reflection.permission})

    def _refresh(self) -> None:
        use = self.identities.use
        for result, count in (("hit", use.hits), ("miss", use.misses), ("eviction", use.evictions)):
            self.metrics.identity_cache.labels(result).set(count)


def _foreign_contracts(settings: Settings) -> dict[str, ForeignContract]:
    """Return the contracts of methods without annotations: those that the settings name, and reflection's."""
    named = dict(settings.authorization.contracts)
    if settings.reflection.enabled:
        named[REFLECTION_METHOD] = ForeignContract(permissions=(settings.reflection.permission,))
    return named


@dataclass(frozen=True, slots=True)
class Application:
    """What a service adds to the platform.

    Args:
        build_chain: returns the chain's stages, outermost first.
        add_services: adds the servicers; generated `add_XServicer_to_server` functions take what it is given.
    """

    build_chain: Callable[[Platform], list[Stage]]
    add_services: Callable[[grpc.aio.Server], None]
