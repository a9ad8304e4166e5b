"""A server's certificates follow their files; what is not sound is told, and leaves the last good ones in place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, Request, client_request, expired, server_request
from secure_rpc.tls.credentials import ServerCertificate, ServerFiles
from secure_rpc.tls.reload import CertificateKeeper
from secure_rpc.watching import FileWatch

from support.clocks import Clock, until

SERVER = server_request("orders", "example.org")


@dataclass
class World:
    """A server's files, in a mounted secret, and what keeps them."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    results: list[bool] = field(default_factory=list)
    changes: list[tuple[ServerCertificate, ServerCertificate]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = Authority.create("root", path_length=1)
        self.issuing = self.root.intermediate("issuing")
        self.certificate, self.key, self.ca, self.partner = (
            self.folder / name for name in ("tls.crt", "tls.key", "ca.crt", "partner.crt")
        )
        self.ca.write_bytes(self.root.certificate_pem)
        self.partner.write_bytes(Authority.create("partner").certificate_pem)
        self.issue()
        self.files = ServerFiles(self.certificate, self.key, self.ca, {"partner.example": self.partner})

    def issue(self, request: Request = SERVER, by: Authority | None = None) -> None:
        (by or self.issuing).issue(request).write(self.certificate, self.key)

    async def changed(self, new: ServerCertificate, old: ServerCertificate) -> None:
        self.changes.append((new, old))

    def keeper(self, **said: Any) -> CertificateKeeper:
        return CertificateKeeper(
            self.files, on_change=self.changed, on_reload=self.results.append, clock=self.clock, **said
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def kept(keeper: CertificateKeeper) -> AsyncIterator[None]:
    keeping = asyncio.create_task(keeper.keep_fresh())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_new_files_are_taken_up_by_themselves(world: World) -> None:
    keeper = world.keeper()
    before = keeper.current
    async with kept(keeper):
        world.issue()
        await until(lambda: world.results == [True])
    assert keeper.current.chain_pem == world.certificate.read_bytes() != before.chain_pem
    assert world.changes == [(keeper.current, before)]


def of_no_one_known(world: World) -> str:
    world.issue(by=Authority.create("foreign"))
    return "tls.crt: its CA, 'CN=foreign', is not in"


def of_an_intermediate_that_is_not_the_one_sent(world: World) -> str:
    leaf, other = world.issuing.issue(SERVER), world.root.intermediate("issuing")
    world.key.write_bytes(leaf.key_pem)
    world.certificate.write_bytes(
        leaf.certificate_pem.partition(world.issuing.certificate_pem)[0] + other.certificate_pem
    )
    return "tls.crt: 'CN=orders' is not signed by what follows it"


def with_a_key_of_p_521(world: World) -> str:
    key: Any = ec.generate_private_key(ec.SECP521R1())
    world.issue(Request("orders", dns_names=["localhost"], usages=[], key=key))
    return "tls.crt: the key of 'CN=orders' is P-521"


def that_has_expired(world: World) -> str:
    world.issue(expired(SERVER))
    return "tls.crt: 'CN=orders' expired"


def half_swapped(world: World) -> str:
    world.certificate.write_bytes(world.issuing.issue(SERVER).certificate_pem)
    return "tls.key does not belong to the certificate in"


def empty_key(world: World) -> str:
    world.key.write_bytes(b"")
    return "tls.key is no key that can be read"


def cut_in_the_middle(world: World) -> str:
    world.certificate.write_bytes(world.certificate.read_bytes()[:300])
    return "tls.crt holds no certificate that can be read"


def unreadable(world: World) -> str:
    world.ca.unlink()
    world.ca.mkdir()
    return "ca.crt cannot be read (Is a directory)"


def empty_bundle(world: World) -> str:
    world.ca.write_bytes(b"\n")
    return "ca.crt holds no certificate that can be read"


def bundle_of_a_leaf(world: World) -> str:
    world.ca.write_bytes(world.root.certificate_pem + world.root.issue(client_request("a", "b")).certificate_pem)
    return "ca.crt: 'CN=a' is no CA's"


def bundle_of_another_ca(world: World) -> str:
    world.ca.write_bytes(Authority.create("other").certificate_pem)
    return "tls.crt: its CA, 'CN=root', is not in"


def empty_bundle_of_the_partner(world: World) -> str:
    world.partner.write_bytes(b"")
    return "partner.crt holds no certificate that can be read"


@pytest.mark.parametrize(
    "damage",
    [
        of_no_one_known,
        of_an_intermediate_that_is_not_the_one_sent,
        with_a_key_of_p_521,
        that_has_expired,
        half_swapped,
        empty_key,
        cut_in_the_middle,
        unreadable,
        empty_bundle,
        bundle_of_a_leaf,
        bundle_of_another_ca,
        empty_bundle_of_the_partner,
    ],
    ids=lambda damage: damage.__name__,
)
async def test_what_is_not_sound_leaves_the_last_good_ones(
    world: World, caplog: pytest.LogCaptureFixture, damage: Callable[[World], str]
) -> None:
    keeper = world.keeper()
    before, offered = keeper.current, keeper._offered
    told = damage(world)
    with caplog.at_level(logging.ERROR):
        assert not await keeper.reload()
    assert told in caplog.text
    assert "the server's certificates are left as they were" in caplog.text
    assert (keeper.current, keeper._offered, world.results, world.changes) == (before, offered, [False], [])


async def test_at_the_start_the_same_is_an_error(world: World) -> None:
    that_has_expired(world)
    with pytest.raises(ConfigurationError, match="expired"):
        world.keeper()


async def test_a_chain_of_a_ca_that_was_never_known_may_be_followed_by_another(world: World) -> None:
    world.issue(by=Authority.create("public"))
    keeper = world.keeper()
    world.issue(by=Authority.create("another public"))
    assert await keeper.reload()


async def test_a_secret_that_is_swapped_by_a_link_is_taken_up_whole(world: World, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    for version in ("..1", "..2"):
        (mount / version).mkdir(parents=True)
        world.issue()
        for file in (world.certificate, world.key, world.ca):
            (mount / version / file.name).write_bytes(file.read_bytes())
    (mount / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (mount / name).symlink_to(f"..data/{name}")
    world.files = ServerFiles(mount / "tls.crt", mount / "tls.key", mount / "ca.crt")
    keeper = world.keeper()
    async with kept(keeper):
        (mount / "..next").symlink_to("..2")
        (mount / "..next").replace(mount / "..data")
        await until(lambda: world.results)
    assert world.results == [True]
    assert keeper.current.chain_pem == (mount / "..2" / "tls.crt").read_bytes()


async def test_a_certificate_that_was_too_early_is_taken_up_when_its_time_has_come(world: World) -> None:
    keeper = world.keeper(ticket_lifetime_seconds=0.01)
    later = Request("orders", dns_names=["localhost"], usages=[])
    begin = x509.load_pem_x509_certificate(world.certificate.read_bytes()).not_valid_before_utc
    world.clock.now = begin.timestamp() - 60
    world.issue(later)
    assert not await keeper.reload()
    world.clock.now = begin.timestamp() + 3600
    keeper._watch = FileWatch([place.file for place in world.files.places])  # has told of the change already
    async with kept(keeper):
        await until(lambda: True in world.results)
    assert keeper.current.chain_pem == world.certificate.read_bytes()


async def test_the_fetcher_gives_each_configuration_once_and_counts_handshakes(world: World) -> None:
    keeper, begun, given = world.keeper(), [], []
    taken: Any = None

    def dynamic(configuration: Any, fetch: Callable[[], Any], *, require_client_authentication: bool) -> Any:
        nonlocal taken
        assert require_client_authentication
        taken = fetch
        return configuration

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc, "dynamic_ssl_server_credentials", dynamic)
        keeper.grpc_credentials(lambda: begun.append(1))
    given = [taken(), taken()]
    world.issue()
    assert await keeper.reload()
    given += [taken(), taken()]
    assert [each is None for each in given] == [True, True, False, True]
    assert given[2] is keeper._offered
    assert len(begun) == 4


async def test_tickets_end_though_nothing_has_changed(world: World) -> None:
    keeper = world.keeper(ticket_lifetime_seconds=0.01)
    before = keeper._offered
    async with kept(keeper):
        await until(lambda: keeper._offered is not before)
    assert world.results == []
