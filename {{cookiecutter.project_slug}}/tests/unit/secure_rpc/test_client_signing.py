"""What the client's signing refuses, and that each attempt of gRPC's own carries another proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest

from secure_rpc.client_signing import CallSigning, load_signer
from secure_rpc.configuration import ConfigurationError

from probe.v1 import probe_pb2 as pb
from support.signing import new_key, private_pem

SERVICES = [pb.DESCRIPTOR.services_by_name["SignedService"]]
PATH = "/probe.v1.SignedService/Signed"


def signing(folder: Path, audience: str = "probe") -> CallSigning:
    (folder / "own.key").write_bytes(private_pem(new_key()))
    headers = (("authorization", "Bearer abc"),)
    return CallSigning(SERVICES, audience, lambda _method: headers, load_signer(folder / "own.key", "own"))


@pytest.mark.parametrize(
    ("content", "key_id", "problem"),
    [
        (None, "own", "cannot be read"),
        (b"nothing", "own", "is no key that can be read"),
        (private_pem(new_key("P-521")), "own", "cannot sign calls"),
        (private_pem(new_key("RSA-1024")), "own", "cannot sign calls"),
        (private_pem(new_key()), "", "say signing_key_id"),
    ],
)
def test_a_key_that_is_no_good_is_refused(tmp_path: Path, content: bytes | None, key_id: str, problem: str) -> None:
    if content is not None:
        (tmp_path / "own.key").write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem):
        load_signer(tmp_path / "own.key", key_id)


def test_other_methods_are_left_as_they_are(tmp_path: Path) -> None:
    said, named = ("/probe.v1.ProbeService/Unary", str), {"request_serializer": bytes}
    assert signing(tmp_path).adapt(said, named) == (said, named, None)


def test_a_proof_must_name_its_service(tmp_path: Path) -> None:
    *_, sign = signing(tmp_path, audience="").adapt((PATH,), {"request_serializer": pb.Ask.SerializeToString})
    certificate: Any = None  # the registered key signs
    with pytest.raises(ConfigurationError, match="give connect\\(\\) the audience"):
        sign(pb.Ask(), certificate, None, None)


def test_the_serializer_may_be_given_by_position_or_by_name(tmp_path: Path) -> None:
    certificate: Any = None
    serializer = pb.Ask.SerializeToString
    made = (
        signing(tmp_path).adapt((PATH, serializer), {}),
        signing(tmp_path).adapt((PATH,), {"request_serializer": serializer}),
    )
    for said, named, sign in made:
        assert (said, named) == ((PATH, None), {})
        body, credentials = sign(pb.Ask(act="pay"), certificate, (), None)
        assert pb.Ask.FromString(body).act == "pay"
        assert isinstance(credentials, grpc.CallCredentials)


def test_each_attempt_has_a_proof_of_its_own(tmp_path: Path) -> None:
    signer = load_signer_of(tmp_path)
    made = [dict(signing(tmp_path).headers(signer, PATH, "digest", ""))["call-proof"] for _ in range(2)]
    claims = [jwt.decode(proof, options={"verify_signature": False}) for proof in made]
    assert claims[0]["jti"] != claims[1]["jti"]
    assert claims[0]["ath"] == claims[1]["ath"]


def load_signer_of(folder: Path) -> Any:
    (folder / "own.key").write_bytes(private_pem(new_key()))
    return load_signer(folder / "own.key", "own")
