"""A token is explained check by check, is never printed, and can do nothing to the terminal it is looked at on."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from secure_rpc.cli.main import build
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.platform import Application

ISSUER = TokenIssuer("https://issuer.example.org", "orders")
ALICE = Caller(subject="alice", tenants=("acme",), groups=("admins",))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return settings in a folder of their own."""
    ISSUER.save(tmp_path / "key", tmp_path / "jwks.json")
    file = tmp_path / "settings.yaml"
    data = {
        "service": {"name": "orders"},
        "tls": {"certificate_file": "a", "key_file": "b", "client_ca_file": "c"},
        "authentication": {
            "trust_domain": "example.org",
            "issuers": [
                {"issuer": ISSUER.issuer, "jwks_file": str(tmp_path / "jwks.json"), "audiences": [ISSUER.audience]}
            ],
        },
        "authorization": {"policy_file": "policy.yaml"},
        "audit": {"file": "audit.log"},
    }
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


def inspected(application: Application, config: Path, token: str) -> tuple[int, str]:
    """Return exit code and text; neither may show the token, nor send anything to a terminal but text."""
    commands = build(application.build_chain.__module__)
    found = CliRunner().invoke(commands, ["token", "inspect", "--config", str(config)], input=token + "\n")
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exc_info
    shown = found.stdout + found.stderr
    assert all(character.isprintable() or character == "\n" for character in shown)
    for part in (part for part in token.split(".") if len(part) > 8):
        assert part not in shown
    return found.exit_code, shown


def verdict(shown: str) -> str:
    return " ".join(shown.partition("would be ")[2].split())


def test_the_command_reads_the_token_from_standard_input(application: Application, config: Path) -> None:
    package = application.build_chain.__module__.rpartition(".")[0]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SECURE_RPC_")}
    for prefix, token, code in (("", ISSUER.token(ALICE), 0), ("Bearer ", ISSUER.token(ALICE, exp=1), 1)):
        found = subprocess.run(
            [sys.executable, "-m", package, "token", "inspect", "--config", str(config)],
            input=f"{prefix}{token}\n",
            env={**clean, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (found.returncode, found.stderr) == (code, "")
        assert token.rpartition(".")[2] not in found.stdout
        assert ("would be refused: TOKEN_EXPIRED" in found.stdout) == bool(code)


def test_a_sound_token_would_be_accepted_and_says_whose_it_is(application: Application, config: Path) -> None:
    token = ISSUER.token(ALICE, roles=["auditor"], cnf={"x5t#S256": "abc"})
    code, shown = inspected(application, config, token)
    assert code == 0
    assert verdict(shown) == (
        "accepted: alice of https://issuer.example.org, tenants acme, groups admins, roles auditor, "
        "bound to the certificate abc"
    )
    assert " no " not in shown


def b64(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("claims", "check", "reason"),
    [
        ({"exp": 1}, "exp", "TOKEN_EXPIRED"),
        ({"exp": None}, "exp", "TOKEN_CLAIM_MISSING"),
        ({"exp": "soon"}, "exp", "TOKEN_INVALID"),
        ({"exp": 10**400}, "", "TOKEN_MALFORMED"),
        ({"nbf": 2**40}, "nbf", "TOKEN_NOT_YET_VALID"),
        ({"iss": "https://evil.example.org"}, "iss", "TOKEN_ISSUER_UNKNOWN"),
        ({"iss": None}, "iss", "TOKEN_ISSUER_UNKNOWN"),
        ({"aud": "others"}, "aud", "TOKEN_AUDIENCE_WRONG"),
        ({"aud": 5}, "aud", "TOKEN_AUDIENCE_WRONG"),
        ({"iat": None}, "iat", "TOKEN_CLAIM_MISSING"),
        ({"sub": None}, "", "TOKEN_CLAIM_MISSING"),
        ({"filler": "x" * 9000}, "size", "TOKEN_TOO_LARGE"),
    ],
)
def test_what_is_wrong_with_a_token_is_marked(
    application: Application, config: Path, claims: dict[str, Any], check: str, reason: str
) -> None:
    code, shown = inspected(application, config, ISSUER.token(ALICE, **claims))
    assert (code, verdict(shown)) == (1, f"refused: {reason}")
    marked = [line.split()[3] for line in shown.splitlines() if line.startswith(("│ no", "| no"))]
    assert check in marked if check else not marked


@pytest.mark.parametrize(
    ("header", "check", "reason"),
    [
        ({"typ": "JWT"}, "typ", "TOKEN_TYPE_WRONG"),
        ({"typ": ["at+jwt"]}, "typ", "TOKEN_TYPE_WRONG"),
        ({"alg": "none"}, "alg", "TOKEN_ALGORITHM_REFUSED"),
        ({"alg": ["ES256"]}, "alg", "TOKEN_ALGORITHM_REFUSED"),
        ({"kid": "other"}, "", "TOKEN_KEY_UNKNOWN"),
        ({"kid": 5}, "form", "TOKEN_MALFORMED"),
    ],
)
def test_what_is_wrong_with_a_header_is_marked(
    application: Application, config: Path, header: dict[str, Any], check: str, reason: str
) -> None:
    _, claims, signature = ISSUER.token(ALICE).split(".")
    usual = {"alg": "ES256", "typ": "at+jwt", "kid": ISSUER.key_id}
    code, shown = inspected(application, config, f"{b64({**usual, **header})}.{claims}.{signature}")
    assert (code, verdict(shown)) == (1, f"refused: {reason}")
    assert (f"│ no │ {check}" in " ".join(shown.split())) or not check


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "é", "a.b.c.d"])
def test_what_is_no_token_is_told(application: Application, config: Path, token: str) -> None:
    code, shown = inspected(application, config, token)
    assert (code, verdict(shown)) == (1, "refused: TOKEN_MALFORMED")


HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "[red]x[/red]",
    "[/x]",
    "\\[/x]",
    "\\",
    "\\\\[bold]",
    "[link=https://evil.example.org]x",
    "a\nb\rc",
    "\u202etxet",
    "\x9b2J",
    "x" * 500,
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_token_does_nothing_to_the_terminal(application: Application, config: Path, text: str) -> None:
    """Accepted or not: names are chosen by users, whoever signs them."""
    token = ISSUER.token(Caller(subject=text), tenant=[text], scope=text, client_id=text)
    code, shown = inspected(application, config, token)
    assert code == 0
    assert verdict(shown).startswith("accepted: ")
    now = int(time.time())
    claims = {"iss": text, "aud": [text], "sub": text, "exp": now, "nbf": text, "iat": text}
    forged = f"{b64({'alg': text, 'typ': text, 'kid': text})}.{b64(claims)}.{b64(text)}"
    code, shown = inspected(application, config, forged)
    assert (code, verdict(shown)) == (1, "refused: TOKEN_ISSUER_UNKNOWN")


def test_the_public_key_of_the_exchange_is_printed_and_no_more(config: Path, application: Application) -> None:
    module = application.build_chain.__module__
    told = CliRunner().invoke(build(module), ["token", "jwks", "--config", str(config)])
    assert told.exit_code != 0  # there is no exchange
    data = json.loads(config.read_text())
    key_file = config.parent / "key"  # the development issuer's will do
    data["authentication"]["exchange"] = {"issuer": "internal", "key_file": str(key_file), "audiences": ["orders"]}
    config.write_text(json.dumps(data))
    told = CliRunner().invoke(build(module), ["token", "jwks", "--config", str(config)])
    [key] = json.loads(told.stdout)["keys"]
    assert (told.exit_code, key["x"]) == (0, ISSUER.jwks()["keys"][0]["x"])
    assert "d" not in key


def test_what_was_signed_before_the_issuer_got_a_new_key_is_refused(application: Application, config: Path) -> None:
    (config.parent / "issuer.key").write_bytes((config.parent / "key").read_bytes())
    commands, old = build(application.build_chain.__module__), ISSUER.token(ALICE)
    assert inspected(application, config, old)[0] == 0
    options = ["--config", str(config), "--folder", str(config.parent)]
    rotated = CliRunner().invoke(commands, ["token", "rotate-key", *options])
    assert rotated.output.startswith(f"{ISSUER.issuer} signs by the key "), rotated.output
    code, shown = inspected(application, config, old)
    assert (code, ISSUER.key_id in rotated.output) == (1, False), shown


@pytest.mark.parametrize(
    ("revoked", "told"),
    [
        ({"subject": "alice"}, "refused: SUBJECT_REVOKED"),
        ({"token_id": "one"}, "refused: TOKEN_REVOKED"),
        ({"subject": "bob"}, "accepted: alice"),
        ({"subject": "alice", "until": "2000-01-01"}, "accepted: alice"),
    ],
)
def test_what_the_deny_list_revokes_would_be_refused(
    application: Application, config: Path, revoked: dict[str, str], told: str
) -> None:
    listed = config.parent / "deny.yaml"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"revocation": {"deny_list_file": str(listed)}}))
    token = ISSUER.token(ALICE, jti="one")
    assert verdict(inspected(application, config, token)[1]).startswith("accepted: alice")
    listed.write_text(json.dumps({"version": 1, "revoked": [{"issuer": ISSUER.issuer, **revoked}]}))
    code, shown = inspected(application, config, token)
    assert (code, verdict(shown).startswith(told)) == (int("refused" in told), True), shown


def test_a_list_that_all_replicas_share_is_said_not_to_be_looked_at(application: Application, config: Path) -> None:
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"state": {"embedded": True, "folder": str(config.parent / "state")}}))
    code, shown = inspected(application, config, ISSUER.token(ALICE))
    assert (code, "all replicas share, which is not looked at here" in shown) == (0, True)
