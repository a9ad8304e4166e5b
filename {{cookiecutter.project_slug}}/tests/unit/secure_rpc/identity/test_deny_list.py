"""What is revoked by hand is read with care: a line that would revoke nothing is an error, not an entry."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.deny_list import FOR_EVER, DenyList, Entry, Revocation, read, revoke, write

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
ISSUER = "https://issuer.example.org"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deny.yaml"


def listed(file: Path, text: str) -> list[Entry]:
    file.write_text("version: 1\nrevoked:\n" + text)
    return [each.entry() for each in read(file)]


def test_each_kind_of_credential_can_be_revoked(file: Path) -> None:
    text = f"""
- {{ spiffe_id: spiffe://example.org/client/a, reason: stolen }}
- {{ subject: alice, issuer: {ISSUER}, until: 2026-06-02 }}
- {{ token_id: x, issuer: {ISSUER}, until: 2026-06-01T12:00:00+02:00 }}
- {{ serial: "0x00:3F:A2", issuer: "CN=our CA, O=us" }}
"""
    assert listed(file, text) == [
        Entry("spiffe_id", "", "spiffe://example.org/client/a", FOR_EVER),
        Entry("subject", ISSUER, "alice", NOW + 86_400),
        Entry("token_id", ISSUER, "x", NOW + 36_000),
        Entry("serial", "CN=our CA,O=us", "3fa2", FOR_EVER),
    ]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{ subject: alice }", '"issuer" goes with "subject", "token_id" and "serial"'),
        ("{ spiffe_id: spiffe://example.org/a, issuer: CN=a }", '"issuer" goes with'),
        ("{ reason: none }", 'name one of "spiffe_id", "subject", "token_id" and "serial"'),
        (f"{{ subject: a, token_id: b, issuer: {ISSUER} }}", "name one of"),
        ("{ spiffe_id: spiffe://Example.org/a }", "spiffe_id"),
        ("{ serial: 123, issuer: CN=a }", "put it in quotes"),
        ("{ serial: 12:34:56, issuer: CN=a }", "put it in quotes"),
        ('{ serial: "12 34", issuer: CN=a }', "a serial is hexadecimal digits"),
        ('{ serial: "00", issuer: CN=a }', "a serial is hexadecimal digits"),
        ('{ serial: "12", issuer: our CA }', 'a name such as "CN=our CA,O=us"'),
        (f"{{ subject: alice, issuer: {ISSUER}, until: 2026-06-01T12:00:00 }}", "a time needs its zone"),
        (f"{{ subjcet: alice, issuer: {ISSUER} }}", 'did you mean "subject"?'),
    ],
)
def test_an_entry_that_would_revoke_nothing_is_told_with_its_line(file: Path, entry: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        listed(file, f"  - {{ subject: bob, issuer: {ISSUER} }}\n  - {entry}\n")
    [problem] = caught.value.problems
    assert problem.startswith(f"{file}:4: ")
    assert told in problem


def test_an_entry_counts_until_its_time_has_come() -> None:
    deny_list = DenyList([Entry("subject", ISSUER, "a", NOW), Entry("subject", ISSUER, "b", FOR_EVER)])
    assert [deny_list.has("subject", ISSUER, "a", NOW + seconds) for seconds in (-1, 0, 1)] == [True, False, False]
    assert deny_list.has("subject", ISSUER, "b", NOW)
    assert not deny_list.has("subject", "https://other.example", "b", NOW)
    assert not deny_list.has("token_id", ISSUER, "b", NOW)
    assert len(deny_list) == 2


def test_of_two_entries_for_one_thing_the_longer_counts() -> None:
    entries = [Entry("subject", ISSUER, "a", NOW + seconds) for seconds in (10, 20, 5)]
    assert DenyList(entries).has("subject", ISSUER, "a", NOW + 15)


def test_revoking_adds_to_what_is_there_and_takes_out_what_is_over(file: Path) -> None:
    over = Revocation(subject="old", issuer=ISSUER, until=datetime.fromtimestamp(NOW - 1, UTC))
    write(file, [over, Revocation(subject="alice", issuer=ISSUER, reason="left")])
    assert revoke(file, Revocation(token_id="x", issuer=ISSUER, reason="ü: stolen"), NOW)  # noqa: S106
    assert [(each.entry().kind, each.entry().name, each.reason) for each in read(file)] == [
        ("subject", "alice", "left"),
        ("token_id", "x", "ü: stolen"),
    ]
    assert not revoke(file, Revocation(token_id="x", issuer=ISSUER), NOW)  # noqa: S106
    assert len(read(file)) == 2
    assert [each.name for each in file.parent.iterdir()] == ["deny.yaml"]


def test_a_list_that_is_wrong_is_not_written_over(file: Path) -> None:
    file.write_text("version: 1\nrevoked: [{}]\n")
    with pytest.raises(ConfigurationError):
        revoke(file, Revocation(subject="alice", issuer=ISSUER))
    assert file.read_text() == "version: 1\nrevoked: [{}]\n"
