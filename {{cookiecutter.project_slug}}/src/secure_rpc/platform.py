"""The stages of a service, made from its settings, ready for its chain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import grpc

from secure_rpc.audit.events import Events, versions
from secure_rpc.audit.upkeep import keep_up, open_log
from secure_rpc.chain import Stage
from secure_rpc.confidential import Keyring
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.api_key import ApiKeys
from secure_rpc.identity.call_proof import CallProofs
from secure_rpc.identity.principal import Identities
from secure_rpc.identity.signing_keys import SigningKeys
from secure_rpc.identity.tokens import TokenVerifier
from secure_rpc.known import foreign_contracts, known_to_policy
from secure_rpc.live import LiveStreams
from secure_rpc.method import Method
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.contract import Contracts
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.keeper import PolicyFiles, PolicyKeeper
from secure_rpc.quota import QuotaScope
from secure_rpc.settings import Settings
from secure_rpc.stages.audit import Audit
from secure_rpc.stages.authentication import Authentication
from secure_rpc.stages.authorization import Authorization
from secure_rpc.stages.confidentiality import Confidentiality
from secure_rpc.stages.counting import quotas_of
from secure_rpc.stages.error_boundary import ErrorBoundary
from secure_rpc.stages.integrity import Integrity
from secure_rpc.stages.load_limit import LoadLimit
from secure_rpc.stages.rate_limit import RateLimit
from secure_rpc.stages.remembering import Memory, replay_of
from secure_rpc.stages.sessions import Sessions
from secure_rpc.stages.sharing import sessions_of, store_of
from secure_rpc.stages.steps import Steps
from secure_rpc.stages.stream_limits import StreamLimits
from secure_rpc.stages.telemetry import Telemetry
from secure_rpc.stages.validation import Validation
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.telemetry.call_metrics import method_label
from secure_rpc.telemetry.calls import CallReporter
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.telemetry.tracing import tracing_of
from secure_rpc.tls.floor import TlsVersion
from secure_rpc.trust import Trust

__all__ = ["Application", "Platform"]

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
        self.store = store_of(settings, on_failure=self.metrics.store_failures.labels("redis").inc)
        self.events = Events(lambda *event, **fields: self.audit_log.note(*event, **fields))  # noqa: PLW0108  # made below
        self._trust = Trust(settings, self.metrics, self.live, self.store, self.events)
        self.certificates = self._trust.certificates
        self.contracts = Contracts(foreign_contracts(settings), settings.quotas)
        conditions = Conditions(on_failure=self._condition_failed)
        active = ActivePolicy(
            Engine("", conditions),
            on_difference=lambda path, way: self.metrics.policy_differences.labels(method_label(path), way).inc(),
            on_rollback=self._policy_rolled_back,
        )
        self.policy = PolicyKeeper(
            PolicyFiles(settings.authorization.policy_file, settings.authorization.rollout_file),
            active,
            conditions,
            self.live,
            size=settings.authentication.remembered_identities,
            on_reload=self._policy_reloaded,
        )
        self.active_policy = active
        self.tokens = TokenVerifier(
            settings.authentication.issuers,
            on_retired=self._forget_identities,
            on_introspection=self.metrics.introspection.observe,
        )
        self.exchanged_tokens = self._exchanged_tokens()
        self.verifiers = {self.exchanged_tokens, self.tokens}
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
        self.metrics.process.is_made_of(settings.service.name, settings.service.deployment_id)
        self.reporter = CallReporter(self.metrics, settings.logging.allowed_calls_sample)
        self.audit_log = open_log(
            settings.audit,
            on_written=self.metrics.audit.records.inc,
            on_failure=lambda _: self.metrics.audit.failures.inc(),
            on_anchor=lambda anchor: self.metrics.audit.sequence.labels(anchor.chain).set(anchor.sequence),
            on_archive_failure=self.metrics.audit.archive_failures.inc,
        )
        self.tracing = tracing_of(settings.tracing, self.metrics.tracing, settings.service.resource)
        self.telemetry = Telemetry(self.metrics, self.reporter, self.tracing)
        self.audit = Audit(
            self.audit_log,
            settings.audit.durability,
            refuse_when_unwritable=settings.audit.refuse_when_unwritable,
        )
        self.error_boundary = ErrorBoundary()
        self.load_limit = LoadLimit(settings.load, settings.limits.max_metadata_bytes, self.metrics.load)
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
        self._quotas = quotas_of(settings, self.store, self.metrics.quotas.decided_without_store)
        self.rate_limit = self._step("quota", RateLimit(self._quotas, settings.quotas, settings.quota_headers))
        self._calls_made = Memory(settings.replay, self.store)
        replay = replay_of(settings.replay, self._calls_made, on_answer=self.metrics.replay.answered)
        self.replay = self._step("replay", replay)
        self.integrity = self._step("integrity", self._integrity())
        self.sessions = Sessions(
            settings.sessions,
            self.live,
            self.identities.certificate_ends,
            limits=StreamLimits.of(settings.limits),
            store=sessions_of(self.store),
        )
        keyring_file = settings.integrity.keyring_file
        self._keyring = Keyring(keyring_file, self._keys_reloaded("keyring")) if keyring_file else None
        self.confidentiality = Confidentiality(self._keyring, settings.integrity.encrypted_fields)
        self.validation = self._step("validation", Validation(), of_messages=True)
        self.metrics.before_scrape(self._refresh)
        self.metrics.before_scrape(self.load_limit.refresh)

    async def keep_trust_fresh(self) -> None:
        """Follow the files of certificates, CAs and revocations, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._trust.keep_fresh(self.identities))
            tasks.create_task(self._signing_keys.keep_fresh())
            if self._keyring is not None:
                tasks.create_task(self._keyring.keep_fresh())

    async def keep_reviewing(self) -> None:
        """Judge streams again from time to time, until cancelled."""
        if self.settings.sessions.review_seconds:
            await self.live.keep_reviewing(self.settings.sessions.review_seconds)

    async def keep_audit_up(self) -> None:
        """Record start, stop and failed handshakes, and have the audit log signed, rotated and retired in time."""
        origin = self.settings.service.model_dump()
        about = {**origin, **versions(), "policy": self.policy.version, "workers": self.settings.workers}
        await keep_up(self.audit_log, about, lambda: self.metrics.handshakes.failures_by_reason)

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
        self.events.known_policy(self.policy.version)
        protected = [
            (method.path, "replay_protected" if method.contract.replay_protected else "signed")
            for method in methods
            if method.contract.replay_protected or method.contract.signed
        ]
        if protected and self.settings.workers > 1 and self._calls_made.is_of_one_process:
            raise ConfigurationError(
                f'"workers" is {self.settings.workers}, but {" is ".join(protected[0])}, and each worker '
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

    def _exchanged_tokens(self) -> TokenVerifier:
        exchange = self.settings.authentication.exchange
        if exchange is None or not exchange.issuers:
            return self.tokens
        return TokenVerifier(exchange.issuers, on_introspection=self.metrics.introspection.observe)

    def _step(self, name: str, stage: Stage, *, of_messages: bool = False) -> Stage:
        return Steps(name, stage, of_messages=of_messages) if self.tracing.keeps else stage

    def _refresh(self) -> None:
        use = self.identities.use
        for result, count in (("hit", use.hits), ("miss", use.misses), ("eviction", use.evictions)):
            self.metrics.identity_cache.labels(result).set(count)
        for issuer, store in {**self.exchanged_tokens.stores, **self.tokens.stores}.items():
            self.metrics.issuer_fetches.labels(issuer, "ok").set(store.use.fetches - store.use.failures)
            self.metrics.issuer_fetches.labels(issuer, "failed").set(store.use.failures)
            self.metrics.issuer_keys_age.labels(issuer).set(store.age_seconds)
        if self.store is not None:
            self.metrics.store_reachable.labels("redis").set(self.store.is_reachable)
        shadow = self.active_policy.shadow
        self.metrics.sessions.live.set(len(self.sessions))
        self.metrics.quotas.round_trips.set(self._quotas.round_trips)
        self.metrics.policy_loaded.set(self.policy.loaded_seconds)
        self.metrics.policy_rollout.set(shadow.percent if shadow is not None else 0)

    def _integrity(self) -> Integrity:
        settings, window_seconds = self.settings.integrity, self.settings.replay.window_seconds
        self._signing_keys = SigningKeys(settings.signing_keys_file, self._keys_reloaded("signing_keys"))
        audience = self.settings.service.name
        proofs = CallProofs(self._signing_keys, audience, window_seconds, certificate_keys=settings.certificate_keys)
        return Integrity(proofs, self._calls_made.once)

    def _keys_reloaded(self, file: str) -> Callable[[ConfigurationError | None], None]:
        def reloaded(error: ConfigurationError | None) -> None:
            self.metrics.integrity.reloaded(file, good=error is None)
            if error is not None:
                logger.error("the %s are left as they were: %s", file.replace("_", " "), error)

        return reloaded

    def _policy_reloaded(self, good: bool) -> None:  # noqa: FBT001  # a callback's argument
        self.metrics.policy_reloads.labels("ok" if good else "refused").inc()
        shadow, version = self.active_policy.shadow, self.policy.version
        candidate, percent = (shadow.candidate.version, shadow.percent) if shadow is not None else ("", 0.0)
        self.events.policy_reloaded(good=good, version=version, candidate=candidate, percent=percent)

    def _policy_rolled_back(self) -> None:
        self.metrics.policy_rollbacks.inc()
        if (shadow := self.active_policy.shadow) is not None:
            self.events.policy_rolled_back(shadow.candidate.version)

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
            self.events.reloaded("api_keys", good=False)
            logger.error("the API keys are left as they were: %s", error)

        def on_change() -> None:
            self.events.reloaded("api_keys", good=True)
            self._forget_identities()

        return ApiKeys(file, on_change=on_change, on_failure=on_failure)


@dataclass(frozen=True, slots=True)
class Application:
    """What a service adds to the platform.

    Args:
        build_chain: returns the chain's stages, outermost first.
        add_services: adds the servicers; generated `add_XServicer_to_server` functions take what it is given.
    """

    build_chain: Callable[[Platform], list[Stage]]
    add_services: Callable[[grpc.aio.Server], None]
