"""The stages of a service, made from its settings, ready for its chain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import grpc

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.chain import Stage
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.api_key import ISSUER as API_KEY_ISSUER
from secure_rpc.identity.api_key import ApiKeys
from secure_rpc.identity.certificate import NameKind
from secure_rpc.identity.principal import Identities
from secure_rpc.identity.tokens import TokenVerifier
from secure_rpc.live import LiveStreams
from secure_rpc.method import Method
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.contract import Contracts, ForeignContract
from secure_rpc.policy.document import Known
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.keeper import PolicyFiles, PolicyKeeper
from secure_rpc.quota import QuotaScope, StoreFailure
from secure_rpc.settings import Settings
from secure_rpc.stages.audit import Audit
from secure_rpc.stages.authentication import Authentication
from secure_rpc.stages.authorization import Authorization
from secure_rpc.stages.error_boundary import ErrorBoundary
from secure_rpc.stages.load_limit import LoadLimit
from secure_rpc.stages.rate_limit import RateLimit
from secure_rpc.stages.remembering import Memory, replay_of
from secure_rpc.stages.sessions import Sessions
from secure_rpc.stages.steps import Steps
from secure_rpc.stages.stream_limits import StreamLimits
from secure_rpc.stages.telemetry import Telemetry
from secure_rpc.stages.validation import Validation
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.memory import MemoryQuotas
from secure_rpc.state.quotas import QuotaStore
from secure_rpc.state.redis import Store
from secure_rpc.state.redis_quotas import RedisQuotas
from secure_rpc.state.redis_sessions import RedisSessions
from secure_rpc.telemetry.call_metrics import method_label
from secure_rpc.telemetry.calls import CallReporter
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.telemetry.tracing import tracing_of
from secure_rpc.tls.floor import TlsVersion
from secure_rpc.trust import Trust

NAME_PREFIXES = {NameKind.DNS: "dns:", NameKind.COMMON_NAME: "cn:"}
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
        self.live = LiveStreams(self.metrics.sessions.cut)
        self.store = self._shared_store()
        self._trust = Trust(settings, self.metrics, self.live, self.store)
        self.certificates = self._trust.certificates
        self.contracts = Contracts(foreign_contracts(settings), settings.quotas)
        conditions = Conditions(on_failure=self._condition_failed)
        active = ActivePolicy(
            Engine("", conditions),
            on_difference=lambda path, way: self.metrics.policy_differences.labels(method_label(path), way).inc(),
            on_rollback=self.metrics.policy_rollbacks.inc,
        )
        self.policy = PolicyKeeper(
            PolicyFiles(settings.authorization.policy_file, settings.authorization.rollout_file),
            active,
            conditions,
            self.live,
            size=settings.authentication.remembered_identities,
            on_reload=lambda good: self.metrics.policy_reloads.labels("ok" if good else "refused").inc(),
        )
        self.active_policy = active
        self.tokens = TokenVerifier(
            settings.authentication.issuers,
            on_retired=self._forget_identities,
            on_introspection=self.metrics.introspection.observe,
        )
        self.identities = Identities(
            self._trust.certificate_reader(),
            self.tokens,
            self._api_keys(),
            settings.authentication.credentials,
            revocations=self._trust.revocation_source,
            size=settings.authentication.remembered_identities,
            on_credential=self.metrics.auth.validated,
        )
        self.metrics.auth.expect([*known_to_policy(settings, ()).issuers])
        self.metrics.process.is_made_of(settings.service.name)
        self.reporter = CallReporter(self.metrics, settings.logging.allowed_calls_sample)
        self.audit_log = ChainLog(
            settings.audit.file,
            on_written=self.metrics.audit_records.inc,
            on_failure=lambda _: self.metrics.audit_failures.inc(),
        )
        self.tracing = tracing_of(settings.tracing, self.metrics.tracing, settings.service.resource)
        self.telemetry = Telemetry(self.metrics, self.reporter, self.tracing)
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
        self.authentication = self._step(
            "authentication",
            Authentication(
                self.identities,
                tls_1_3_only=settings.tls.minimum_version is TlsVersion.TLS_1_3,
                on_verified=self._trust.negotiated,
                on_refused=self.metrics.auth.decided,
            ),
        )
        self.authorization = self._step("policy", Authorization(active, self.metrics.auth.decided))
        self._quotas = self._quota_store()
        self.rate_limit = self._step("quota", RateLimit(self._quotas, settings.quotas, settings.quota_headers))
        self._calls_made = Memory(settings.replay, self.store)
        replay = replay_of(settings.replay, self._calls_made, on_answer=self.metrics.replay.answered)
        self.replay = self._step("replay", replay)
        self.sessions = Sessions(
            settings.sessions,
            self.live,
            self.identities.certificate_ends,
            limits=StreamLimits.of(settings.limits),
            store=RedisSessions(self.store) if self.store is not None else None,
        )
        self.validation = self._step("validation", Validation(), of_messages=True)
        self.metrics.before_scrape(self._refresh)

    async def keep_trust_fresh(self) -> None:
        """Follow the files of certificates, CAs and revocations, until cancelled."""
        await self._trust.keep_fresh(self.identities)

    async def keep_reviewing(self) -> None:
        """Judge streams again from time to time, until cancelled."""
        if self.settings.sessions.review_seconds:
            await self.live.keep_reviewing(self.settings.sessions.review_seconds)

    async def read_shared(self) -> None:
        """Learn what the replicas share, before the first call; a store that does not answer keeps nobody waiting."""
        if self._trust.shared is not None:
            await self._trust.shared.refresh()
        with suppress(StoreUnavailable):
            await self._calls_made.nonces.open()

    def unready_because(self) -> list[str]:
        """Return the reasons for which calls would be refused, or should not come here."""
        reasons = self._trust.unready_because()
        state = self.settings.state
        if state is not None and state.required_for_readiness and self.store is not None:
            reasons += ["the shared store cannot be reached"] * (not self.store.is_reachable)
        return reasons

    async def close_store(self) -> None:
        """Close the connections to what the replicas share."""
        await self.sessions.close()
        await self._quotas.close()
        await self._calls_made.close()
        if self.store is not None:
            await self.store.close()

    def check(self, methods: Collection[Method]) -> None:
        """Hold the policy and the settings against the methods that were added.

        Args:
            methods: all of the server's.

        Raises:
            ConfigurationError: they name methods, permissions, issuers or trust domains that do not exist, or cannot
                keep what a method asks.
        """
        self.contracts.check_foreign()
        self.policy.begin(known_to_policy(self.settings, self.contracts.permissions), methods)
        protected = [method.path for method in methods if method.contract.replay_protected]
        if protected and self.settings.workers > 1 and self._calls_made.is_of_one_process:
            raise ConfigurationError(
                f'"workers" is {self.settings.workers}, but {protected[0]} is replay_protected, and each worker '
                "remembers nonces by itself: a call that was captured could be made again at another worker; "
                'set "workers: 1", or have them remember together: by "replay.file" on this machine, or by "state"'
            )
        self.sessions.check(self.settings.workers)
        if self.settings.workers > 1 and self.store is None and self.settings.quota_scope is QuotaScope.SHARED:
            raise ConfigurationError(
                f'"workers" is {self.settings.workers}, but quotas are counted in each worker by itself: a caller '
                f'would have its quota {self.settings.workers} times; set "state" to a store where all of them count '
                'together, or "quota_scope: worker" to take that, or "workers: 1"'
            )

    def _step(self, name: str, stage: Stage, *, of_messages: bool = False) -> Stage:
        return Steps(name, stage, of_messages=of_messages) if self.tracing.keeps else stage

    def _refresh(self) -> None:
        use = self.identities.use
        for result, count in (("hit", use.hits), ("miss", use.misses), ("eviction", use.evictions)):
            self.metrics.identity_cache.labels(result).set(count)
        for issuer, store in self.tokens.stores.items():
            self.metrics.issuer_fetches.labels(issuer, "ok").set(store.use.fetches - store.use.failures)
            self.metrics.issuer_fetches.labels(issuer, "failed").set(store.use.failures)
            self.metrics.issuer_keys_age.labels(issuer).set(store.age_seconds)
        if self.store is not None:
            self.metrics.store_reachable.labels("redis").set(self.store.is_reachable)
        shadow = self.active_policy.shadow
        self.metrics.sessions.live.set(len(self.sessions))
        if isinstance(self._quotas, RedisQuotas):
            self.metrics.quotas.round_trips.set(self._quotas.round_trips)
        self.metrics.policy_loaded.set(self.policy.loaded_seconds)
        self.metrics.policy_rollout.set(shadow.percent if shadow is not None else 0)

    def _shared_store(self) -> Store | None:
        state = self.settings.state
        if state is None:
            return None
        return Store(state, self.settings.service.name, on_failure=self.metrics.store_failures.labels("redis").inc)

    def _quota_store(self) -> QuotaStore:
        settings, memory = self.settings, MemoryQuotas(self.settings.remembered_callers)
        if self.store is None or settings.state is None or settings.quota_scope is QuotaScope.WORKER:
            return memory
        return RedisQuotas(
            self.store,
            settings.state.timeout_seconds,
            memory if settings.quota_store_failure is StoreFailure.OPEN else None,
            settings.remembered_callers,
            on_decision_without_store=self.metrics.quotas.decided_without_store,
        )

    def _forget_identities(self) -> None:
        self.identities.forget()

    def _condition_failed(self, expression: str, failure: str) -> None:
        self.metrics.policy_condition_failures.inc()
        logger.debug("the condition %r denies, for it failed: %s", expression, failure)

    def _api_keys(self) -> ApiKeys | None:
        file = self.settings.authentication.api_keys_file
        if file is None:
            return None

        def on_failure(error: ConfigurationError) -> None:
            self.metrics.api_key_failures.inc()
            logger.error("the API keys are left as they were: %s", error)

        return ApiKeys(file, on_change=self._forget_identities, on_failure=on_failure)


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


@dataclass(frozen=True, slots=True)
class Application:
    """What a service adds to the platform.

    Args:
        build_chain: returns the chain's stages, outermost first.
        add_services: adds the servicers; generated `add_XServicer_to_server` functions take what it is given.
    """

    build_chain: Callable[[Platform], list[Stage]]
    add_services: Callable[[grpc.aio.Server], None]
