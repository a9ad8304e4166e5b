"""A copy of the service's repository, hardened so that no check fails, in which weaknesses are planted."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from secure_rpc import wall
from secure_rpc.call import Method
from secure_rpc.cli import doctor
from secure_rpc.cli.ground import Ground
from secure_rpc.configuration import read_yaml
from secure_rpc.dev.authority import Authority, server_request
from secure_rpc.doctor.checks import Status
from secure_rpc.doctor.facts import Facts
from secure_rpc.doctor.grading import Report, examine
from secure_rpc.known import REFLECTION_METHOD
from secure_rpc.observability import building
from secure_rpc.observability.objectives import FILE, FOLDER, load
from secure_rpc.observability.rules import names
from secure_rpc.platform import Application
from secure_rpc.settings import Settings
from secure_rpc.testing.service import merged

PARTS = ("config", "policy", "deploy", "observability", "requirements", *wall.OWNED)
ISSUER = "https://issuer.example.org"
NAME, DOMAIN = "orders", "example.org"
DIGEST = "sha256:" + "0" * 64
HEALTH = {f"/grpc.health.v1.Health/{name}": {"public": True} for name in ("Check", "List", "Watch")}
HARDENED: dict[str, Any] = {
    "service": {"name": NAME, "environment": "production"},
    "listen": {"address": "0.0.0.0:50051", "admin_address": "0.0.0.0:9464", "probe_address": "0.0.0.0:8080"},
    "admin": {"tls": True, "allowed_workloads": [f"spiffe://{DOMAIN}/ns/monitoring/sa/prometheus"]},
    "tls": {
        "certificate_file": "certificates/server.pem",
        "key_file": "certificates/server.key",
        "client_ca_file": "certificates/ca.pem",
    },
    "authentication": {
        "trust_domain": DOMAIN,
        "credentials": ["both", "api_key"],
        "api_keys_file": "api_keys.yaml",
        "issuers": [
            {
                "issuer": ISSUER,
                "jwks_url": f"{ISSUER}/jwks",
                "audiences": [NAME],
                "introspection": {"url": f"{ISSUER}/introspect", "cache_seconds": 30},
                "certificate_bound": True,
                "fetch": {"ca_file": "certificates/issuer.pem"},
            }
        ],
    },
    "authorization": {"policy_file": "policy/policy.yaml", "contracts": HEALTH},
    "revocation": {"deny_list_file": "/etc/orders/deny.yaml", "crl_files": ["/etc/orders/ca.crl"]},
    "limits": {"stream_messages_per_second": 100},
    "quotas": {"default": {"calls": 100}, "bulk": {"calls": 10}},
    "audit": {
        "checkpoint_key_file": "/var/run/secrets/audit/key.pem",
        "retain_seconds": 7_776_000,
        "durability": "durable",
        "recipient_file": "/etc/orders/recipient.pem",
    },
    "tracing": {"otlp_endpoint": "https://collector.example.org:4318"},
}


@dataclass(slots=True)
class Posture:
    """The copy, which is the working directory of the test.

    Args:
        application: of the service.
        folder: the copy.
    """

    application: Application
    folder: Path
    change_facts: Callable[[Facts], Facts] = lambda facts: facts

    def read(self, name: str) -> Any:
        """Return what a YAML file holds."""
        return read_yaml(self.folder / name).data

    def write(self, name: str, content: Any) -> None:
        """Write a file, as YAML where it is no text; a file that is linked stays as it was elsewhere."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")

    def set(self, key: str, value: Any) -> None:
        """Set one setting, by its key with dots; a number goes into a list."""
        data = self.read("config/prod.yaml")
        *above, last = key.split(".")
        section: Any = data
        for part in above:
            section = section[int(part)] if isinstance(section, list) else section.setdefault(part, {})
        section[last] = value
        self.write("config/prod.yaml", data)

    def swap(self, name: str, old: str, new: str) -> None:
        """Replace a text of a file, once; skip the test where a service has made the file its own."""
        text = (self.folder / name).read_text(encoding="utf-8")
        if old not in text:
            pytest.skip(f"{name} is this service's own, and has no {old!r} to replace")
        self.write(name, text.replace(old, new, 1))

    def policy(self, change: Callable[[Any], None]) -> None:
        """Change the policy."""
        data = self.read("policy/policy.yaml")
        change(data)
        self.write("policy/policy.yaml", data)

    def methods(self, change: Callable[[Sequence[Method]], Sequence[Method]]) -> None:
        """Change the methods that are looked at."""
        before = self.change_facts
        self.change_facts = lambda facts: replace(before(facts), methods=change(before(facts).methods))

    def report(self) -> Report:
        """Return what the doctor finds."""
        facts, looked_at = doctor.gather(Path("config/prod.yaml"), self.application.build_chain.__module__)
        return examine(self.change_facts(facts), looked_at)

    def harden(self) -> None:
        """Write all that it takes for every check to pass."""
        service = read_yaml(self.folder / "config/prod.yaml").data.get("audit", {}).get("file", "/var/log/x/audit.log")
        quotas = {name: {"calls": 100} for name in self.read("config/dev.yaml").get("quotas", {})}
        settings = merged(HARDENED, {"audit": {"file": service}, "quotas": quotas})
        self.write("config/prod.yaml", settings)
        self._certificates()
        ends = datetime.now(UTC) + timedelta(days=30)
        key = {"sha256": "0" * 64, "subject": "batch", "expires": ends.isoformat()}
        self.write("api_keys.yaml", {"keys": {"batch1": key}})
        self._policy()
        self.methods(lambda methods: [_protected(method) for method in methods])
        self.swap("deploy/base/deployment.yaml", "emptyDir:\n            sizeLimit: 2Gi", _CLAIM)
        overlay = self.read("deploy/overlays/prod/kustomization.yaml")
        overlay["images"] = [{"name": each["name"], "newName": "r/x", "digest": DIGEST} for each in overlay["images"]]
        self.write("deploy/overlays/prod/kustomization.yaml", overlay)
        self._alerts()
        self.template("0.9.9", "1.2.2", "1.2.3")
        digests = wall.digests(self.folder)
        self.write(wall.NOTE.as_posix(), "".join(f"{digest}  {path}\n" for path, digest in digests.items()))

    def template(self, *releases: str, of: str = "1.2.3") -> None:
        """Make a template that has had these releases, and say that this is one of it."""
        folder = self.folder / f"template-{'-'.join(releases)}.git"
        someone = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        subprocess.run(["git", "init", "-q", "--bare", folder], check=True)  # noqa: S607  # that on PATH

        def git(*arguments: str) -> str:
            command = ["git", "-C", str(folder), *arguments]
            environment = {**os.environ, **someone}
            done = subprocess.run(command, check=True, env=environment, input="", text=True, stdout=subprocess.PIPE)
            return done.stdout.strip()

        commit = git("commit-tree", "-m", "released", git("hash-object", "-t", "tree", "-w", "--stdin"))
        for release in releases:
            git("update-ref", f"refs/tags/v{release}", commit)
        record = {"template": str(folder), "commit": commit, "context": {"cookiecutter": {"_template_version": of}}}
        self.write(".cruft.json", orjson.dumps(record).decode())

    def _certificates(self) -> None:
        folder = self.folder / "certificates"
        folder.mkdir()
        authority = Authority.create("the CA of a test")
        (folder / "ca.pem").write_bytes(authority.certificate_pem)
        authority.issue(server_request(NAME, DOMAIN)).write(folder / "server.pem", folder / "server.key")

    def _policy(self) -> None:
        settings = Settings(**self.read("config/prod.yaml"))
        ground = Ground.of(self.application, settings)
        guarded = [method for method in ground.methods if method.contract.is_guarded]
        wanted = {name for each in guarded for name in each.contract.permissions + each.contract.any_permissions}
        wanted.add(settings.reflection.permission)
        who = {"issuer": ISSUER, "group": "callers"}
        binding = {"role": "caller", "principals": [who], "tenants": "all", "expires": "2999-01-01"}
        roles = {"caller": {"permissions": sorted(wanted)}}
        self.write("policy/policy.yaml", {"version": 1, "roles": roles, "bindings": [binding]})
        paths = [method.path for method in guarded] + [REFLECTION_METHOD]
        somebody = {"issuer": ISSUER, "subject": "alice", "tenants": ["acme"]}
        # a service without an rpc has no request that could name a tenant
        tenants = {"tenants": "acme"} if any(method.contract.tenant_field for method in guarded) else {}
        table = {
            "version": 1,
            "now": "2001-01-01T12:00:00Z",
            "principals": {"alice": {**somebody, "groups": ["callers"]}, "mallory": {**somebody, "subject": "mallory"}},
            "cases": [
                {"principals": who, "methods": paths, "expect": expect, **tenants}
                for who, expect in (("alice", "allow"), ("mallory", "deny"))
            ],
        }
        self.write("policy/policy_test.yaml", table)

    def _alerts(self) -> None:
        promises = self.read(f"{FOLDER}/{FILE}")
        self.write(f"{FOLDER}/{FILE}", {**promises, "job": NAME})
        made = load(self.folder / FOLDER / FILE)
        for path, content in building.built(made).items():
            self.write(f"{FOLDER}/{path}", content)
        for alert in names(made):
            self.write(f"runbooks/{alert}.md", "What to do.\n")


_CLAIM = "persistentVolumeClaim:\n            claimName: audit"


def copied(application: Application, target: Path) -> Posture:
    """Copy what the doctor looks at of the service's repository."""
    for part in PARTS:
        if Path(part).is_dir():
            shutil.copytree(part, target / part, ignore=shutil.ignore_patterns("*.pyc", "*_pb2*", "__pycache__"))
    shutil.copy("pyproject.toml", target)
    return Posture(application, target)


def linked(posture: Posture, target: Path) -> Posture:
    """Return another copy, which takes no time: its files are links until they are written."""
    shutil.copytree(posture.folder, target, copy_function=os.link)
    return Posture(posture.application, target, posture.change_facts)


def of_status(report: Report, status: Status) -> set[str]:
    """Return the ids of the checks that ended so."""
    return {result.check.id for result in report.results if result.status is status}


def _protected(method: Method) -> Method:
    return replace(method, contract=replace(method.contract, replay_protected=True))
