"""The sections of the settings, one class each. Units stand in the names; what is wrong is refused with its reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from secure_rpc.confidential import EncryptedFields
from secure_rpc.configuration import Section, did_you_mean
from secure_rpc.identity.api_key import ISSUER as API_KEY_ISSUER
from secure_rpc.identity.certificate import NameKind
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.principal import Credential
from secure_rpc.policy.contract import ForeignContract
from secure_rpc.spiffe import check_trust_domain
from secure_rpc.spiffe import parse as parse_spiffe_id
from secure_rpc.telemetry.logging import LogFormat
from secure_rpc.tls.floor import TlsVersion

LEVELS = ("debug", "info", "warning", "error", "critical")

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


class Origin(Section):
    """What logs and metrics say of where they come from."""

    name: str = Field(min_length=1)
    environment: str = "development"
    cluster: str = ""
    deployment_id: str = ""

    @property
    def log_fields(self) -> dict[str, str]:
        """Return what each log line says of it."""
        return {
            "service": self.name,
            "environment": self.environment,
            "cluster": self.cluster,
            "deployment_id": self.deployment_id,
        }

    @property
    def resource(self) -> dict[str, str]:
        """Return what traces say of it, by OpenTelemetry's names where it has any."""
        return {
            "service.name": self.name,
            "deployment.environment.name": self.environment,
            "k8s.cluster.name": self.cluster,
            "deployment.id": self.deployment_id,
            "process.pid": str(os.getpid()),
        }


class Listen(Section):
    """Where the service listens."""

    address: str = "127.0.0.1:50051"  # gRPC, mTLS
    admin_address: str = "127.0.0.1:9464"  # HTTP: /healthz, /readyz, /metrics; beyond loopback by mutual TLS alone
    probe_address: str = ""  # plain HTTP: /healthz and /readyz alone, for the kubelet

    @field_validator("address", "admin_address", "probe_address")
    @classmethod
    def _host_and_port(cls, address: str, info: ValidationInfo) -> str:
        if not address and info.field_name == "probe_address":
            return address
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  # the highest port there is
            raise ValueError('an address has a host and a port, such as "127.0.0.1:50051"')
        return address


class Admin(Section):
    """Who may read the numbers, where they can be reached from elsewhere."""

    tls: bool = False  # by the server's certificate, from clients with one
    client_ca_file: Path | None = None  # whose clients may knock; none: those of `tls.client_ca_file`
    allowed_workloads: tuple[str, ...] = ()  # SPIFFE IDs of those who are answered

    @model_validator(mode="after")
    def _answers_somebody(self) -> Admin:
        for workload in self.allowed_workloads:
            parse_spiffe_id(workload)
        if self.tls != bool(self.allowed_workloads):
            raise ValueError('"tls" and "allowed_workloads" come together: name the SPIFFE IDs that may scrape')
        return self

    def check(self, address: str) -> None:
        """Refuse to show the numbers to whoever reaches the machine.

        Raises:
            ValueError: the address is not one of loopback, and TLS is off.
        """
        if not self.tls and not _is_loopback(address.rpartition(":")[0].strip("[]")):
            raise ValueError(
                f'"admin_address" {address} can be reached from elsewhere, in plaintext; take 127.0.0.1, or set '
                '"admin.tls: true" and "admin.allowed_workloads", and "listen.probe_address" for the kubelet'
            )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Tls(Section):
    """The server's certificate, and the clients it lets in."""

    certificate_file: Path
    key_file: Path
    client_ca_file: Path
    minimum_version: TlsVersion = TlsVersion.TLS_1_3
    ticket_lifetime_seconds: Seconds = 3600.0  # then a client's certificate is verified again, though it resumes


class Federated(Section):
    """A trust domain that is not ours."""

    bundle_file: Path  # its CAs, PEM; they vouch for its workloads, never for ours


class Exchange(Section):
    """Tokens of our own, given in exchange for those of others (RFC 8693)."""

    issuer: str = Field(min_length=1)  # the `iss` of ours
    key_file: Path  # P-256, PEM
    audiences: tuple[str, ...] = Field(min_length=1)  # for which ours may be asked
    lifetime_seconds: float = Field(default=300.0, gt=0, le=3600)
    issuers: tuple[Issuer, ...] = ()  # whose tokens are good for an exchange and for no call; none: those of calls


class Authentication(Section):
    """Who is believed."""

    trust_domain: str  # ours (SPIFFE)
    federated_trust_domains: Mapping[str, Federated] = Field(default_factory=dict)
    certificate_names: tuple[NameKind, ...] = (NameKind.SPIFFE,)  # which names of a certificate are looked at
    credentials: tuple[Credential, ...] = (Credential.BOTH,)  # a call has to have one of these
    issuers: tuple[Issuer, ...] = ()
    api_keys_file: Path | None = None
    exchange: Exchange | None = None
    remembered_identities: Positive = 10_000

    @field_validator("trust_domain")
    @classmethod
    def _grammar(cls, name: str) -> str:
        return check_trust_domain(name)

    @field_validator("federated_trust_domains")
    @classmethod
    def _their_grammar(cls, domains: Mapping[str, Federated]) -> Mapping[str, Federated]:
        for name in domains:
            check_trust_domain(name)
        return domains

    @field_validator("credentials", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _can_verify(self) -> Authentication:
        if not self.credentials or not self.certificate_names:
            raise ValueError('"credentials" and "certificate_names" name at least one each')
        if {Credential.BOTH, Credential.TOKEN} & set(self.credentials) and not self.issuers:
            raise ValueError('tokens are asked for, but no issuer of tokens is named under "issuers"')
        if (Credential.API_KEY in self.credentials) != (self.api_keys_file is not None):
            raise ValueError('"api_key" among the credentials and "api_keys_file" come together')
        named = [issuer.issuer for issuer in self.issuers] + ([self.exchange.issuer] if self.exchange else [])
        if API_KEY_ISSUER in named:  # its subjects would have what the policy gives to API keys
            raise ValueError(f'the name "{API_KEY_ISSUER}" is that of API keys in the policy; an issuer needs its own')
        if self.trust_domain in self.federated_trust_domains:
            raise ValueError(f'"{self.trust_domain}" is our own trust domain; it is not federated with itself')
        return self


class Authorization(Section):
    """What callers may do."""

    policy_file: Path
    rollout_file: Path | None = None  # names a candidate policy and how far it may go; it need not be there
    # of methods whose proto is not ours, by "/package.Service/Method"
    contracts: Mapping[str, ForeignContract] = Field(default_factory=dict)


class Limits(Section):
    """What one connection, call or message may take."""

    max_connections: Positive = 1000
    max_concurrent_streams: Positive = 100  # of one connection
    max_metadata_bytes: Positive = 16_384
    max_request_bytes: Positive = 4_194_304  # of one message, after decompression
    max_response_bytes: Positive = 4_194_304
    request_timeout_seconds: Seconds = 10.0  # for the message of a unary call to arrive
    default_deadline_seconds: float = Field(default=30.0, ge=0)  # of unary calls whose client sets none; 0: none
    max_deadline_seconds: float = Field(default=300.0, ge=0)  # of unary calls, whatever the client sets; 0: any
    handshake_timeout_seconds: Seconds = 10.0
    connection_idle_seconds: Seconds = 300.0
    connection_age_seconds: Seconds = 1800.0
    connection_age_grace_seconds: Seconds = 30.0
    stream_messages_per_second: float = Field(default=0.0, ge=0)  # that one stream brings; 0: any
    stream_message_burst: int = Field(default=0, ge=0)  # of them at once; 0: as many as in a second
    stream_messages: int = Field(default=0, ge=0)  # that one stream brings in all; 0: any
    keepalive_interval_seconds: Seconds = 60.0  # clients that ping more often are taken for attackers
    keepalive_without_calls: bool = False  # true lets them ping as often on connections that have nothing to do

    @model_validator(mode="after")
    def _default_within_max(self) -> Limits:
        if 0 < self.max_deadline_seconds < self.default_deadline_seconds:
            raise ValueError('"default_deadline_seconds" is more than "max_deadline_seconds"; lower it, or raise that')
        return self


class SecondSight(Enum):
    """What becomes of a call whose idempotency key was used before, for the same request."""

    ANSWER = "answer"  # as the first one was
    REFUSE = "refuse"


class Replay(Section):
    """How calls that must not be made twice are recognized."""

    window_seconds: Seconds = 300.0  # how far the caller's clock may be from ours
    remembered_nonces: Positive = 1_000_000
    file: Path | None = None  # of what the processes of this machine remember; none: each its own, until it ends
    idempotency: SecondSight = SecondSight.ANSWER
    idempotency_lifetime_seconds: Seconds = 86_400.0  # for which a key is remembered
    idempotency_lease_seconds: Seconds = 600.0  # after which a call that did not end counts as of unknown outcome
    remembered_outcomes: Positive = 100_000
    max_outcome_bytes: Positive = 65_536  # of a kept response

    @model_validator(mode="after")
    def _keys_outlast_their_calls(self) -> Replay:
        if self.idempotency_lifetime_seconds < max(2 * self.window_seconds, self.idempotency_lease_seconds):
            raise ValueError(
                '"idempotency_lifetime_seconds" is less than twice "window_seconds", or than '
                '"idempotency_lease_seconds": a call could be made again when its key is forgotten; raise it'
            )
        return self


class Integrity(Section):
    """What signed calls are verified with, and what encrypts sensitive fields."""

    signing_keys_file: Path | None = None  # keys of callers, beside those of their certificates
    certificate_keys: bool = True  # whether the key of the caller's TLS certificate may sign
    keyring_file: Path | None = None  # keys that encrypt sensitive fields
    encrypted_fields: EncryptedFields = EncryptedFields.OPTIONAL

    @model_validator(mode="after")
    def _has_keyring(self) -> Self:
        if self.encrypted_fields is EncryptedFields.REQUIRED and self.keyring_file is None:
            raise ValueError('encrypted fields are required, but there is no keyring to read them; set "keyring_file"')
        return self


class Logging(Section):
    """What is logged, and how."""

    format: LogFormat = LogFormat.JSON
    level: str = "info"
    allowed_calls_sample: float = Field(default=1.0, ge=0, le=1)  # share of calls that ended well; others always are

    @field_validator("level")
    @classmethod
    def _known(cls, level: str) -> str:
        if level not in LEVELS:
            raise ValueError(f"not a level; {did_you_mean(level, LEVELS)}")
        return level


class Shutdown(Section):
    """How the server ends."""

    drain_seconds: float = Field(default=5.0, ge=0)  # health says NOT_SERVING, calls are still taken
    grace_seconds: float = Field(default=20.0, ge=0)  # no new calls; those under way may finish


class Reflection(Section):
    """Whether callers can ask for the protos."""

    enabled: bool = False
    permission: str = "reflection.read"  # what it asks of callers


class ServingLoop(Enum):
    """Which loop hands calls to the chain."""

    PUMPED = "pumped"  # ours: survives hostile paths; falls back, with a warning, where grpcio lacks the parts
    GRPC = "grpc"  # grpc.aio's own
