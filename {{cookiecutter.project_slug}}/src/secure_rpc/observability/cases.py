"""The cases by which promtool tries the alerts: silence just before they are due, and then all that they say."""

from __future__ import annotations

import re
from typing import Any

from secure_rpc.observability.alerts import Alert, alerts
from secure_rpc.observability.edge_alerts import edge_alerts
from secure_rpc.observability.indicators import recorded, written
from secure_rpc.observability.objectives import Promises
from secure_rpc.observability.rules import DEPLOY_WINDOW, BudgetAlert, budget_alerts, rules

STEP_SECONDS = 30  # between two evaluations, and two values of a series
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def cases(promises: Promises, rule_file: str) -> dict[str, Any]:
    """Return promtool's file of tests.

    Args:
        promises: of the service.
        rule_file: where the rules stand, from the file of tests.
    """
    return {
        "rule_files": [rule_file],
        "evaluation_interval": f"{STEP_SECONDS}s",
        "tests": [
            *(_case(each, promises, promises) for each in alerts(promises)),
            *(_case(each, promises, promises.at_the_edge()) for each in edge_alerts(promises)),
            *(_budget_case(each, promises) for each in budget_alerts(promises)),
            *_windows(promises),
        ],
    }


def seconds(duration: str) -> int:
    """Return the seconds of a duration such as "1h30m"."""
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration))


def _case(alert: Alert, promises: Promises, told_of: Promises) -> dict[str, Any]:
    """Return the case of an alert.

    Args:
        alert: which.
        promises: of the service.
        told_of: the same, or that of the edge: whose job the alert is about.
    """
    due = seconds(alert.fires_after) + seconds(alert.for_)
    labels = {**dict(alert.labels), "job": told_of.job, "severity": alert.severity}
    [rule] = [rule for group in rules(promises)["groups"] for rule in group["rules"] if rule.get("alert") == alert.name]
    annotations = {**rule["annotations"], "summary": alert.told.replace("JOB_NAME", told_of.job)}
    silence = [{"eval_time": f"{due - STEP_SECONDS}s", "alertname": alert.name, "exp_alerts": []}] if due else []
    return {
        "name": alert.name,
        "interval": f"{STEP_SECONDS}s",
        "input_series": [{"series": written(series, "", told_of), "values": values} for series, values in alert.series],
        "alert_rule_test": [
            *silence,
            {
                "eval_time": f"{due}s",
                "alertname": alert.name,
                "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
            },
        ],
    }


def _budget_case(alert: BudgetAlert, promises: Promises) -> dict[str, Any]:
    long, short, bound = alert.pairs[0]
    share = round(bound + (1 - bound) / 10, 6)
    extra = dict.fromkeys(alert.indicator.by, "x")
    selector = "{" + ",".join(f'{name}="{value}"' for name, value in {"job": promises.job, **extra}.items()) + "}"
    labels = {"job": promises.job, **extra, "severity": alert.severity, "objective": alert.indicator.name}
    described = f"At this pace the error budget of {promises.window_days} days is gone {alert.pace}."
    annotations = {
        "summary": alert.summary(f"{share * 100:.4g}%"),
        "description": described,
        "runbook_url": promises.runbook_of(alert.name),
    }
    due = seconds(alert.for_)
    fires = {"exp_labels": labels, "exp_annotations": annotations}
    moments: list[tuple[int, list[Any]]] = [(due - STEP_SECONDS, [])] if due else []
    moments.append((due, [fires]))
    # the long window alone: the cause is over
    moments.append((due + 10 * STEP_SECONDS, []))
    so_long = due // STEP_SECONDS + 1
    return {
        "name": f"{alert.name} {alert.indicator.name}",
        "interval": f"{STEP_SECONDS}s",
        "input_series": [
            {"series": recorded(alert.indicator, long) + selector, "values": f"{share}x60"},
            {"series": recorded(alert.indicator, short) + selector, "values": f"{share}x{so_long} 0x60"},
        ],
        "alert_rule_test": [
            {"eval_time": f"{moment}s", "alertname": alert.name, "exp_alerts": expected} for moment, expected in moments
        ],
    }


def _windows(promises: Promises) -> list[dict[str, Any]]:
    """Return the cases of a roll-out: two versions, or one in two deployments, and for ten minutes after that."""
    [rule] = [
        rule for group in rules(promises)["groups"] for rule in group["rules"] if rule.get("alert") == DEPLOY_WINDOW
    ]
    annotations = {**rule["annotations"], "summary": f"{promises.job} is being rolled out"}
    fires = {"exp_labels": {"job": promises.job, "severity": "none"}, "exp_annotations": annotations}
    expected: tuple[tuple[str, list[Any]], ...] = (("4m30s", []), ("5m", [fires]), ("15m", [fires]), ("17m", []))
    told_apart = {
        f"{DEPLOY_WINDOW} of another version": ('version="1"', 'version="2"'),
        f"{DEPLOY_WINDOW} of the same version": ('version="1",deployment_id="a"', 'version="1",deployment_id="b"'),
    }
    return [
        {
            "name": name,
            "interval": f"{STEP_SECONDS}s",
            "input_series": [
                {"series": written("secure_rpc_build_info{" + f"JOB,{labels}" + "}", "", promises), "values": values}
                for labels, values in ((before, "1x11 stale"), (after, "_x10 1x60"))
            ],
            "alert_rule_test": [
                {"eval_time": moment, "alertname": DEPLOY_WINDOW, "exp_alerts": alerts_then}
                for moment, alerts_then in expected
            ],
        }
        for name, (before, after) in told_apart.items()
    ]
