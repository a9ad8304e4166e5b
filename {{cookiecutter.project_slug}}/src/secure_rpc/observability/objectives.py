"""What a service promises: `observability/objectives.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from secure_rpc.configuration import ConfigurationError, Section, read_yaml

FOLDER = Path("observability")
FILE = "objectives.yaml"
ALERT = "{alert}"  # in the pattern of runbooks
OPEN, CLOSE = 2 * "{", 2 * "}"  # of Prometheus' and Grafana's templates; spelt so, the generator's leave them alone

Percent = Annotated[float, Field(gt=0, lt=100)]
Positive = Annotated[float, Field(gt=0)]


class Objectives(Section):
    """How much of what is counted must be good, in percent."""

    availability: Percent = 99.9
    auth_latency: Percent = 95.0
    tls_handshakes: Percent = 99.9
    client_certificates: Percent = 99.95
    tokens: Percent = 99.5
    refusals: Percent = 99.8
    audit: Percent = 99.999


class Thresholds(Section):
    """From where on somebody is told."""

    certificate_page_hours: Positive = 24.0
    certificate_ticket_hours: Positive = 72.0
    handshake_failures_page_percent: Percent = 20.0
    issuer_keys_ticket_seconds: Positive = 900.0
    issuer_keys_page_seconds: Positive = 2700.0
    loop_lag_ticket_seconds: Positive = 0.1
    load_refusals_page_percent: Percent = 20.0
    edge_origins_page_percent: Percent = 50.0
    edge_unread_ticket_streams: Positive = 10.0


class Receiver(Section):
    """Who is told, through a webhook."""

    name: str = Field(min_length=1)
    webhook: str
    credentials_file: str = ""  # the bearer token for it, in a file that Alertmanager alone reads; "" for none

    @field_validator("webhook")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("write the URL that is told, such as https://pager.example.org/alerts")
        if parts.username or parts.password or parts.query:
            raise ValueError("a secret does not belong into this file; put it into credentials_file")
        return url


class Routes(Section):
    """Who is told of what."""

    page: Receiver
    ticket: Receiver
    drill: Receiver


class Promises(Section):
    """The whole file."""

    version: Literal[1]  # of this format
    job: str = Field(min_length=1)
    edge_job: str = ""  # that of the edge before it; "": the same with "-edge" behind it
    runbooks: str
    window_days: int = Field(default=30, ge=7, le=90)
    objectives: Objectives = Objectives()
    thresholds: Thresholds = Thresholds()
    routes: Routes

    @field_validator("runbooks")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        if not pattern.startswith("https://") or pattern.count(ALERT) != 1:
            raise ValueError(f"write an https URL with {ALERT} where the alert's name goes")
        return pattern

    @field_validator("job", "edge_job")
    @classmethod
    def _needs_no_quoting(cls, job: str) -> str:
        if set(job) & set('"\\\n{}'):
            raise ValueError("it stands in queries: quotes, braces and backslashes cannot be in it")
        return job

    def at_the_edge(self) -> Promises:
        """Return the same for the edge: what it says of a job, it says of the edge's."""
        return self.model_copy(update={"job": self.edge_job or f"{self.job}-edge"})

    def runbook_of(self, alert: str) -> str:
        """Return where it is written what to do."""
        return self.runbooks.replace(ALERT, alert)


def load(path: Path) -> Promises:
    """Read what a service promises.

    Raises:
        ConfigurationError: place and remedy of each thing that is wrong.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigurationError(f"{path}: is no map; docs/slo.md shows what goes into it")
    return document.validated(Promises)
