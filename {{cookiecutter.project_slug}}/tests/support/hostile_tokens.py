"""Access tokens that nobody should believe; each attack makes one out of the parts of a sound one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

from secure_rpc.dev.issuer import TokenIssuer

Json: TypeAlias = Mapping[str, Any]
Attack: TypeAlias = "Callable[[Parts], str]"

HOUR = 3600
OTHER_ISSUER = "https://evil.example.org"


class Parts(NamedTuple):
    """What a token is made of."""

    issuer: TokenIssuer
    header: dict[str, Any]
    claims: dict[str, Any]

    def signed(self, header: Json | None = None, claims: Json | None = None) -> str:
        """Return a token with some entries replaced, or left out by None, signed by the issuer with ES256."""
        signing_input = self.unsigned(header, claims)
        return f"{signing_input}.{b64(es256(self.issuer.key, signing_input))}"

    def unsigned(self, header: Json | None = None, claims: Json | None = None) -> str:
        """Return the first two parts."""
        return f"{part(replaced(self.header, header))}.{part(replaced(self.claims, claims))}"


def parts_of(issuer: TokenIssuer, caller: str = "alice") -> Parts:
    """Return what a sound token consists of."""
    now = int(time.time())
    claims = {"iss": issuer.issuer, "sub": caller, "aud": issuer.audience, "iat": now, "exp": now + HOUR}
    header = {"alg": "ES256", "typ": "at+jwt", "kid": issuer.key_id}
    return Parts(issuer, header, {**claims, "tenant": ["acme"], "groups": ["callers"]})


def claims_of(token: str) -> dict[str, Any]:
    """Return what a token says."""
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(content: Json | str) -> str:
    """Return one part of a token."""
    return b64((content if isinstance(content, str) else json.dumps(content)).encode("utf-8", "surrogatepass"))


def replaced(usual: Json, other: Json | None) -> dict[str, Any]:
    """Return a map with entries replaced; None leaves one out."""
    return {key: value for key, value in {**usual, **(other or {})}.items() if value is not None}


def es256(key: ec.EllipticCurvePrivateKey, signing_input: str) -> bytes:
    """Return a signature in the form of RFC 7518, section 3.4, on whatever curve the key is."""
    size = (key.curve.key_size + 7) // 8
    r, s = decode_dss_signature(key.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def hs256(secret: bytes, signing_input: str) -> str:
    """Return a whole token, signed with a secret."""
    return f"{signing_input}.{b64(hmac.new(secret, signing_input.encode(), hashlib.sha256).digest())}"


# --- algorithms ------------------------------------------------------------------------------------------------


def without_algorithm(name: str, *, keep_signature: bool = False) -> Attack:
    def forge(parts: Parts) -> str:
        signature = parts.signed().rpartition(".")[2] if keep_signature else ""
        return f"{parts.unsigned({'alg': name})}.{signature}"

    return forge


def signed_with_the_public_key_as_secret(encoding: Encoding, algorithm: str = "HS256") -> Attack:
    """RFC 8725, section 2.1: a verifier that lets the token choose would take the public key for a shared secret."""

    def forge(parts: Parts) -> str:
        public = parts.issuer.key.public_key()
        form = PublicFormat.UncompressedPoint if encoding is Encoding.X962 else PublicFormat.SubjectPublicKeyInfo
        return hs256(public.public_bytes(encoding, form), parts.unsigned({"alg": algorithm}))

    return forge


def signed_with_the_jwk_as_secret(parts: Parts) -> str:
    [jwk] = parts.issuer.jwks()["keys"]
    return hs256(json.dumps(jwk).encode(), parts.unsigned({"alg": "HS256"}))


def signed_with_an_empty_secret(parts: Parts) -> str:
    return hs256(b"", parts.unsigned({"alg": "HS256"}))


ALGORITHMS: dict[str, tuple[Attack, str]] = {
    **{
        f"alg {name}": (without_algorithm(name), "TOKEN_ALGORITHM_REFUSED") for name in ("none", "None", "NONE", "nOnE")
    },
    "alg none, signature kept": (without_algorithm("none", keep_signature=True), "TOKEN_ALGORITHM_REFUSED"),
    "alg empty": (without_algorithm(""), "TOKEN_ALGORITHM_REFUSED"),
    "alg missing": (lambda parts: parts.signed({"alg": None}), "TOKEN_ALGORITHM_REFUSED"),
    "alg a list": (lambda parts: parts.signed({"alg": ["ES256"]}), "TOKEN_ALGORITHM_REFUSED"),
    "alg a map": (lambda parts: parts.signed({"alg": {"ES256": 1}}), "TOKEN_ALGORITHM_REFUSED"),
    "alg a number": (lambda parts: parts.signed({"alg": 256}), "TOKEN_ALGORITHM_REFUSED"),
    "alg in lower case": (lambda parts: parts.signed({"alg": "es256"}), "TOKEN_ALGORITHM_REFUSED"),
    "alg of another family": (lambda parts: parts.signed({"alg": "RS256"}), "TOKEN_ALGORITHM_REFUSED"),
    "alg stronger than allowed": (lambda parts: parts.signed({"alg": "ES384"}), "TOKEN_ALGORITHM_REFUSED"),
    "HS256 by the public key in PEM": (signed_with_the_public_key_as_secret(Encoding.PEM), "TOKEN_ALGORITHM_REFUSED"),
    "HS256 by the public key in DER": (signed_with_the_public_key_as_secret(Encoding.DER), "TOKEN_ALGORITHM_REFUSED"),
    "HS256 by the public point": (signed_with_the_public_key_as_secret(Encoding.X962), "TOKEN_ALGORITHM_REFUSED"),
    "HS256 by the JWK": (signed_with_the_jwk_as_secret, "TOKEN_ALGORITHM_REFUSED"),
    "HS256 by an empty secret": (signed_with_an_empty_secret, "TOKEN_ALGORITHM_REFUSED"),
    "HS256 under the name of ES256": (
        signed_with_the_public_key_as_secret(Encoding.PEM, algorithm="ES256"),
        "TOKEN_SIGNATURE_WRONG",
    ),
}


# --- keys ------------------------------------------------------------------------------------------------------


def signed_by_another_key(curve: ec.EllipticCurve, **header: Any) -> Attack:
    """Signed by a key of the attacker's, under the id of the issuer's unless the header says otherwise."""

    def forge(parts: Parts) -> str:
        signing_input = parts.unsigned(header)
        return f"{signing_input}.{b64(es256(ec.generate_private_key(curve), signing_input))}"

    return forge


def signed_by_the_key_it_brings(parts: Parts) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    signing_input = parts.unsigned({"jwk": {**jwk, "kid": parts.issuer.key_id}})
    return f"{signing_input}.{b64(es256(key, signing_input))}"


def with_key_id(key_id: object) -> Attack:
    return lambda parts: parts.signed({"kid": key_id})


P256, JWKS_URL = ec.SECP256R1(), f"{OTHER_ISSUER}/jwks.json"

KEYS: dict[str, tuple[Attack, str]] = {
    "another key under our kid": (signed_by_another_key(P256), "TOKEN_SIGNATURE_WRONG"),
    "another key under its own kid": (signed_by_another_key(P256, kid="evil"), "TOKEN_KEY_UNKNOWN"),
    "a key on P-384 under our kid": (signed_by_another_key(ec.SECP384R1()), "TOKEN_SIGNATURE_WRONG"),
    "a key on secp256k1 under our kid": (signed_by_another_key(ec.SECP256K1()), "TOKEN_SIGNATURE_WRONG"),
    "the key in the header, jwk": (signed_by_the_key_it_brings, "TOKEN_SIGNATURE_WRONG"),
    "the key by address, jku": (signed_by_another_key(P256, jku=JWKS_URL), "TOKEN_SIGNATURE_WRONG"),
    "the key by address, jku alone": (signed_by_another_key(P256, jku=JWKS_URL, kid=None), "TOKEN_KEY_UNKNOWN"),
    "the key in a chain, x5c": (signed_by_another_key(P256, x5c=["MIIB"]), "TOKEN_SIGNATURE_WRONG"),
    "the chain by address, x5u": (signed_by_another_key(P256, x5u=JWKS_URL), "TOKEN_SIGNATURE_WRONG"),
    "kid missing": (with_key_id(None), "TOKEN_KEY_UNKNOWN"),
    "kid empty": (with_key_id(""), "TOKEN_KEY_UNKNOWN"),
    "kid unknown": (with_key_id("unknown"), "TOKEN_KEY_UNKNOWN"),
    "kid a path": (with_key_id("../../../../dev/null"), "TOKEN_KEY_UNKNOWN"),
    "kid SQL": (with_key_id("' UNION SELECT 'key"), "TOKEN_KEY_UNKNOWN"),
    "kid a number": (with_key_id(0), "TOKEN_MALFORMED"),
    "kid a list": (with_key_id(["a"]), "TOKEN_MALFORMED"),
    "kid a map": (with_key_id({"a": 1}), "TOKEN_MALFORMED"),
    "kid true": (with_key_id(True), "TOKEN_MALFORMED"),  # noqa: FBT003
}


# --- the token as a whole --------------------------------------------------------------------------------------


def altered_signature(change: Callable[[bytes], bytes]) -> Attack:
    def forge(parts: Parts) -> str:
        signing_input, _, signature = parts.signed().rpartition(".")
        return f"{signing_input}.{b64(change(base64.urlsafe_b64decode(signature + '==')))}"

    return forge


def altered_claims(parts: Parts) -> str:
    header, _, signature = parts.signed().split(".")
    return f"{header}.{part({**parts.claims, 'sub': 'admin'})}.{signature}"


def altered_header(parts: Parts) -> str:
    _, claims, signature = parts.signed().split(".")
    return f"{part({**parts.header, 'x': 1})}.{claims}.{signature}"


def with_more_parts(parts: Parts) -> str:
    """Five parts, as an encrypted token has (RFC 7516)."""
    return f"{part({'alg': 'dir', 'enc': 'A128GCM'})}..{b64(b'iv')}.{parts.signed().split('.')[1]}.{b64(b'tag')}"


FORMS: dict[str, tuple[Attack, str]] = {
    "one bit of the signature flipped": (
        altered_signature(lambda signature: signature[:-1] + bytes([signature[-1] ^ 1])),
        "TOKEN_SIGNATURE_WRONG",
    ),
    "signature cut": (altered_signature(lambda signature: signature[:32]), "TOKEN_SIGNATURE_WRONG"),
    "signature doubled": (altered_signature(lambda signature: signature * 2), "TOKEN_SIGNATURE_WRONG"),
    "signature all zero": (altered_signature(lambda _: bytes(64)), "TOKEN_SIGNATURE_WRONG"),  # CVE-2022-21449
    "signature empty": (lambda parts: parts.unsigned() + ".", "TOKEN_SIGNATURE_WRONG"),
    "signature left out": (lambda parts: parts.unsigned(), "TOKEN_MALFORMED"),
    "claims altered": (altered_claims, "TOKEN_SIGNATURE_WRONG"),
    "header altered": (altered_header, "TOKEN_SIGNATURE_WRONG"),
    "encrypted": (with_more_parts, "TOKEN_MALFORMED"),
    "a dot at the end": (lambda parts: parts.signed() + ".", "TOKEN_MALFORMED"),
    "a dot in front": (lambda parts: "." + parts.signed(), "TOKEN_MALFORMED"),
    "a comma and a second one": (lambda parts: f"{parts.signed()},{parts.signed()}", "TOKEN_MALFORMED"),
    "dots alone": (lambda _: "..", "TOKEN_MALFORMED"),
    "garbage": (lambda _: "garbage", "TOKEN_MALFORMED"),
    "three parts of garbage": (lambda _: "gar.bage.!!!", "TOKEN_MALFORMED"),
    "claims a list": (lambda parts: f"{part(parts.header)}.{part('[]')}.{b64(b'x')}", "TOKEN_MALFORMED"),
    "claims a number": (lambda parts: f"{part(parts.header)}.{part('1')}.{b64(b'x')}", "TOKEN_MALFORMED"),
    "header a list": (lambda parts: f"{part('[]')}.{part(parts.claims)}.{b64(b'x')}", "TOKEN_MALFORMED"),
    "header of a thousand brackets": (lambda parts: f"{part('[' * 1500)}.{part(parts.claims)}.x", "TOKEN_MALFORMED"),
    "claims of a thousand brackets": (lambda parts: f"{part(parts.header)}.{part('[' * 1500)}.x", "TOKEN_MALFORMED"),
    "a number too long to read": (lambda parts: f"{part(parts.header)}.{part('1' * 5000)}.x", "TOKEN_MALFORMED"),
    "larger than a token may be": (lambda parts: parts.signed(claims={"padding": "x" * 8000}), "TOKEN_TOO_LARGE"),
    "crit unknown": (lambda parts: parts.signed({"crit": ["exp-not"], "exp-not": 1}), "TOKEN_MALFORMED"),
    "crit empty": (lambda parts: parts.signed({"crit": []}), "TOKEN_MALFORMED"),
    "payload not encoded": (lambda parts: parts.signed({"b64": False, "crit": ["b64"]}), "TOKEN_MALFORMED"),
    "typ missing": (lambda parts: parts.signed({"typ": None}), "TOKEN_TYPE_WRONG"),
    "typ of an ID token": (lambda parts: parts.signed({"typ": "JWT"}), "TOKEN_TYPE_WRONG"),
    "typ of a logout token": (lambda parts: parts.signed({"typ": "logout+jwt"}), "TOKEN_TYPE_WRONG"),
    "typ a list": (lambda parts: parts.signed({"typ": ["at+jwt"]}), "TOKEN_TYPE_WRONG"),
}
