"""The settings of tracing. They import nothing of OpenTelemetry's: without an endpoint nobody does."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from secure_rpc.configuration import Section

PATH = "/v1/traces"  # OTLP/HTTP


class Tracing(Section):
    """Which calls are traced, and where the traces go."""

    otlp_endpoint: str = ""  # OTLP by HTTP, such as "https://collector:4318"; empty: no traces are kept
    sample_ratio: float = Field(default=0.01, ge=0, le=1)  # of the traces that begin here
    max_sampled_per_second: float = Field(default=100.0, gt=0)  # of those that callers ask for, and of failures each
    queue_size: int = Field(default=4096, gt=0)  # spans that wait to be sent; what comes past them is lost
    timeout_seconds: float = Field(default=5.0, gt=0)  # for one answer of the collector
    ca_file: Path | None = None  # the CAs that vouch for the collector; none: those of the system
    certificate_file: Path | None = None  # ours, where the collector asks for one
    key_file: Path | None = None
    allow_plaintext: bool = False  # true lets http:// leave this machine
    propagate_baggage: bool = False  # whether calls made by handlers carry the baggage of the call they serve

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_address(cls, endpoint: str) -> str:
        if not endpoint:
            return endpoint
        try:
            parts = urlsplit(endpoint)
            sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            sound = False
        if not sound or parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError('an endpoint is an address such as "https://collector:4318", without user and password')
        return endpoint if parts.path.strip("/") else endpoint.rstrip("/") + PATH

    @model_validator(mode="after")
    def _keeps_to_tls(self) -> Tracing:
        parts = urlsplit(self.otlp_endpoint)
        if parts.scheme == "http" and not self.allow_plaintext and not _is_loopback(parts.hostname or ""):
            raise ValueError(
                '"otlp_endpoint" sends traces in plaintext; take https://, or set "allow_plaintext: true" where the '
                "network is yours"
            )
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError('"certificate_file" and "key_file" come together')
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
