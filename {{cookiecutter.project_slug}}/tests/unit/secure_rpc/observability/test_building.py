"""What is built from the promises is always the same, says what they say, and is refused where they are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from secure_rpc.configuration import ConfigurationError
from secure_rpc.observability import building
from secure_rpc.observability.indicators import INDICATORS
from secure_rpc.observability.objectives import Objectives, Promises, load
from secure_rpc.observability.rules import names, rules
from secure_rpc.telemetry.metrics import Metrics

FILE = """
version: 1
job: orders
runbooks: https://example.org/runbooks/{alert}.md
objectives: { availability: 99.5 }
routes:
  page: { name: pager, webhook: "https://pager.example.org/", credentials_file: /run/pager }
  ticket: { name: tickets, webhook: "http://tickets:8080/" }
  drill: { name: drills, webhook: "http://drills:8080/" }
"""
OF_OTHERS = {"up", "ALERTS"}  # Prometheus' own
OF_SUPERVISOR = {"secure_rpc_workers_ready", "secure_rpc_worker_restarts_total"}


def promises(tmp_path: Path, text: str = FILE) -> Promises:
    file = tmp_path / "objectives.yaml"
    file.write_text(text)
    return load(file)


def test_it_is_the_same_each_time_and_what_was_changed_is_found(tmp_path: Path) -> None:
    promised, folder = promises(tmp_path), tmp_path / "built"
    assert len(building.write(promised, folder)) == 7
    assert building.write(promised, folder) == []
    assert building.stale(promised, folder) == []
    rules_file = folder / "rules.yaml"
    rules_file.write_text(rules_file.read_text().replace("2m", "3m"))
    (folder / "dashboards" / "debug.json").unlink()
    assert building.stale(promised, folder) == [rules_file, folder / "dashboards" / "debug.json"]
    assert building.write(promised, folder) == [rules_file, folder / "dashboards" / "debug.json"]


def test_each_objective_has_its_indicator() -> None:
    assert {each.name for each in INDICATORS} == set(Objectives.model_fields)


def test_a_threshold_is_the_one_that_was_promised(tmp_path: Path) -> None:
    def fast(promised: Promises) -> str:
        [found] = [
            rule["expr"]
            for group in rules(promised)["groups"]
            for rule in group["rules"]
            if rule.get("alert") == "ErrorBudgetBurnsFast" and rule["labels"]["objective"] == "availability"
        ]
        return str(found)

    assert "> 0.072" in fast(promises(tmp_path))  # 14.4 times half a percent
    assert "> 0.0144" in fast(promises(tmp_path, FILE.replace("99.5", "99.9")))


def test_each_alert_has_a_runbook_of_its_own_name(tmp_path: Path) -> None:
    promised = promises(tmp_path)
    found = {
        rule["annotations"]["runbook_url"]
        for group in rules(promised)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert found == {f"https://example.org/runbooks/{name}.md" for name in names(promised)}


def test_all_asks_for_metrics_that_there_are(tmp_path: Path) -> None:
    exposed = {
        name
        for family in Metrics().registry.collect()
        for name in (family.name, *(f"{family.name}_{end}" for end in ("total", "count", "bucket", "sum")))
    }
    recorded = {
        rule["record"] for group in rules(promises(tmp_path))["groups"] for rule in group["rules"] if "record" in rule
    }
    asked: set[str] = set()
    for path, content in building.built(promises(tmp_path)).items():
        parsed: Any = json.loads(content) if path.suffix == ".json" else yaml.safe_load(content)
        for expression in expressions(parsed):
            asked |= set(re.findall(r"\b(?:[a-z_]+:)?(?:secure_rpc|grpc|process)_\w+(?::\w+)?(?=\{)", expression))
    assert asked - exposed - recorded - OF_OTHERS - OF_SUPERVISOR == set()
    assert len(asked) > 30


def expressions(parsed: Any) -> list[str]:
    if isinstance(parsed, dict):
        own = [parsed["expr"]] if isinstance(parsed.get("expr"), str) else []
        return own + [found for inner in parsed.values() for found in expressions(inner)]
    if isinstance(parsed, list):
        return [found for inner in parsed for found in expressions(inner)]
    return []


def test_a_token_for_a_webhook_is_read_from_its_file(tmp_path: Path) -> None:
    built = building.built(promises(tmp_path))
    receivers = yaml.safe_load(built[Path(building.ROUTING)])["receivers"]
    [pager] = [each for each in receivers if each["name"] == "pager"]
    [webhook] = pager["webhook_configs"]
    assert webhook["http_config"] == {"authorization": {"credentials_file": "/run/pager"}}


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        ("{alert}.md", "alert.md", "write an https URL with {alert} where the alert's name goes"),
        ("https://example.org/runbooks", "http://example.org/runbooks", "write an https URL"),
        ("job: orders", "job: 'or\"ders'", "quotes, braces and backslashes cannot be in it"),
        ("99.5", "100", "less than 100"),
        ("availability", "avialability", 'did you mean "availability"'),
        (
            "https://pager.example.org/",
            "https://me:secret@pager.example.org/",
            "a secret does not belong into this file",
        ),
        ("http://drills:8080/", "drills", "write the URL that is told"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(tmp_path: Path, wrong: str, right: str, told: str) -> None:
    assert wrong in FILE
    with pytest.raises(ConfigurationError) as caught:
        promises(tmp_path, FILE.replace(wrong, right))
    assert told in str(caught.value)
    assert "objectives.yaml" in str(caught.value)
