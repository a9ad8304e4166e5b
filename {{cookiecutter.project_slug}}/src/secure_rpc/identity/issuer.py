"""An authority whose tokens are taken: where its keys are, what its tokens must say, what its claims are called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from secure_rpc.configuration import Section, did_you_mean
from secure_rpc.identity.fetching import https_only
from secure_rpc.spiffe import check_trust_domain

ASYMMETRIC = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})

Seconds = Annotated[float, Field(gt=0)]
HttpsUrl = Annotated[str, AfterValidator(https_only)]


class Claims(Section):
    """What an issuer calls what we rely on; a dot goes into a nested claim, as in `realm_access.roles`."""

    subject: str = Field(default="sub", min_length=1)
    tenants: str = Field(default="tenant", min_length=1)  # a name, or a list of names
    groups: str = Field(default="groups", min_length=1)
    roles: str = Field(default="roles", min_length=1)


class Fetch(Section):
    """How an issuer's server is spoken to."""

    timeout_seconds: Seconds = 3.0
    ca_file: Path | None = None  # None: the CAs of the system
    certificate_file: Path | None = None  # ours, where the issuer asks for one
    key_file: Path | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Fetch:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError('"certificate_file" and "key_file" come together')
        return self


class Keys(Section):
    """When an issuer's keys are fetched anew."""

    refresh_seconds: Seconds = 300.0
    minimum_interval_seconds: Seconds = 10.0  # between two fetches, whatever tokens ask for
    stale_limit_seconds: Seconds = 3600.0  # keys older than this are used no more, though none newer can be had

    @model_validator(mode="after")
    def _in_order(self) -> Keys:
        if not self.minimum_interval_seconds <= self.refresh_seconds < self.stale_limit_seconds:
            raise ValueError(
                '"minimum_interval_seconds" <= "refresh_seconds" < "stale_limit_seconds": else keys go stale untried'
            )
        return self


class Introspection(Section):
    """Asking the issuer about a token (RFC 7662)."""

    url: HttpsUrl
    client_id: str = ""
    client_secret_file: Path | None = None  # None: our certificate proves who we are (RFC 8705, section 2)
    cache_seconds: float = Field(default=30.0, ge=0, le=3600)  # how late a revocation may be noticed
    negative_cache_seconds: float = Field(default=5.0, ge=0, le=300)
    remembered_tokens: int = Field(default=10_000, gt=0)

    @model_validator(mode="after")
    def _whose_secret(self) -> Introspection:
        if self.client_secret_file is not None and not self.client_id:
            raise ValueError('"client_secret_file" needs a "client_id", whose secret it is')
        return self


class Issuer(Section):
    """An authority whose tokens are taken."""

    issuer: str = Field(min_length=1)  # the `iss` claim, compared as it stands
    jwks_file: Path | None = None
    jwks_url: HttpsUrl | None = None
    introspection: Introspection | None = None  # for tokens that are no JWTs
    audiences: tuple[str, ...] = Field(min_length=1)  # one of them must be in `aud`
    algorithms: tuple[str, ...] = ("ES256", "RS256")
    types: tuple[str, ...] = ("at+jwt",)  # of the header's `typ` (RFC 9068, section 2.1)
    required_claims: tuple[str, ...] = ("iat",)  # beyond iss, aud, exp and the subject
    leeway_seconds: float = Field(default=30.0, ge=0, le=300)
    claims: Claims = Claims()
    trust_domain: str = ""  # whose workloads alone may show its tokens; "" for any
    certificate_bound: bool = False  # whether each token must be bound to the caller's certificate (RFC 8705)
    keys: Keys = Keys()
    fetch: Fetch = Fetch()

    @field_validator("algorithms")
    @classmethod
    def _only_signatures(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        for name in algorithms:
            if name not in ASYMMETRIC:
                raise ValueError(f"{name} is not an asymmetric signature; {did_you_mean(name, ASYMMETRIC)}")
        if not algorithms:
            raise ValueError("name at least one algorithm")
        return algorithms

    @field_validator("trust_domain")
    @classmethod
    def _grammar(cls, name: str) -> str:
        return check_trust_domain(name) if name else name

    @model_validator(mode="after")
    def _can_verify(self) -> Issuer:
        if self.jwks_file and self.jwks_url:
            raise ValueError('name "jwks_file" or "jwks_url", not both')
        if not (self.jwks_file or self.jwks_url or self.introspection):
            raise ValueError('name a "jwks_file", a "jwks_url" or an "introspection": no token could be verified')
        return self
