"""Recording rules and alerts as Prometheus reads them, and the cases by which promtool tries the alerts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from secure_rpc.observability.alerts import Alert, alerts
from secure_rpc.observability.edge_alerts import edge_alerts
from secure_rpc.observability.indicators import INDICATORS, Indicator, budget, ratio, recorded, written
from secure_rpc.observability.objectives import CLOSE, OPEN, Promises

Rule = dict[str, Any]

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
INTERVAL = "30s"
# pairs of windows and how many times as fast as allowed the budget burns, after the SRE workbook: the short window lets
# an alert end soon after its cause
FAST = (("1h", "5m", 14.4), ("6h", "30m", 6.0))
SLOW = (("1d", "2h", 3.0), ("3d", "6h", 1.0))
KINDS = (FAST, SLOW)
VALUE = re.compile(r"\[(labels\.\w+|value(?: \| \w+)?)\]")
HALF_IN_AN_HOUR = 0.5
# while two versions are alive a roll-out is under way, and what it brings about makes no tickets
DEPLOY_WINDOW = "DeployWindow"


def rules(promises: Promises) -> dict[str, Any]:
    """Return the file of rules.

    Args:
        promises: of the service.
    """
    recording = [
        {"record": recorded(each, window), "expr": ratio(each, window, promises)}
        for each in INDICATORS
        for window in WINDOWS
    ]
    budgets = [_budget_rule(each, promises) for each in budget_alerts(promises)]
    alerting = [_rule(each, promises) for each in alerts(promises)]
    at_the_edge = [_rule(each, promises.at_the_edge()) for each in edge_alerts(promises)]
    return {
        "groups": [
            {"name": f"{promises.job} indicators", "interval": INTERVAL, "rules": recording},
            {"name": f"{promises.job} budgets", "interval": INTERVAL, "rules": budgets},
            {"name": f"{promises.job} alerts", "interval": INTERVAL, "rules": [*alerting, _deploy_window(promises)]},
            {"name": f"{promises.job} edge", "interval": INTERVAL, "rules": at_the_edge},
        ]
    }


def _rule(alert: Alert, promises: Promises) -> Rule:
    return {
        "alert": alert.name,
        "expr": written(alert.expression, "", promises),
        "for": alert.for_,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": templated(alert.summary),
            "description": alert.meaning,
            "runbook_url": promises.runbook_of(alert.name),
        },
    }


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """An alert on the error budget of one indicator."""

    name: str
    severity: str
    indicator: Indicator
    pairs: tuple[tuple[str, str, float], ...]  # a long window, a short one, the share of bad in both
    for_: str
    allowed: float
    pace: str

    def summary(self, value: str) -> str:
        """Return what it says of the share that is bad."""
        return f"{self.indicator.title}: {value} of all, {self.allowed:.4%} may be"


def budget_alerts(promises: Promises) -> list[BudgetAlert]:
    """Return the alerts on all error budgets.

    Args:
        promises: of the service.
    """
    found = []
    half = HALF_IN_AN_HOUR * promises.window_days * 24
    for each in INDICATORS:
        allowed = budget(each, promises)
        fast, slow = (tuple((long, short, _bound(times, allowed)) for long, short, times in kind) for kind in KINDS)
        gone = (("1h", "5m", _bound(half, allowed)),)
        found += [
            BudgetAlert("ErrorBudgetBurnsFast", "page", each, fast, "2m", allowed, "within days"),
            BudgetAlert("ErrorBudgetBurnsSlowly", "ticket", each, slow, "15m", allowed, "before its time is over"),
        ]
        if half * allowed < 1:  # else more than everything would have to be bad
            found.append(BudgetAlert("ErrorBudgetHalfGoneInAnHour", "page", each, gone, "0m", allowed, "in two hours"))
    return found


def _bound(times: float, allowed: float) -> float:
    return round(min(times * allowed, 0.99), 9)


def _budget_rule(alert: BudgetAlert, promises: Promises) -> Rule:
    terms = []
    for long, short, bound in alert.pairs:
        series = [f"{recorded(alert.indicator, window)}{_of(promises)} > {bound:.9g}" for window in (long, short)]
        terms.append(f"({' and '.join(series)})")
    return {
        "alert": alert.name,
        "expr": "\nor\n".join(terms),
        "for": alert.for_,
        "labels": {"severity": alert.severity, "objective": alert.indicator.name},
        "annotations": {
            "summary": templated(alert.summary("[value | humanizePercentage]")),
            "description": f"At this pace the error budget of {promises.window_days} days is gone {alert.pace}.",
            "runbook_url": promises.runbook_of(alert.name),
        },
    }


def _of(promises: Promises) -> str:
    return written("{JOB}", "", promises)


def _deploy_window(promises: Promises) -> Rule:
    seen = f"last_over_time(secure_rpc_build_info{_of(promises)}[10m])"
    return {
        "alert": DEPLOY_WINDOW,
        "expr": f"count by (job) (count by (job, version, deployment_id) ({seen})) > 1",
        "for": "0m",
        "labels": {"severity": "none"},
        "annotations": {
            "summary": templated("[labels.job] is being rolled out"),
            "description": "Two versions or deployments live, or did within ten minutes; tickets wait for its end.",
            "runbook_url": promises.runbook_of(DEPLOY_WINDOW),
        },
    }


def templated(text: str) -> str:
    """Return a text in which Prometheus puts the values of an alert where `[value]` and `[labels.name]` stand."""
    return VALUE.sub(lambda found: f"{OPEN} ${found[1]} {CLOSE}", text)


def names(promises: Promises) -> list[str]:
    """Return the names of all alerts, each once."""
    found = [rule["alert"] for group in rules(promises)["groups"] for rule in group["rules"] if "alert" in rule]
    return sorted(set(found))
