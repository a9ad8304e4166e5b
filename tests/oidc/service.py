"""A generated service that believes a provider: its settings, its policy, and what it has recorded."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from tests.foreign.running import SECONDS, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.oidc.calling import Outcome
    from tests.oidc.provider import Provider

Json = dict[str, Any]
T = TypeVar("T")

DEVELOPMENT = "https://issuer.example.org"
INTERNAL = "https://internal.example.org"
PAUSE_SECONDS = 0.05


def issuer_of(provider: Provider, folder: Path, **changes: Json | str) -> Json:
    """Return how a provider's tokens are taken; changes go over it, a map's keys over those of the map."""
    (folder / "checker.secret").write_text("checker+checker\n", encoding="utf-8")
    usual: Json = {
        "issuer": provider.issuer,
        "jwks_url": f"{provider.issuer}/jwks",
        "audiences": ["order-service"],
        "algorithms": ["RS256", "ES256"],
        "claims": {"subject": "client_id", "tenants": "org.tenants", "groups": "realm_access.roles"},
        "keys": {"refresh_seconds": 60, "minimum_interval_seconds": 2},
        "fetch": {"ca_file": str(folder / "ca.pem"), "timeout_seconds": 5},
        "introspection": {
            "url": f"{provider.issuer}/token/introspection",
            "client_id": "checker",
            "client_secret_file": str(folder / "checker.secret"),
        },
    }
    for key, value in changes.items():
        usual[key] = {**usual[key], **value} if isinstance(value, dict) else value
    return usual


def policy_for(provider: Provider) -> Json:
    """Return who may do what: by the name of an issuer and a subject, or a group, of it."""
    writers = [
        {"issuer": provider.issuer, "subject": "orders"},
        {"issuer": provider.issuer, "subject": "bound"},
        {"issuer": provider.issuer, "group": "clerks"},
        {"issuer": DEVELOPMENT, "group": "admins"},
        {"issuer": INTERNAL, "subject": "orders"},
    ]
    return {
        "version": 1,
        "roles": {
            "writer": {"permissions": ["orders.read", "orders.write"]},
            "exchanger": {"permissions": ["tokens.exchange"]},
        },
        "bindings": [
            {"role": "writer", "principals": writers},
            {"role": "exchanger", "principals": [{"issuer": provider.issuer, "subject": "gateway"}]},
        ],
    }


def settings_in(service: Path, into: Path, issuers: list[Json], policy: Json, exchange: Json | None = None) -> Path:
    """Write settings: those of development, with other issuers and another policy."""
    into.mkdir()
    settings = yaml.safe_load((service / "config" / "dev.yaml").read_text(encoding="utf-8"))
    settings["authentication"] |= {"issuers": issuers} | ({"exchange": exchange} if exchange else {})
    settings["authorization"]["policy_file"] = str(into / "policy.yaml")
    settings["audit"]["file"] = str(into / "audit.log")
    settings["limits"] = {"max_concurrent_streams": 1000}  # for many calls on one connection
    settings["quotas"]["default"] = {"calls": 100_000}
    known = {issuer["issuer"] for issuer in issuers}  # a policy names no others
    for binding in (bindings := policy["bindings"]):
        binding["principals"] = [who for who in binding["principals"] if who["issuer"] in known]
    policy = {**policy, "bindings": [binding for binding in bindings if binding["principals"]]}
    (into / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    (into / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return into / "settings.yaml"


class Service(Running):
    """The service in a process of its own.

    Args:
        folder: its own, set up.
        settings: the file.

    """

    def __init__(self, folder: Path, settings: Path) -> None:
        self.settings = settings
        self.audit_file = settings.with_name("audit.log")
        super().__init__(folder, "order-service", {"SECURE_RPC_CONFIG": str(settings)})
        self._admin = self.line(event="serving")["admin"]

    def recorded(self, outcome: Outcome) -> Json:
        """Return the audit record of a call."""
        if outcome.call_id:
            return self.record(call_id=outcome.call_id)
        return self.record(code=outcome.code, fields=outcome.audited)

    def record(self, **wanted: object) -> Json:
        """Return the first audit record that has these, waiting for it if need be."""

        def found() -> Json | None:
            lines, _, _ = self.audit_file.read_text(encoding="utf-8").rpartition("\n")  # the last may be half written
            records: Iterator[Json] = map(json.loads, lines.splitlines())
            return next((record for record in records if wanted.items() <= record.items()), None)

        return until(found)

    def metric(self, name: str, **labels: str) -> float:
        """Return a number of the admin port."""
        with urllib.request.urlopen(f"http://{self._admin}/metrics", timeout=SECONDS) as response:
            lines = response.read().decode().splitlines()
        given = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        (value,) = [found[1] for line in lines if (found := re.fullmatch(rf"{name}{{{re.escape(given)}}} (\S+)", line))]
        return float(value)

    def log(self, *outcomes: Outcome) -> str:
        """Return what was logged until these calls, at least."""
        for outcome in outcomes:
            if outcome.call_id:
                self.line(call_id=outcome.call_id)
        return "\n".join(map(json.dumps, self._lines))


def until(found: Callable[[], T | None], seconds: float = SECONDS) -> T:
    """Return what is there once it is there.

    Raises:
        AssertionError: it is not there in time.

    """
    end = time.monotonic() + seconds
    while not (what := found()):
        assert time.monotonic() < end, f"not in {seconds} s"
        time.sleep(PAUSE_SECONDS)
    return what
