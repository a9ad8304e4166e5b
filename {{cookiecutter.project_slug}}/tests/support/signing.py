"""Keys that sign calls, the file in which they are registered, and proofs that are made by hand."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from secure_rpc.identity.call_proof import PROOF_TYPE, digest_of
from secure_rpc.identity.signing_keys import algorithms_of


def new_key(kind: str = "ES256") -> Any:
    """Return a private key for an algorithm, or of a kind that is too weak."""
    if kind in {"PS256", "RS256", "RSA-1024"}:
        return rsa.generate_private_key(65537, 1024 if kind == "RSA-1024" else 2048)
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "P-521": ec.SECP521R1}
    return ec.generate_private_key(curves[kind]())


def private_pem(key: Any) -> bytes:
    """Return a private key as a file has it."""
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def public_pem(key: Any) -> str:
    """Return the public key of a private one, as the file of keys has it."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def write_keys(path: Path, entries: dict[str, dict[str, Any]]) -> Path:
    """Write a file of keys."""
    path.write_text(yaml.safe_dump({"keys": entries}))
    return path


def claims_of(path: str, audience: str, body: bytes, credential: str = "", **others: Any) -> dict[str, Any]:
    """Return what a sound proof says; others replace what it says, None takes it out."""
    claims = {
        "htm": path,
        "aud": audience,
        "bdh": digest_of(body),
        "iat": time.time(),
        "jti": secrets.token_urlsafe(16),
        "ath": digest_of(credential.encode()) if credential else None,
    }
    return {name: value for name, value in {**claims, **others}.items() if value is not None}


def proof_of(claims: Any, key: Any, algorithm: str = "", **header: Any) -> str:
    """Return a proof; header entries replace what it would say, None takes them out."""
    said = {"typ": PROOF_TYPE, **header}
    said = {name: value for name, value in said.items() if value is not None or name == "typ"}
    algorithm = algorithm or algorithms_of(key)[0]
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key, algorithm, said)
