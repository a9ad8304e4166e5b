"""All settings: from a YAML file, and over it from the environment (`SECURE_RPC_LISTEN__ADDRESS=...`).

Unknown keys are refused; what is wrong is said with key, value, place and remedy. Units stand in the names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from secure_rpc.audit.settings import Audit
from secure_rpc.configuration import (
    ConfigurationError,
    Location,
    YamlDocument,
    did_you_mean,
    explain,
    model_in,
    read_yaml,
)
from secure_rpc.identity.revocation_files import RevocationSettings
from secure_rpc.quota import Quota, QuotaHeaders, QuotaScope, StoreFailure
from secure_rpc.sections import (
    Admin,
    Authentication,
    Authorization,
    Exchange,
    Integrity,
    Limits,
    Listen,
    Logging,
    Origin,
    Positive,
    Reflection,
    Replay,
    ServingLoop,
    Shutdown,
    Tls,
)
from secure_rpc.shedding.settings import Load
from secure_rpc.state.connection import State
from secure_rpc.state.sessions import SessionSettings
from secure_rpc.telemetry.tracing_settings import Tracing

__all__ = [
    "CONFIG_VARIABLE",
    "PREFIX",
    "Admin",
    "Audit",
    "Authentication",
    "Authorization",
    "Exchange",
    "Integrity",
    "Limits",
    "Listen",
    "Load",
    "Logging",
    "Origin",
    "Reflection",
    "Replay",
    "ServingLoop",
    "Settings",
    "Shutdown",
    "State",
    "Tls",
    "Tracing",
    "load",
]

PREFIX = "SECURE_RPC_"
CONFIG_VARIABLE = PREFIX + "CONFIG"  # names the file; the only one that is no setting


class _Environment(EnvSettingsSource):
    """Leaves a value that should be JSON and is not as it stands: validation then says which one it is."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class Settings(BaseSettings):
    """The whole of it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    service: Origin
    admin: Admin = Admin()
    listen: Listen = Listen()
    tls: Tls
    authentication: Authentication
    authorization: Authorization
    revocation: RevocationSettings = RevocationSettings()
    state: State | None = None  # what replicas share; none: each has its own
    load: Load = Load()
    limits: Limits = Limits()
    quotas: Mapping[str, Quota] = Field(
        default_factory=lambda: {"default": Quota(calls=1000)}
    )  # by class; "default" for methods that name none
    remembered_callers: Positive = 100_000  # for quotas
    quota_scope: QuotaScope = QuotaScope.SHARED
    quota_store_failure: StoreFailure = StoreFailure.OPEN  # quotas are fairness; the store must not end the service
    quota_headers: QuotaHeaders = QuotaHeaders.REFUSED
    replay: Replay = Replay()
    integrity: Integrity = Integrity()
    sessions: SessionSettings = SessionSettings()
    audit: Audit
    logging: Logging = Logging()
    tracing: Tracing = Tracing()
    shutdown: Shutdown = Shutdown()
    reflection: Reflection = Reflection()
    serving_loop: ServingLoop = ServingLoop.PUMPED
    workers: Positive = 1  # processes on the port; load limits hold in each by itself
    standby_worker: bool = True  # one more, loaded, takes the place of one that dies

    @field_validator("listen")
    @classmethod
    def _keeps_numbers_in(cls, listen: Listen, info: ValidationInfo) -> Listen:
        if "admin" in info.data:  # else it is wrong by itself
            info.data["admin"].check(listen.admin_address)
        return listen

    @field_validator("quotas")
    @classmethod
    def _has_default(cls, quotas: Mapping[str, Quota]) -> Mapping[str, Quota]:
        if "default" not in quotas:
            raise ValueError('the class "default" is missing: methods that name no quota class need it')
        return quotas

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the strongest first: pydantic-settings asks."""
        return _Environment(settings_cls), init_settings  # the first wins; the file comes as init


def load(path: Path) -> Settings:
    """Read the settings.

    Args:
        path: the YAML file. Relative paths in it are taken from the folder the service is started in.

    Raises:
        ConfigurationError: each thing that is wrong.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict) or not all(isinstance(key, str) for key in document.data):
        raise ConfigurationError(f"{path}: is no map of settings; see docs/settings.md")
    _check_environment()
    data: dict[str, Any] = document.data
    try:
        return Settings(**data)
    except ValidationError as error:
        raise explain(error, Settings, lambda location: _place(document, location)) from None


def _check_environment() -> None:
    """Refuse variables that look like settings and are none; pydantic-settings would pass over them."""
    known = {PREFIX + name.upper(): field.annotation for name, field in Settings.model_fields.items()}
    problems = []
    for variable in os.environ:
        if not variable.upper().startswith(PREFIX) or variable.upper() == CONFIG_VARIABLE:
            continue
        section, inside, _ = variable.upper().partition("__")
        if section not in known or (inside and model_in(known[section]) is None):
            problems.append(f"the environment variable {variable} is no setting; {did_you_mean(section, known)}")
    if problems:
        raise ConfigurationError(*problems)


def _place(document: YamlDocument, location: Location) -> str:
    """Return where a setting comes from: the environment where it is set there, else the file."""
    for length in range(len(location), 0, -1):
        variable = PREFIX + "__".join(str(part) for part in location[:length]).upper()
        if any(name.upper() == variable for name in os.environ):
            return f"environment variable {variable}"
    return document.place(location)
