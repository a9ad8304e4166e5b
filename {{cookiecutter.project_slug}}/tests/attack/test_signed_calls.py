"""Signed calls, and a proxy on the way that alters, swaps, strips, redirects and repeats them, with a trusted name."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from secure_rpc.client import connect
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.call_proof import digest_of
from secure_rpc.identity.certificate import thumbprint_of
from secure_rpc.platform import Application
from secure_rpc.stages.integrity import PROOF_KEY
from secure_rpc.testing.service import run_service

from probe.v1 import probe_pb2 as pb
from support.altering_proxy import Alter, Passing, Proxy, run_proxy, unaltered
from support.probe import Servicer, SignedServicer, path_of
from support.secrets_kept import Keeper
from support.signing import claims_of, new_key, private_pem, proof_of, public_pem, write_keys
from support.target import CALLERS, ISSUER, POLICY, SETTINGS, TRUST_DOMAIN, Target, reason_of, run_target
from support.world import Ending

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE, AUDIENCE = "probe.v1.SignedService", "probe"
SIGNED = f"/{SERVICE}/Signed"
ALICE, BOB, OLD = new_key(), new_key("EdDSA"), new_key()
ASK = pb.Ask(act="pay", name="10 to bob")
BODY = ASK.SerializeToString()


@asynccontextmanager
async def run_signed(
    application: Application, folder: Path, overrides: dict[str, Any] | None = None
) -> AsyncIterator[Target]:
    """Run a target that takes signed calls too."""
    probe = Servicer()
    async with run_target(application, folder, overrides, servicer=probe, add=[SignedServicer(probe).add]) as target:
        yield target


class World:
    """A server that knows alice's key and bob's, and a proxy in front of it."""

    def __init__(self, target: Target, proxy: Proxy, folder: Path) -> None:
        self.target = target
        self.proxy = proxy
        self._folder = folder

    @asynccontextmanager
    async def client(self, address: str = "", key_id: str = "alice", caller: str = "alice") -> AsyncIterator[Any]:
        """Open a channel of ours, by the proxy unless told otherwise; "" for the key of the certificate."""
        files = self.target.service.files
        (self._folder / "alice.key").write_bytes(private_pem(ALICE))
        async with connect(
            address or self.proxy.target,
            certificate_file=files.client_certificate,
            key_file=files.client_key,
            ca_file=files.ca_certificate,
            services=[pb.DESCRIPTOR.services_by_name[name] for name in ("ProbeService", "SignedService")],
            token=lambda: self.target.token(caller),
            audience=AUDIENCE,
            signing_key_file=self._folder / "alice.key" if key_id else None,
            signing_key_id=key_id,
        ) as channel:
            yield channel

    async def call(self, alter: Alter = unaltered) -> Ending:
        """Make alice's signed call by the proxy, which alters it."""
        self.proxy.alter = alter
        async with self.client() as channel:
            return await self.target.ask("Signed", ASK, channel=channel, authorization="")

    async def capture(self) -> Passing:
        """Return a sound call of alice's as the proxy sees it, not sent; with a token of its own."""
        token = self.target.service.token_of("alice", jti=secrets.token_hex(8))
        proof = proof_of(claims_of(SIGNED, AUDIENCE, BODY, token), ALICE, kid="alice")
        return Passing(SIGNED, BODY, (("authorization", f"Bearer {token}"), (PROOF_KEY, proof)))

    async def refused(self, told: Ending, code: str, reason: str, recorded: str = "") -> bool:
        """Tell whether a call was refused so, recorded so, and reached no handler."""
        assert (told.code.name, reason_of(told.trailers).reason) == (code, reason)
        record = await self.target.record_of(told)
        assert (record["code"], record["reason"]) == (code, recorded or reason)
        return True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("signed")
    keys = {
        "alice": {"public_key": public_pem(ALICE), "issuer": ISSUER, "subject": "alice"},
        "alice-old": {
            "public_key": public_pem(OLD),
            "issuer": ISSUER,
            "subject": "alice",
            "expires": "2020-01-01T00:00:00Z",
        },
        "bob": {"public_key": public_pem(BOB), "issuer": ISSUER, "subject": "bob"},
        "proxy": {"public_key": public_pem(BOB), "workload": f"spiffe://{TRUST_DOMAIN}/client/proxy"},
    }
    overrides = {"integrity": {"signing_keys_file": write_keys(folder / "keys.yaml", keys)}}
    async with run_signed(application, folder, overrides) as target, run_proxy(target) as proxy:
        yield World(target, proxy, folder)
        assert (await target.ask("Signed", authorization=f"Bearer {target.token('mallory')}")).code.name != "OK"


async def test_a_signed_call_passes_a_proxy_that_leaves_it_alone(world: World) -> None:
    begun = world.target.begun
    told = await world.call()
    assert (told.code, told.messages) == (grpc.StatusCode.OK, ["pay"])
    assert world.target.begun == begun + 1


def _flip(passing: Passing) -> Passing:
    return replace(passing, body=passing.body.replace(b"10 to bob", b"90 to bob"))


def _strip(passing: Passing) -> Passing:
    return passing.with_header(PROOF_KEY, None)


def _redirect(passing: Passing) -> Passing:
    return replace(passing, path=f"/{SERVICE}/SignedStream")


def _add_a_field(passing: Passing) -> Passing:
    return replace(passing, body=passing.body + pb.Ask(tenant="globex").SerializeToString())


def _empty(passing: Passing) -> Passing:
    return replace(passing, body=b"")


ALTERED: dict[str, tuple[Alter, str, str]] = {
    "the body altered": (_flip, "PROOF_INVALID", "PROOF_BODY_ALTERED"),
    "a field added": (_add_a_field, "PROOF_INVALID", "PROOF_BODY_ALTERED"),
    "the body taken out": (_empty, "PROOF_INVALID", "PROOF_BODY_ALTERED"),
    "the proof stripped": (_strip, "PROOF_MISSING", "PROOF_MISSING"),
    "another method": (_redirect, "PROOF_INVALID", "PROOF_FOR_ANOTHER_METHOD"),
}


@pytest.mark.parametrize(("alter", "reason", "recorded"), ALTERED.values(), ids=ALTERED)
async def test_what_a_proxy_alters_is_refused(world: World, alter: Alter, reason: str, recorded: str) -> None:
    begun = world.target.begun
    assert await world.refused(await world.call(alter), "UNAUTHENTICATED", reason, recorded)
    assert world.target.begun == begun


async def test_proofs_that_are_swapped_are_refused(world: World) -> None:
    first = await world.capture()
    token = first.header("authorization").removeprefix("Bearer ")
    body = pb.Ask(act="other").SerializeToString()
    second = proof_of(claims_of(SIGNED, AUDIENCE, body, token), ALICE, kid="alice")
    told = await world.proxy.send(first.with_header(PROOF_KEY, second))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", "PROOF_BODY_ALTERED")
    told = await world.proxy.send(replace(first, body=body))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", "PROOF_BODY_ALTERED")


async def test_a_call_that_is_repeated_is_refused(world: World) -> None:
    assert (await world.call()).code is grpc.StatusCode.OK
    begun = world.target.begun
    captured = world.proxy.captured[-1]
    assert await world.refused(await world.proxy.send(captured), "ALREADY_EXISTS", "REPLAYED")
    async with world.target.bare_channel(world.target.leaf("another-workload")) as channel:
        told = await Proxy(channel, world.proxy.leaf).send(captured)
        assert await world.refused(told, "ALREADY_EXISTS", "REPLAYED")
    assert world.target.begun == begun


async def test_a_token_that_is_swapped_or_taken_out_is_refused(world: World) -> None:
    captured, another = await world.capture(), await world.capture()
    told = await world.proxy.send(captured.with_header("authorization", another.header("authorization")))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", "PROOF_TOKEN_SWAPPED")
    unbound = proof_of(claims_of(SIGNED, AUDIENCE, BODY), ALICE, kid="alice")
    told = await world.proxy.send(captured.with_header(PROOF_KEY, unbound))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", "PROOF_TOKEN_SWAPPED")


async def test_a_proxy_cannot_sign_in_the_callers_place(world: World) -> None:
    captured = await world.capture()
    token = captured.header("authorization").removeprefix("Bearer ")
    claims = claims_of(SIGNED, AUDIENCE, BODY, token)
    pem = world.proxy.leaf.certificate_pem
    thumbprint = thumbprint_of(x509.load_pem_x509_certificate(pem))
    own = load_pem_private_key(world.proxy.leaf.key_pem, None)
    for proof, recorded in (
        (proof_of(claims, own, **{"x5t#S256": thumbprint}), "PROOF_KEY_NOT_REGISTERED"),
        (proof_of(claims, BOB, kid="bob"), "PROOF_KEY_OF_ANOTHER"),
        (proof_of(claims, BOB, kid="proxy"), "PROOF_KEY_OF_ANOTHER"),  # registered, and of its own workload
        (proof_of(claims, own, kid="alice"), "PROOF_SIGNATURE_WRONG"),
    ):
        told = await world.proxy.send(captured.with_header(PROOF_KEY, proof))
        assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", recorded)


def _forged(header: dict[str, Any], **claims: Any) -> Callable[[str], str]:
    def forge(token: str) -> str:
        return proof_of(claims_of(SIGNED, AUDIENCE, BODY, token, **claims), ALICE, **{"kid": "alice", **header})

    return forge


def _with_secret(token: str) -> str:
    claims = claims_of(SIGNED, AUDIENCE, BODY, token)
    signing = jwt.PyJWS(options={"verify_signature": False})
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"call-proof+jwt","kid":"alice"}')
    body = jwt.utils.base64url_encode(str(claims).replace("'", '"').encode())
    assert signing is not None
    signature = jwt.utils.base64url_encode(hmac.sign(header + b"." + body, public_pem(ALICE).encode()))
    return (header + b"." + body + b"." + signature).decode()


def _unsigned(token: str) -> str:
    return proof_of(claims_of(SIGNED, AUDIENCE, BODY, token), None, "none", kid="alice")


def _certificate_of_another(token: str) -> str:
    return proof_of(claims_of(SIGNED, AUDIENCE, BODY, token), ALICE, **{"x5t#S256": digest_of(b"another")})


FORGED: dict[str, tuple[Callable[[str], str], str]] = {
    "no JWS": (lambda _: "nonsense", "PROOF_MALFORMED"),
    "algorithm none": (_unsigned, "PROOF_ALGORITHM_REFUSED"),
    "HMAC with the public key": (_with_secret, "PROOF_ALGORITHM_REFUSED"),
    "no type": (_forged({"typ": None}), "PROOF_TYPE_WRONG"),
    "an access token's type": (_forged({"typ": "at+jwt"}), "PROOF_TYPE_WRONG"),
    "DPoP's type": (_forged({"typ": "dpop+jwt"}), "PROOF_TYPE_WRONG"),
    "a critical header": (_forged({"crit": ["b64"], "b64": True}), "PROOF_MALFORMED"),
    "a key of its own": (_forged({"jwk": {"kty": "oct", "k": "AA"}}), "PROOF_MALFORMED"),
    "an unknown key": (_forged({"kid": "nobody"}), "PROOF_KEY_UNKNOWN"),
    "no key": (_forged({"kid": None}), "PROOF_KEY_UNKNOWN"),
    "two keys": (_forged({"x5t#S256": "A"}), "PROOF_KEY_UNKNOWN"),
    "another's certificate": (_certificate_of_another, "PROOF_KEY_OF_ANOTHER"),
    "an expired key": (
        lambda token: proof_of(claims_of(SIGNED, AUDIENCE, BODY, token), OLD, kid="alice-old"),
        "PROOF_KEY_EXPIRED",
    ),
    **{f"no {name}": (_forged({}, **{name: None}), "PROOF_CLAIM_MISSING") for name in ("htm", "bdh", "iat", "jti")},
    "no audience": (_forged({}, aud=None), "PROOF_CLAIM_MISSING"),
    "another audience": (_forged({}, aud="other"), "PROOF_FOR_ANOTHER_SERVICE"),
    "several audiences": (_forged({}, aud=[AUDIENCE, "other"]), "PROOF_FOR_ANOTHER_SERVICE"),
    "another method": (_forged({}, htm=path_of("Unary")), "PROOF_FOR_ANOTHER_METHOD"),
    "no token hash": (_forged({}, ath=None), "PROOF_TOKEN_SWAPPED"),
    "a time that is a text": (_forged({}, iat=str(time.time())), "PROOF_MALFORMED"),
    "a time that is true": (_forged({}, iat=True), "PROOF_MALFORMED"),
    "a time past all numbers": (_forged({}, iat=float("inf")), "PROOF_MALFORMED"),
    "a short nonce": (_forged({}, jti="n" * 15), "PROOF_MALFORMED"),
    "a long nonce": (_forged({}, jti="n" * 65), "PROOF_MALFORMED"),
    "a nonce that is a number": (_forged({}, jti=1234567890123456), "PROOF_MALFORMED"),
    "a digest that is no text": (_forged({}, bdh=[]), "PROOF_MALFORMED"),
    "a digest of other characters": (_forged({}, bdh="ü"), "PROOF_MALFORMED"),
    "too large": (_forged({}, padding="x" * 4096), "PROOF_TOO_LARGE"),
}


@pytest.mark.parametrize(("forge", "recorded"), FORGED.values(), ids=FORGED)
async def test_a_forged_proof_is_refused(world: World, forge: Callable[[str], str], recorded: str) -> None:
    captured, begun = await world.capture(), world.target.begun
    token = captured.header("authorization").removeprefix("Bearer ")
    told = await world.proxy.send(captured.with_header(PROOF_KEY, forge(token)))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", recorded)
    assert world.target.begun == begun


@pytest.mark.parametrize("off_by_seconds", [-301, 301, 10**9])
async def test_a_proof_of_another_time_is_refused(world: World, off_by_seconds: int) -> None:
    captured = await world.capture()
    token = captured.header("authorization").removeprefix("Bearer ")
    proof = _forged({}, iat=time.time() + off_by_seconds)(token)
    told = await world.proxy.send(captured.with_header(PROOF_KEY, proof))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_STALE")


async def test_two_proofs_are_refused(world: World) -> None:
    captured = await world.capture()
    twice = replace(captured, metadata=(*captured.metadata, (PROOF_KEY, captured.header(PROOF_KEY))))
    told = await world.proxy.send(twice)
    assert await world.refused(told, "INVALID_ARGUMENT", "METADATA_AMBIGUOUS")


async def test_a_sound_proof_made_by_hand_is_taken(world: World) -> None:  # so the table above is of what is wrong
    assert (await world.proxy.send(await world.capture())).code is grpc.StatusCode.OK


async def test_the_key_of_the_certificate_signs_where_none_is_registered(
    application: Application, tmp_path: Path
) -> None:
    async with run_signed(application, tmp_path) as target:
        for _ in range(2):
            assert (await target.ask("Signed", ASK)).messages == ["pay"]
        assert (await target.ask("Signed", pb.Ask())).code is grpc.StatusCode.OK  # no bytes at all
        told = await target.ask("SignedStream", pb.Ask(act="last", count=2))
        assert told.messages == ["part", "part", "last"]


async def test_the_key_of_the_certificate_can_be_refused(application: Application, tmp_path: Path) -> None:
    async with run_signed(application, tmp_path, {"integrity": {"certificate_keys": False}}) as target:
        told = await target.ask("Signed", ASK)
        assert reason_of(told.trailers).reason == "PROOF_INVALID"
        assert (await target.record_of(told))["reason"] == "PROOF_KEY_NOT_REGISTERED"


async def test_nonces_of_signed_calls_are_not_forgotten(application: Application, tmp_path: Path) -> None:
    async with run_signed(application, tmp_path, {"replay": {"remembered_nonces": 1}}) as target:
        assert (await target.ask("Signed", ASK)).code is grpc.StatusCode.OK
        told = await target.ask("Signed", ASK)
        assert (told.code.name, reason_of(told.trailers).reason) == ("UNAVAILABLE", "REPLAY_STORE_UNAVAILABLE")


async def test_a_call_that_grpc_makes_again_by_itself_is_no_replay(world: World) -> None:
    begun, before = world.target.begun, len(world.proxy.captured)
    world.proxy.lost_answers = 2
    assert (await world.call()).code is grpc.StatusCode.OK
    assert world.target.begun == begun + 3
    attempts = world.proxy.captured[before:]
    assert len({attempt.header(PROOF_KEY) for attempt in attempts}) == 3
    assert len({attempt.body for attempt in attempts}) == 1


async def test_credentials_of_a_single_call_go_along(world: World) -> None:
    more = grpc.metadata_call_credentials(_More())
    world.proxy.alter = unaltered
    async with world.client() as channel:
        told = await world.target.ask("Signed", ASK, channel=channel, authorization="", credentials=more)
    assert told.code is grpc.StatusCode.OK
    assert world.proxy.captured[-1].header("further") == "entry"


class _More(grpc.AuthMetadataPlugin):
    def __call__(self, _context: object, callback: grpc.AuthMetadataPluginCallback) -> None:
        callback((("further", "entry"),), None)


async def test_several_workers_that_would_not_know_of_each_others_calls_are_refused_at_start(
    application: Application, tmp_path: Path
) -> None:
    for name, text in {"settings.yaml": SETTINGS, "policy.yaml": POLICY, "callers.yaml": CALLERS}.items():
        (tmp_path / name).write_text(text)
    signed_alone = Application(application.build_chain, Keeper().add)
    overrides: dict[str, Any] = {
        "workers": 2,
        "replay": {"file": None},
        "sessions": {"refresh": False},
        "authorization": {"policy_file": tmp_path / "policy.yaml"},
    }
    with pytest.raises(ConfigurationError, match=r'"workers" is 2, but /probe.v1.SecretService/Keep is signed'):
        async with run_service(
            signed_alone, tmp_path, overrides, config=tmp_path / "settings.yaml", callers=tmp_path / "callers.yaml"
        ):
            pass


async def test_calls_of_other_methods_carry_no_proof(world: World) -> None:
    world.proxy.alter = unaltered
    async with world.client() as channel:
        told = await world.target.ask("Unary", ASK, channel=channel, authorization="")
    assert told.code is grpc.StatusCode.OK
    assert PROOF_KEY not in dict(world.proxy.captured[-1].metadata)
    assert dict(world.proxy.captured[-1].metadata)["authorization"]
