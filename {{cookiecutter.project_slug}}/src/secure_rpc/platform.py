"""The stages of a service, made from its settings, ready for its chain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import grpc
from cryptography import x509

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.call import Method
from secure_rpc.chain import Stage
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.api_key import ApiKeys
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.principal import Identities
from secure_rpc.identity.tokens import TokenVerifier
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
from secure_rpc.state.nonces import NonceStore
from secure_rpc.telemetry.calls import CallReporter
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.tls import credentials
from secure_rpc.tls.floor import TlsVersion

EXCHANGE_PERMISSION = "tokens.exchange"  # of secure_rpc/v1/exchange.proto; known also where the exchange is off
REFLECTION_METHOD = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

logger = logging.getLogger(__name__)


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
        self.tokens = TokenVerifier(
            settings.authentication.issuers,
            on_retired=self._forget_identities,
            on_introspection=self.metrics.introspection.observe,
        )
        self.identities = Identities(
            certificate_reader(
                settings.authentication.trust_domain, _bundles(settings), settings.authentication.certificate_names
            ),
            self.tokens,
            self._api_keys(),
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
        self._nonces: NonceStore = MemoryNonces(settings.replay.remembered_nonces)
        self.replay = Replay(self._nonces, settings.replay.window_seconds)
        self.validation = Validation()
        self.metrics.before_scrape(self._refresh)

    def check(self, methods: Iterable[Method]) -> None:
        """Hold the policy and the settings against the methods that were added.

        Args:
            methods: all of the server's.

        Raises:
            ConfigurationError: they name methods or permissions that do not exist, or cannot keep what a method asks.
        """
        self.contracts.check_foreign()
        self.policy.check_permissions(
            self.contracts.permissions | {self.settings.reflection.permission, EXCHANGE_PERMISSION}
        )
        protected = [method.path for method in methods if method.contract.replay_protected]
        if protected and self.settings.workers > 1 and isinstance(self._nonces, MemoryNonces):
            raise ConfigurationError(
                f'"workers" is {self.settings.workers}, but {protected[0]} is replay_protected, and each worker '
                "remembers nonces by itself: a call that was captured could be made again at another worker; "
                'set "workers: 1"'
            )

    def _refresh(self) -> None:
        use = self.identities.use
        for result, count in (("hit", use.hits), ("miss", use.misses), ("eviction", use.evictions)):
            self.metrics.identity_cache.labels(result).set(count)
        for issuer, store in self.tokens.stores.items():
            self.metrics.issuer_fetches.labels(issuer, "ok").set(store.use.fetches - store.use.failures)
            self.metrics.issuer_fetches.labels(issuer, "failed").set(store.use.failures)
            self.metrics.issuer_keys_age.labels(issuer).set(store.age_seconds)

    def _forget_identities(self) -> None:
        self.identities.forget()

    def _api_keys(self) -> ApiKeys | None:
        file = self.settings.authentication.api_keys_file
        if file is None:
            return None

        def on_failure(error: ConfigurationError) -> None:
            self.metrics.api_key_failures.inc()
            logger.error("the API keys are left as they were: %s", error)

        return ApiKeys(file, on_change=self._forget_identities, on_failure=on_failure)


def _bundles(settings: Settings) -> dict[str, list[x509.Certificate]]:
    """Return the CAs of each trust domain, none where there is only our own."""
    federated = settings.authentication.federated_trust_domains
    if not federated:
        return {}
    files = {settings.authentication.trust_domain: settings.tls.client_ca_file}
    files |= {name: domain.bundle_file for name, domain in federated.items()}
    return {name: credentials.certificates("authentication", file)[1] for name, file in files.items()}


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
