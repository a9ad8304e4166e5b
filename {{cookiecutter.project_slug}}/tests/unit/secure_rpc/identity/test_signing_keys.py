"""The file of signing keys: which keys are taken, what is said of those that are not, and that it is followed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.caller import Principal
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.signing_keys import LARGE_BYTES, SigningKeys, algorithms_of, load, load_beside

from support.clocks import until
from support.signing import new_key, public_pem, write_keys

ISSUER = "https://issuer.example.org"


def entry(kind: str = "ES256", **others: Any) -> dict[str, Any]:
    return {"public_key": public_pem(new_key(kind)), "issuer": ISSUER, "subject": "alice", **others}


@pytest.mark.parametrize(
    ("kind", "algorithms"),
    [("ES256", ("ES256",)), ("ES384", ("ES384",)), ("PS256", ("PS256", "RS256")), ("EdDSA", ("EdDSA",))],
)
def test_a_strong_key_signs_by_its_own_algorithms_alone(tmp_path: Path, kind: str, algorithms: tuple[str, ...]) -> None:
    keys = SigningKeys(write_keys(tmp_path / "keys.yaml", {"one": entry(kind)}))
    found = keys.find("one")
    assert found is not None
    assert found.algorithms == algorithms == algorithms_of(found.public_key)
    assert keys.find("two") is None


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "a short RSA key": ("one", entry("RSA-1024"), "signs by no algorithm that is taken"),
    "another curve": ("one", entry("P-521"), "signs by no algorithm that is taken"),
    "no key": ("one", entry(public_key="nothing"), "is no public key in PEM"),
    "nobody's": ("one", entry(issuer="", subject=""), "say whose it is"),
    "of two": ("one", entry(workload="spiffe://example.org/a"), "say whose it is"),
    "without issuer": ("one", entry(issuer=""), "say whose it is"),
    "an odd id": ("a b", entry(), 'the key id "a b" is not'),
    "an unknown entry": ("one", entry(owner="x"), '"keys.one.owner" is not known'),
}


@pytest.mark.parametrize(("key_id", "said", "problem"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused(tmp_path: Path, key_id: str, said: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        SigningKeys(write_keys(tmp_path / "keys.yaml", {key_id: said}))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        SigningKeys(tmp_path / "missing.yaml")


def test_a_key_belongs_to_one_user_or_one_workload(tmp_path: Path) -> None:
    workload = "spiffe://example.org/robot"
    robot = {"public_key": public_pem(new_key()), "workload": workload}
    keys = SigningKeys(write_keys(tmp_path / "keys.yaml", {"alice": entry(), "robot": robot}))
    alice, machine = keys.find("alice"), keys.find("robot")
    assert alice is not None
    assert machine is not None
    user = Principal(workload=workload, issuer=ISSUER, subject="alice")
    assert alice.belongs_to(user)
    assert not alice.belongs_to(Principal(issuer="https://another.example.org", subject="alice"))
    assert not alice.belongs_to(Principal(workload=workload))
    assert not alice.belongs_to(None)
    assert machine.belongs_to(Principal(workload=workload))
    assert not machine.belongs_to(Principal(workload="spiffe://example.org/other"))
    assert keys.is_known(user)
    assert not keys.is_known(Principal(workload=workload))


async def test_the_file_is_followed_and_a_bad_one_leaves_the_keys(tmp_path: Path) -> None:
    told: list[ConfigurationError | None] = []
    path = write_keys(tmp_path / "keys.yaml", {"one": entry()})
    keys = SigningKeys(path, told.append)
    following = asyncio.create_task(keys.keep_fresh())
    write_keys(path, {"one": entry("RSA-1024")})
    await until(lambda: told, within_seconds=20)
    assert told[-1] is not None
    assert keys.find("one") is not None
    write_keys(path, {"two": entry()})
    await until(lambda: keys.find("two"), within_seconds=20)
    assert keys.find("one") is None
    assert told[-1] is None
    following.cancel()


async def test_a_large_file_is_read_by_another_process_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = entry(expires="2027-01-01T00:00:00Z")
    path = write_keys(tmp_path / "keys.yaml", {f"key-{number}": dict(one) for number in range(200)})
    assert path.stat().st_size > LARGE_BYTES
    assert await load_beside(path) == load(path)
    write_keys(path, {f"key {number}": dict(one) for number in range(200)})
    with pytest.raises(ConfigurationError, match='the key id "key 0" is not'):
        await load_beside(path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="could not be read in a process of its own"):
        await load_beside(path)
