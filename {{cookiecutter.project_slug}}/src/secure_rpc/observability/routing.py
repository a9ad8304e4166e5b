"""Who is told of an alert, and which alerts keep others quiet: Alertmanager's configuration."""

from __future__ import annotations

from typing import Any

from secure_rpc.observability.objectives import Promises, Receiver
from secure_rpc.observability.rules import DEPLOY_WINDOW


def routing(promises: Promises) -> dict[str, Any]:
    """Return the configuration.

    Args:
        promises: of the service.
    """
    routes = promises.routes
    receivers = {each.name: each for each in (routes.page, routes.ticket, routes.drill)}
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": routes.ticket.name,
            "group_by": ["job", "alertname"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [
                {"receiver": routes.drill.name, "matchers": ['drill="true"'], "group_wait": "0s"},
                {"receiver": "nobody", "matchers": ['severity="none"']},
                {
                    "receiver": routes.page.name,
                    "matchers": ['severity="page"'],
                    "group_by": ["job"],  # one call for all that is wrong with a service
                    "group_wait": "10s",
                    "repeat_interval": "1h",
                },
                {"receiver": routes.ticket.name, "matchers": ['severity="ticket"'], "repeat_interval": "24h"},
            ],
        },
        "inhibit_rules": [
            # what follows from it is known
            _inhibit(['alertname=~"ServiceDown|NoReplicaReady"'], ['severity="ticket"'], ["job"]),
            _inhibit(
                ['alertname="CertificateExpiresWithinADay"'],
                ['alertname="CertificateExpiresSoon"'],
                ["job", "certificate"],
            ),
            _inhibit(['alertname="IssuerKeysNearTheirLimit"'], ['alertname="IssuerKeysAge"'], ["job", "issuer"]),
            _inhibit(['alertname="WorkersCrashLoop"'], ['alertname="WorkersRestart"'], ["job"]),
            _inhibit(
                ['alertname=~"ErrorBudgetBurnsFast|ErrorBudgetHalfGoneInAnHour"'],
                ['alertname="ErrorBudgetBurnsSlowly"'],
                ["job", "objective"],
            ),
            _inhibit(
                ['alertname="ErrorBudgetHalfGoneInAnHour"'],
                ['alertname="ErrorBudgetBurnsFast"'],
                ["job", "objective"],
            ),
            # a roll-out restarts processes and cuts streams: no tickets for that; pages come all the same
            _inhibit(
                [f'alertname="{DEPLOY_WINDOW}"'],
                ['alertname=~"WorkersRestart|StreamsEndedByAuth|EventLoopLags|ErrorBudgetBurnsSlowly"'],
                ["job"],
            ),
        ],
        "receivers": [
            {"name": "nobody"},
            *({"name": name, "webhook_configs": [_webhook(each)]} for name, each in receivers.items()),
        ],
    }


def _webhook(receiver: Receiver) -> dict[str, Any]:
    webhook: dict[str, Any] = {"url": receiver.webhook, "send_resolved": True}
    if receiver.credentials_file:
        webhook["http_config"] = {"authorization": {"credentials_file": receiver.credentials_file}}
    return webhook


def _inhibit(source: list[str], target: list[str], equal: list[str]) -> dict[str, Any]:
    return {"source_matchers": source, "target_matchers": target, "equal": equal}
