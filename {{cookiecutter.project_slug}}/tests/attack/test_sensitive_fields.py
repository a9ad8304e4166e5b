"""Sensitive fields past a proxy that ends TLS: it reads nothing, and what it changes is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.client import connect, new_idempotency_key
from secure_rpc.confidential import HEADER
from secure_rpc.configuration import ConfigurationError
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.altering_proxy import Alter, Passing, Proxy, run_proxy, unaltered
from support.secrets_kept import KEEP, SECRETS, Keeper, secret, write_keyring
from support.signing import new_key, private_pem, public_pem, write_keys
from support.target import ISSUER, POLICY, Target, reason_of, run_target
from support.world import Ending, ending

ALICE = new_key()
KEEPING = (
    POLICY.replace("roles:", "roles:\n  keeper: { permissions: [probe.keep] }")
    + f"""
  - role: keeper
    principals: [{{ issuer: "{ISSUER}", group: callers }}]
    tenants: own
"""
)


class World:
    """A server that keeps secrets, a proxy in front of it, and alice."""

    def __init__(self, folder: Path, target: Target, proxy: Proxy, keeper: Keeper) -> None:
        self.folder = folder
        self.target = target
        self.proxy = proxy
        self.keeper = keeper

    @asynccontextmanager
    async def client(self, keyring: Path | None) -> AsyncIterator[Any]:
        files = self.target.service.files
        (self.folder / "alice.key").write_bytes(private_pem(ALICE))
        async with connect(
            self.proxy.target,
            certificate_file=files.client_certificate,
            key_file=files.client_key,
            ca_file=files.ca_certificate,
            services=[pb.DESCRIPTOR.services_by_name["SecretService"]],
            token=self.target.token,
            audience="probe",
            signing_key_file=self.folder / "alice.key",
            signing_key_id="alice",
            keyring_file=keyring,
        ) as channel:
            yield probe_pb2_grpc.SecretServiceStub(channel)

    async def keep(self, message: pb.Secret, alter: Alter = unaltered, *, encrypted: bool = True) -> Ending:
        """Make a call by the proxy."""
        self.proxy.alter = alter
        async with self.client(self.folder / "keyring.yaml" if encrypted else None) as stub:
            return await ending(stub.Keep(message))


@asynccontextmanager
async def run_world(
    application: Application, folder: Path, mode: str = "required", policy: str = KEEPING
) -> AsyncIterator[World]:
    keys = {"alice": {"public_key": public_pem(ALICE), "issuer": ISSUER, "subject": "alice"}}
    integrity = {
        "signing_keys_file": write_keys(folder / "keys.yaml", keys),
        "keyring_file": write_keyring(folder / "keyring.yaml", "one"),
        "encrypted_fields": mode,
    }
    keeper = Keeper()
    async with (
        run_target(application, folder, {"integrity": integrity}, policy=policy, add=[keeper.add]) as target,
        run_proxy(target) as proxy,
    ):
        yield World(folder, target, proxy, keeper)


async def test_a_proxy_reads_nothing_and_the_handler_all(application: Application, tmp_path: Path) -> None:
    async with run_world(application, tmp_path) as world:
        asked = secret()
        told = await world.keep(asked)
        assert told.messages == [secret()]
        assert asked == secret()  # the caller's own is left alone
        assert world.keeper.seen == [secret()]  # and the handler's
        passed = (world.proxy.captured[-1].body, world.proxy.answers[-1])
        assert not [each for each in SECRETS for body in passed if each in body]
        record = (await world.target.service.audit_records())[-1]
        assert record["fields"]["label"] == "card of alice"
        assert record["fields"]["card"] == "[redacted]"
        assert "secret" not in str(record["fields"])


async def test_a_stream_is_encrypted_too(application: Application, tmp_path: Path) -> None:
    async with run_world(application, tmp_path) as world:
        files = world.target.service.files
        async with connect(
            world.target.service.target,
            certificate_file=files.client_certificate,
            key_file=files.client_key,
            ca_file=files.ca_certificate,
            services=[pb.DESCRIPTOR.services_by_name["SecretService"]],
            token=world.target.token,
            keyring_file=tmp_path / "keyring.yaml",
        ) as channel:
            stub = probe_pb2_grpc.SecretServiceStub(channel)
            told = await ending(stub.KeepEach(iter([secret(), pb.Secret(card="1")])))
        assert told.messages == [secret(), pb.Secret(card="1")]
        assert [each.card for each in world.keeper.seen] == ["4111111111111112", "1"]


async def test_plain_text_is_refused_where_encryption_is_required(application: Application, tmp_path: Path) -> None:
    async with run_world(application, tmp_path) as world:
        told = await world.keep(secret(), encrypted=False)
        assert (told.code.name, reason_of(told.trailers).reason) == ("INVALID_ARGUMENT", "FIELD_NOT_ENCRYPTED")
        told = await world.keep(pb.Secret(card="enc:v1:one:" + "A" * 60), encrypted=False)
        assert (told.code.name, reason_of(told.trailers).reason) == ("INVALID_ARGUMENT", "FIELD_UNDECRYPTABLE")
        assert (await world.target.record_of(told))["reason"] == "FIELD_UNDECRYPTABLE"
        assert not world.keeper.seen


async def test_rules_are_held_against_what_was_encrypted(application: Application, tmp_path: Path) -> None:
    async with run_world(application, tmp_path) as world:
        told = await world.keep(pb.Secret(card="9" * 17))
        assert reason_of(told.trailers).reason == "REQUEST_INVALID"


async def test_old_callers_are_answered_in_plain_text_where_that_may_be(
    application: Application, tmp_path: Path
) -> None:
    async with run_world(application, tmp_path, "optional") as world:
        assert (await world.keep(secret(), encrypted=False)).messages == [secret()]


def _without_wish(passing: Passing) -> Passing:
    return passing.with_header(HEADER, None)


async def test_a_wish_that_is_taken_out_is_noticed(
    application: Application, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_world(application, tmp_path, "optional") as world:
        told = await world.keep(secret(), _without_wish)
        assert told.messages == [None]  # what gRPC makes of a response that cannot be read
        assert "is not encrypted" in caplog.text


async def test_a_field_that_is_altered_is_refused_without_a_signature_too(
    application: Application, tmp_path: Path
) -> None:
    async with run_world(application, tmp_path) as world:

        def swap(passing: Passing) -> Passing:
            message = pb.Secret.FromString(passing.body)
            message.spare_card = message.card
            return replace(passing, body=message.SerializeToString())

        told = await world.keep(secret(), swap)
        assert (await world.target.record_of(told))["reason"] == "PROOF_BODY_ALTERED"
        assert world.proxy.captured[-1].path == KEEP


async def test_a_condition_of_the_policy_sees_what_was_encrypted(application: Application, tmp_path: Path) -> None:
    policy = f"{KEEPING.rstrip()}\n    condition: request.card != 'blocked'\n"
    async with (
        run_world(application, tmp_path, policy=policy) as world,
        world.client(tmp_path / "keyring.yaml") as stub,
    ):
        assert (await ending(stub.KeepOnce(secret()))).code.name == "OK"
        told = await ending(stub.KeepOnce(pb.Secret(card="blocked")))
        assert (told.code.name, len(world.keeper.seen)) == ("PERMISSION_DENIED", 1)


async def test_a_call_that_is_encrypted_anew_under_its_key_is_the_same_call(
    application: Application, tmp_path: Path
) -> None:
    async with run_world(application, tmp_path) as world, world.client(tmp_path / "keyring.yaml") as stub:
        key = (new_idempotency_key(),)
        for _ in range(2):
            assert (await ending(stub.KeepOnce(secret(), metadata=key))).messages == [secret()]
        assert len({passing.body for passing in world.proxy.captured}) == 2
        assert len(world.keeper.seen) == 1
        told = await ending(stub.KeepOnce(pb.Secret(card="1"), metadata=key))
        assert reason_of(told.trailers).reason == "IDEMPOTENCY_KEY_REUSED"
        assert len(world.keeper.seen) == 1


async def test_another_signed_call_under_a_key_that_was_used_is_refused(
    application: Application, tmp_path: Path
) -> None:
    async with run_world(application, tmp_path, "optional") as world, world.client(None) as stub:
        key = (new_idempotency_key(),)
        for _ in range(2):
            assert (await ending(stub.KeepOnce(pb.Secret(label="10 to bob"), metadata=key))).code.name == "OK"
        told = await ending(stub.KeepOnce(pb.Secret(label="20 to bob"), metadata=key))
        assert reason_of(told.trailers).reason == "IDEMPOTENCY_KEY_REUSED"
        assert [each.label for each in world.keeper.seen] == ["10 to bob"]


async def test_required_without_keyring_is_refused_at_start(application: Application, tmp_path: Path) -> None:
    with pytest.raises(Exception, match='set "keyring_file"'):
        async with run_target(application, tmp_path, {"integrity": {"encrypted_fields": "required"}}):
            pass
    with pytest.raises(ConfigurationError, match="cannot be read"):
        async with run_target(application, tmp_path, {"integrity": {"keyring_file": tmp_path / "none.yaml"}}):
            pass
