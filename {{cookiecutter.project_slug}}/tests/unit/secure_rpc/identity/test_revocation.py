"""What is revoked is found by each name of a credential; a list that is too old says nothing any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.identity.api_key import ApiKeys, new_key, save
from secure_rpc.identity.certificate import Certificate, certificate_reader
from secure_rpc.identity.crl import Crl
from secure_rpc.identity.deny_list import FOR_EVER, DenyList, Entry, Revocation, write
from secure_rpc.identity.principal import Credential, Identities, Shown
from secure_rpc.identity.revocation import NothingRevoked, Revoked
from secure_rpc.identity.revocation_files import RevocationFiles, RevocationSettings
from secure_rpc.identity.revocation_loading import LARGE_BYTES, Order, load, load_beside
from secure_rpc.identity.tokens import TokenVerifier

from support.clocks import Clock, until

ROOT = Authority.create("root", path_length=1)
ISSUING = ROOT.intermediate("issuing")
LEAF = ISSUING.issue(client_request("a", "example.org"))
ISSUER = "https://issuer.example.org"
STALL_SECONDS = 0.02


def certificate() -> Certificate:
    pem, chain_pem = LEAF.certificate_pem.removesuffix(ISSUING.chain_pem), ISSUING.chain_pem
    return certificate_reader("example.org")(pem, chain_pem)


def refusal(revoked: Revoked) -> str:
    try:
        revoked.check_certificate(certificate())
    except errors.StatusError as error:
        return f"{error.reason} {error.recorded_reason}".removeprefix("CREDENTIAL_REVOKED ").partition(" ")[0]
    return ""


def crl_of(authority: Authority, *serials: int, end: float = FOR_EVER) -> Crl:
    return Crl(authority.certificate.subject.rfc4514_string(), 0.0, end, set(serials))


def test_a_certificate_is_found_by_its_number_its_ca_and_its_workload() -> None:
    (issuer, serial), (above, serial_above) = certificate().numbers
    assert (issuer, above) == ("CN=issuing", "CN=root")
    by_hand = {
        "CERTIFICATE_REVOKED": Entry("serial", issuer, f"{serial:x}", FOR_EVER),
        "CERTIFICATE_ISSUER_REVOKED": Entry("serial", above, f"{serial_above:x}", FOR_EVER),
        "SPIFFE_ID_REVOKED": Entry("spiffe_id", "", "spiffe://example.org/client/a", FOR_EVER),
    }
    for reason, entry in by_hand.items():
        assert refusal(Revoked(DenyList([entry]))) == reason
    assert refusal(Revoked(DenyList([Entry("serial", above, f"{serial:x}", FOR_EVER)]))) == ""
    assert refusal(Revoked(DenyList(), [crl_of(ISSUING, serial)])) == "CERTIFICATE_REVOKED"
    assert refusal(Revoked(DenyList(), [crl_of(ROOT, serial_above)])) == "CERTIFICATE_ISSUER_REVOKED"
    assert refusal(Revoked(DenyList(), [crl_of(ROOT, serial), crl_of(ISSUING, serial_above)])) == ""


@pytest.mark.parametrize(("refuse", "told"), [(True, "REVOCATION_UNKNOWN"), (False, "")])
def test_a_list_that_is_too_old_decides_as_the_settings_say(told: str, *, refuse: bool) -> None:
    clock = Clock()
    revoked = Revoked(DenyList(), [crl_of(ISSUING, end=clock.now + 1)], refuse_when_stale=refuse, clock=clock)
    assert refusal(revoked) == ""
    clock.pass_(1)
    assert refusal(revoked) == told
    number = certificate().numbers[0][1]
    too_old = Revoked(DenyList(), [crl_of(ISSUING, number, end=0)], refuse_when_stale=refuse)
    assert refusal(too_old) == "CERTIFICATE_REVOKED"  # what it has, it has


def test_users_are_found_by_token_and_by_subject_of_their_issuer() -> None:
    revoked = Revoked(
        DenyList([Entry("token_id", ISSUER, "x", FOR_EVER), Entry("subject", ISSUER, "mallory", FOR_EVER)])
    )
    for subject, token_id, reason in (("alice", "x", "TOKEN_REVOKED"), ("mallory", "", "SUBJECT_REVOKED")):
        with pytest.raises(errors.Unauthenticated) as caught:
            revoked.check_user(ISSUER, subject, token_id)
        assert (caught.value.reason, caught.value.recorded_reason) == ("CREDENTIAL_REVOKED", reason)
    revoked.check_user(ISSUER, "alice", "")
    revoked.check_user("https://other.example", "mallory", "x")
    NothingRevoked().check_user(ISSUER, "mallory", "x")


def test_all_that_an_issuer_vouches_for_can_be_revoked_and_nothing_of_another_is() -> None:
    revoked = Revoked(DenyList([Entry("subject", ISSUER, "*", 100.0)]), clock=lambda: 99.0)
    for subject in ("alice", "*"):
        with pytest.raises(errors.Unauthenticated) as caught:
            revoked.check_user(ISSUER, subject, "")
        assert caught.value.reason == "CREDENTIAL_REVOKED"
    revoked.check_user("https://other.example", "alice", "")
    Revoked(DenyList([Entry("subject", ISSUER, "*", 100.0)]), clock=lambda: 100.0).check_user(ISSUER, "alice", "")


async def test_the_subject_of_an_api_key_is_found_too(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    text, entry = new_key("ci", datetime.now(UTC) + timedelta(days=1), (), ())
    save(file, {text.partition(".")[0]: entry})
    revocations = Files(tmp_path).source()
    identities = Identities(
        certificate_reader("example.org"), TokenVerifier(()), ApiKeys(file), {Credential.API_KEY},
        revocations=revocations,
    )  # fmt: skip
    shown = Shown(LEAF.certificate_pem, b"", "", text)
    assert (await identities.verify(shown)).subject == "ci"
    write(tmp_path / "deny.yaml", [Revocation(subject="ci", issuer="api-key")])
    assert await revocations.reload([tmp_path / "deny.yaml"])
    identities.forget()
    with pytest.raises(errors.Unauthenticated) as caught:
        await identities.verify(shown)
    assert caught.value.recorded_reason == "SUBJECT_REVOKED"


# --- from files ------------------------------------------------------------------------------------------------


class Files:
    """A deny-list and a CRL, and what follows them."""

    def __init__(self, folder: Path) -> None:
        self.deny_list, self.crl = folder / "deny.yaml", folder / "ca.crl"
        write(self.deny_list, ())
        self.write_crl()
        self.changes = 0
        self.results: list[bool] = []
        self.clock = Clock()

    def write_crl(self, *serials: int, age: timedelta = timedelta()) -> None:
        self.crl.write_bytes(ISSUING.revocation_list(serials, datetime.now(UTC) - age) + ISSUING.chain_pem)

    def source(self) -> RevocationFiles:
        settings = RevocationSettings(deny_list_file=self.deny_list, crl_files=(self.crl,))
        return RevocationFiles(settings, lambda: [ROOT.certificate], on_reload=self.results.append, clock=self.clock)

    async def changed(self) -> None:
        self.changes += 1

    @asynccontextmanager
    async def kept(self, source: RevocationFiles) -> AsyncIterator[None]:
        keeping = asyncio.create_task(source.keep_fresh(self.changed))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def is_refused(source: RevocationFiles) -> str:
    try:
        source.check_certificate(certificate())
    except errors.StatusError as error:
        return error.recorded_reason
    return ""


async def test_each_file_counts_by_itself_as_soon_as_it_is_written(files: Files) -> None:
    source = files.source()
    async with files.kept(source):
        write(files.deny_list, [Revocation(spiffe_id="spiffe://example.org/client/a")])
        await until(lambda: files.changes == 1)
        assert is_refused(source) == "SPIFFE_ID_REVOKED"
        write(files.deny_list, ())
        files.write_crl(certificate().numbers[0][1])
        await until(lambda: is_refused(source) == "CERTIFICATE_REVOKED")
        assert source.count() == {"deny_list": 0, "crl": 1}
        files.deny_list.write_text("no list")
        await until(lambda: False in files.results)
        assert is_refused(source) == "CERTIFICATE_REVOKED"


async def test_a_list_that_comes_back_from_the_past_is_not_taken_up(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.write_crl(certificate().numbers[0][1])
    source = files.source()
    files.write_crl(age=timedelta(hours=1))
    with caplog.at_level(logging.ERROR):
        assert not await source.reload()
    assert "is older than the one in use" in caplog.text
    assert is_refused(source) == "CERTIFICATE_REVOKED"


async def test_a_list_whose_end_comes_is_told_once_and_asked_about_anew(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    source = files.source()
    files.clock.pass_(timedelta(days=8).total_seconds())
    with caplog.at_level(logging.ERROR):
        async with files.kept(source):
            await until(lambda: files.changes == 1)
    assert "the CRL of CN=issuing should have been followed by another 86" in caplog.text
    assert is_refused(source) == "REVOCATION_UNKNOWN"


async def test_at_the_start_a_file_that_is_missing_or_wrong_is_an_error(files: Files) -> None:
    files.crl.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="holds no CRL"):
        files.source()
    files.deny_list.unlink()
    with pytest.raises(ConfigurationError, match=r"deny\.yaml: cannot be read"):
        RevocationFiles(RevocationSettings(deny_list_file=files.deny_list), list)


async def test_nothing_to_follow_is_nothing_to_do() -> None:
    await RevocationFiles(RevocationSettings(), list).keep_fresh(Files.changed)  # type: ignore[arg-type]


# --- large ones ------------------------------------------------------------------------------------------------


async def stall_of(work: asyncio.Task[Any]) -> float:
    """Return for how many seconds the loop stood still at most, while something was done."""
    longest, last = 0.0, time.perf_counter()
    while not work.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


async def test_20_000_certificates_are_read_while_calls_go_on(files: Files) -> None:
    numbers = range(2**120, 2**120 + 20_000)
    files.write_crl(*numbers)
    assert files.crl.stat().st_size > LARGE_BYTES
    order = Order("crl", files.crl, [ROOT.certificate])
    began = time.perf_counter()
    load(order)
    here = time.perf_counter() - began
    stalls = []
    for _ in range(3):  # others may have the machine to themselves for a while
        reading = asyncio.create_task(load_beside(order))
        stalls.append(await stall_of(reading))
        [crl] = (await reading).crls
        assert crl.serials == set(numbers)
        if stalls[-1] < STALL_SECONDS:
            break
    assert min(stalls) < max(STALL_SECONDS, here / 3), (here, stalls)


async def test_a_long_deny_list_is_read_as_a_short_one_is(files: Files) -> None:
    until_then = datetime(2030, 1, 1, tzinfo=UTC)
    listed = [Revocation(subject=f"user-{number}", issuer=ISSUER) for number in range(600)]
    listed.append(Revocation(token_id="x", issuer=ISSUER, until=until_then))  # noqa: S106
    write(files.deny_list, listed)
    assert files.deny_list.stat().st_size > LARGE_BYTES
    order = Order("deny_list", files.deny_list)
    beside, here = await load_beside(order), load(order)
    assert beside.deny_list._until == here.deny_list._until
    assert len(beside.deny_list) == 601


@pytest.mark.parametrize("kind", ["crl", "deny_list"])
async def test_a_large_file_that_is_wrong_is_told_as_a_small_one_is(files: Files, kind: str) -> None:
    file = files.crl if kind == "crl" else files.deny_list
    file.write_bytes(b"#" * LARGE_BYTES)
    with pytest.raises(ConfigurationError) as caught:
        await load_beside(Order(kind, file, [ROOT.certificate]))  # type: ignore[arg-type]
    assert str(file) in str(caught.value)
