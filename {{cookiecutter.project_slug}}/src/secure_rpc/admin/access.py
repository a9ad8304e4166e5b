"""Where the admin port listens, and who may read there: plain data, which the supervisor is told as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secure_rpc.settings import Settings  # imports grpc, and the supervisor must not


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What mutual TLS needs."""

    certificate_file: str
    key_file: str
    client_ca_file: str
    allowed_workloads: tuple[str, ...]  # SPIFFE IDs


@dataclass(frozen=True, slots=True)
class Exposure:
    """Where what can be read."""

    address: str  # "host:port": health, readiness and numbers
    probe_address: str = ""  # health and readiness alone, in plaintext; "" for none
    tls: TlsFiles | None = None  # of `address`; none: plaintext

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Exposure:
        """Return what `as_dict` gave."""
        tls = told["tls"]
        files = TlsFiles(**{**tls, "allowed_workloads": tuple(tls["allowed_workloads"])}) if tls else None
        return cls(told["address"], told["probe_address"], files)


def exposure_of(settings: Settings) -> Exposure:
    """Return what the settings say of it."""
    listen, admin, tls = settings.listen, settings.admin, settings.tls
    files = TlsFiles(
        str(tls.certificate_file),
        str(tls.key_file),
        str(admin.client_ca_file or tls.client_ca_file),
        admin.allowed_workloads,
    )
    return Exposure(listen.admin_address, listen.probe_address, files if admin.tls else None)
