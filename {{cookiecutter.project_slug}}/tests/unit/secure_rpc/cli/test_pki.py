"""What the commands about certificates say, and what their exit code tells a machine."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from secure_rpc.cli.certificates import Used, next_step_of, show_status
from secure_rpc.cli.people import EX_CONFIG
from secure_rpc.cli.pki import commands
from secure_rpc.dev.authority import Authority, Request, expired, server_request
from secure_rpc.dev.setup import DevelopmentFiles
from secure_rpc.identity.deny_list import FOR_EVER, Entry, read
from secure_rpc.settings import load

from support.stores import RealStore

ISSUER = "https://issuer.example.org"


class Machine:
    """A developer's machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder / "dev", folder / "settings.yaml"
        self.files = DevelopmentFiles(self.folder)
        dev = str(self.folder)
        data = {
            "service": {"name": "orders"},
            "tls": {
                "certificate_file": f"{dev}/server.pem",
                "key_file": f"{dev}/server.key",
                "client_ca_file": f"{dev}/ca.pem",
            },
            "authentication": {
                "trust_domain": "example.org",
                "issuers": [{"issuer": ISSUER, "jwks_file": f"{dev}/jwks.json", "audiences": ["orders"]}],
            },
            "authorization": {"policy_file": "policy.yaml"},
            "revocation": {"deny_list_file": f"{dev}/deny.yaml"},
            "audit": {"file": f"{dev}/audit.log"},
        }
        self.config.write_bytes(orjson.dumps(data))

    def run(self, *arguments: str) -> Result:
        options = ["--config", str(self.config), "--folder", str(self.folder)]
        return CliRunner().invoke(commands(), [*arguments, *options])

    @property
    def revoked(self) -> list[Entry]:
        return [each.entry() for each in read(self.folder / "deny.yaml")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    assert made.run("init").exit_code == 0
    return made


def test_every_certificate_in_use_is_shown_with_what_to_do_next(machine: Machine) -> None:
    shown = machine.run("status")
    assert shown.exit_code == 0
    for role in ("server certificate", "server chain", "client certificate", "client chain", "client CA"):
        assert f"{role}  {machine.folder}" in shown.output
    [leaf, issuing] = x509.load_pem_x509_certificates((machine.folder / "server.pem").read_bytes())
    for said in (
        "subject  CN=orders",
        "names    spiffe://example.org/service/orders, localhost, orders, 127.0.0.1, ::1",
        "issuer   CN=orders development issuing CA",
        f"serial   {leaf.serial_number:x}",
        f"serial   {issuing.serial_number:x}",
        "key      P-256",
        "89 days left",
        f"next     renew it before {leaf.not_valid_after_utc - timedelta(days=14):%Y-%m-%d %H:%M} UTC",
        "rotation of the development CA: none is under way",
        "5 certificates, 0 due or expired",
    ):
        assert said in shown.output


def test_a_rotation_can_be_followed_from_step_to_step(machine: Machine) -> None:
    assert "next: pki rotate-ca" not in machine.run("status").output
    for step, following, ca in (
        ("add", "--step switch", "new, signs nothing shown here yet: sign new certificates by it"),
        ("switch", "--step remove", "old, signs nothing shown here any more: remove the old CA after"),
    ):
        assert following in machine.run("rotate-ca", "--step", step).output
        shown = machine.run("status")
        assert shown.exit_code == 0
        assert f"rotation of the development CA: under way, next: pki rotate-ca {following}" in shown.output
        assert shown.output.count(ca) == 1
    refused = machine.run("rotate-ca", "--step", "add")
    assert refused.exit_code == EX_CONFIG
    assert machine.run("rotate-ca", "--step", "remove").exit_code == 0
    assert "none is under way" in machine.run("status").output


@pytest.mark.parametrize(
    ("lifetime", "left", "step", "good"),
    [
        (timedelta(days=90), timedelta(days=15), "renew it before", True),
        (timedelta(days=90), timedelta(days=14), "renew it now, it expires", False),
        (timedelta(hours=3), timedelta(minutes=61), "renew it before", True),
        (timedelta(hours=3), timedelta(minutes=60), "renew it now, it expires", False),
        (timedelta(hours=3), timedelta(), "expired", False),
        (timedelta(hours=3), timedelta(hours=4), "not valid before", False),
    ],
)
def test_a_certificate_is_due_in_the_last_third_of_its_life_at_most_two_weeks(
    lifetime: timedelta, left: timedelta, step: str, *, good: bool
) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    leaf = Authority.create("CA").issue(Request("a", not_before=now + left - lifetime, lifetime=lifetime))
    used = Used("server certificate", Path("a.pem"), x509.load_pem_x509_certificate(leaf.certificate_pem))
    told, fine = next_step_of(used, now)
    assert (told.startswith(step), fine) == (True, good)


def test_what_is_due_expired_or_does_not_fit_fails_the_command(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load(machine.config)
    assert not show_status(settings, machine.files, datetime.now(UTC) + timedelta(days=80))
    assert "4 due or expired" not in capsys.readouterr().out
    issuing = Authority.load(machine.files.intermediate_certificate, machine.files.intermediate_key)
    sound = machine.files.folder / "server.key"
    key = sound.read_bytes()
    issuing.issue(expired(server_request("orders", "example.org"))).write(machine.folder / "server.pem", sound)
    shown = machine.run("status")
    assert shown.exit_code == 1
    assert "next     expired" in shown.output
    assert "1 due or expired" in shown.output
    sound.write_bytes(key)
    assert "not sound: tls.key_file" in machine.run("status").output
    (machine.folder / "server.pem").unlink()
    gone = machine.run("status")
    assert (gone.exit_code, "server.pem cannot be read" in gone.output) == (1, True)


def test_each_kind_of_credential_can_be_revoked(machine: Machine) -> None:
    workload = "spiffe://example.org/client/developer"
    said = machine.run("revoke", "--spiffe-id", workload, "--reason", "stolen")
    assert said.output == f"{workload} is on {machine.folder}/deny.yaml\n"
    machine.run("revoke", "--subject", "alice")
    machine.run("revoke", "--token-id", "x", "--issuer", "https://other.example", "--until", "2040-01-01")
    machine.run("revoke", "--serial", "3F:A2")
    assert machine.revoked == [
        Entry("spiffe_id", "", workload, FOR_EVER),
        Entry("subject", ISSUER, "alice", FOR_EVER),
        Entry("token_id", "https://other.example", "x", datetime(2040, 1, 1, tzinfo=UTC).timestamp()),
        Entry("serial", "CN=orders development issuing CA", "3fa2", FOR_EVER),
    ]
    assert "was already on" in machine.run("revoke", "--subject", "alice").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say whose it is by --issuer"),
        (["--subject", "a", "--token-id", "b"], "name one of"),
        (["--spiffe-id", "spiffe://a", "--issuer", "b"], "issuer"),
        (["--serial", "xyz"], "hexadecimal digits"),
    ],
)
def test_what_would_revoke_nothing_is_refused(machine: Machine, arguments: list[str], told: str) -> None:
    said = machine.run("revoke", *arguments)
    assert said.exit_code == EX_CONFIG
    assert told in said.output or not arguments
    assert machine.revoked == []


def test_without_a_deny_list_nothing_can_be_revoked(machine: Machine) -> None:
    data = orjson.loads(machine.config.read_bytes())
    del data["revocation"]
    machine.config.write_bytes(orjson.dumps(data))
    said = machine.run("revoke", "--subject", "alice")
    assert "revocation.deny_list_file: is not set; name a file there" in said.output


def test_what_was_revoked_can_be_taken_back(machine: Machine) -> None:
    machine.run("revoke", "--subject", "alice")
    machine.run("revoke", "--subject", "bob")
    assert machine.run("unrevoke", "--subject", "alice").output == f"alice is taken from {machine.folder}/deny.yaml\n"
    assert "was not on" in machine.run("unrevoke", "--subject", "alice").output
    assert [entry.name for entry in machine.revoked] == ["bob"]


def test_everybody_of_an_issuer_is_revoked_and_that_is_said(machine: Machine) -> None:
    said = machine.run("revoke", "--subject", "*")
    assert said.output == f"everybody of {ISSUER} is on {machine.folder}/deny.yaml\n"
    assert machine.revoked == [Entry("subject", ISSUER, "*", FOR_EVER)]
    assert machine.run("unrevoke", "--subject", "*").output.startswith(f"everybody of {ISSUER} is taken from ")
    assert machine.revoked == []


def test_what_is_shared_is_revoked_and_taken_back_in_the_store(machine: Machine, tmp_path: Path) -> None:
    said = machine.run("revoke", "--subject", "alice", "--shared")
    assert (said.exit_code, "state: is not set" in said.output) == (EX_CONFIG, True)
    store = RealStore(tmp_path / "store")
    data = orjson.loads(machine.config.read_bytes()) | {"state": {"redis_url": store.url}}
    machine.config.write_bytes(orjson.dumps(data))
    said = machine.run("revoke", "--subject", "alice", "--shared")
    assert (said.exit_code, "the shared store does not answer" in said.output) == (EX_CONFIG, True)
    store.start()
    try:
        asyncio.run(store.answers())
        for command, told in (
            ("revoke", "alice is on"),
            ("revoke", "alice was already on"),
            ("unrevoke", "alice is taken from"),
            ("unrevoke", "alice was not on"),
        ):
            said = machine.run(command, "--subject", "alice", "--shared")
            assert said.output == f"{told} the list that all replicas share\n"
    finally:
        store.kill()
    assert not (machine.folder / "deny.yaml").exists() or machine.revoked == []


def test_certificates_are_renewed_and_the_authority_stays(machine: Machine) -> None:
    def certificates() -> list[list[x509.Certificate]]:
        files = (machine.folder / "server.pem", machine.folder / "ca.pem")
        return [x509.load_pem_x509_certificates(file.read_bytes()) for file in files]

    before = certificates()
    done = machine.run("renew")
    assert (done.exit_code, "new certificates of server and client" in done.output) == (0, True)
    after = certificates()
    assert (after[0][0] != before[0][0], after[0][1], after[1]) == (True, before[0][1], before[1])
    assert machine.run("status").exit_code == 0
