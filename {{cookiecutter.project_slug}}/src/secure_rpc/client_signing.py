"""Signed calls, from the client's side: each attempt carries a fresh proof over the bytes that are sent."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.protobuf.descriptor import ServiceDescriptor

from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.call_proof import PROOF_TYPE, digest_of
from secure_rpc.identity.certificate import thumbprint_of
from secure_rpc.identity.signing_keys import REMEDY, algorithms_of
from secure_rpc.stages.authentication import API_KEY
from secure_rpc.stages.integrity import PROOF_KEY
from secure_rpc.tls.client_credentials import ClientCertificate
from secure_rpc.v1 import access_pb2

Headers: TypeAlias = tuple[tuple[str, str], ...]
Sign: TypeAlias = Callable[[Any, ClientCertificate, Any, grpc.CallCredentials | None], tuple[bytes, Any]]
NONCE_BYTES = 16
GENERATIONS = 4  # of the client's certificate, whose keys are kept ready


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key, and how proofs name it."""

    key: Any = field(repr=False)
    algorithm: str
    name: tuple[str, str]  # the header's entry: "kid" or "x5t#S256"

    def proof(self, path: str, audience: str, body_digest: str, credential: str) -> str:
        """Return a proof for one attempt.

        Args:
            path: of the method.
            audience: the name of the service.
            body_digest: of the request, as it is sent.
            credential: the bearer token or API key that is shown, "" for none.
        """
        claims = {
            "htm": path,
            "aud": audience,
            "bdh": body_digest,
            "iat": round(time.time(), 6),
            "jti": secrets.token_urlsafe(NONCE_BYTES),
        }
        if credential:
            claims["ath"] = digest_of(credential.encode())
        return jwt.encode(claims, self.key, self.algorithm, {"typ": PROOF_TYPE, self.name[0]: self.name[1]})


def load_signer(key_file: Path, key_id: str) -> Signer:
    """Return what signs with a key that is registered with the server.

    Args:
        key_file: PEM, not encrypted.
        key_id: as the server has it.

    Raises:
        ConfigurationError: the file cannot be read, or the key is no good.
    """
    if not key_id:
        raise ConfigurationError(f"{key_file} has no id; say signing_key_id, under which the server knows the key")
    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(f"{key_file} cannot be read ({error.strerror}); check the path") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{key_file} is no key that can be read: {error}") from None
    if not (algorithms := algorithms_of(key)):
        raise ConfigurationError(f"{key_file} cannot sign calls; {REMEDY}")
    return Signer(key, algorithms[0], ("kid", key_id))


@lru_cache(GENERATIONS)
def _certificate_signer(certificate: ClientCertificate) -> Signer:
    leaf = x509.load_pem_x509_certificates(certificate.chain_pem)[0]
    key = load_pem_private_key(certificate.key_pem, password=None)
    if not (algorithms := algorithms_of(key)):
        raise ConfigurationError(f"the certificate's key cannot sign calls; {REMEDY}")
    return Signer(key, algorithms[0], ("x5t#S256", thumbprint_of(leaf)))


class CallSigning:
    """Signs the calls of the methods that ask for it.

    Args:
        services: those that will be called.
        audience: the name of the service, as its settings have it.
        headers_of: gives the other credentials of an attempt, by "package.Service/Method".
        signer: the registered key; None for that of the certificate.
    """

    def __init__(
        self,
        services: Iterable[ServiceDescriptor],
        audience: str,
        headers_of: Callable[[str], Headers],
        signer: Signer | None,
    ) -> None:
        self._methods = signed(services)
        self._audience = audience
        self._headers_of = headers_of
        self._signer = signer

    def adapt(self, said: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """Return how gRPC's callable is to be made, and what signs its calls: None where the method asks for none.

        Args:
            said: the arguments of `grpc.aio.Channel.unary_unary` and its like, by position.
            named: those by name.
        """
        path = said[0]
        if path.lstrip("/") not in self._methods:
            return said, named, None
        serializer = said[1] if len(said) > 1 else named.get("request_serializer")
        # what is signed is what is sent: nothing else makes bytes of the request
        plain = (path, None, *said[2:]), {name: each for name, each in named.items() if name != "request_serializer"}
        return *plain, self._sign_with(path, serializer)

    def _sign_with(self, path: str, serializer: Callable[[Any], bytes] | None) -> Sign:
        def sign(
            request: Any, certificate: ClientCertificate, metadata: Any, credentials: grpc.CallCredentials | None
        ) -> tuple[bytes, grpc.CallCredentials]:
            if not self._audience:
                raise ConfigurationError(
                    f"{path} takes signed calls alone, and a proof names its service: give connect() the audience, "
                    "which is service.name in the server's settings"
                )
            body = serializer(request) if serializer else request
            signer = self._signer or _certificate_signer(certificate)
            plugin = _FreshProofs(self, signer, path, digest_of(body), _credential(metadata or ()))
            proofs = grpc.metadata_call_credentials(plugin)
            return body, grpc.composite_call_credentials(credentials, proofs) if credentials else proofs

        return sign

    def headers(self, signer: Signer, path: str, body_digest: str, credential: str) -> Headers:
        """Return what an attempt carries: credentials, and the proof that names them."""
        others = self._headers_of(path.lstrip("/"))
        proof = signer.proof(path, self._audience, body_digest, credential or _credential(others))
        return (*others, (PROOF_KEY, proof))


class _FreshProofs(grpc.AuthMetadataPlugin):
    """The proofs of one call: gRPC asks for one for each attempt, so that a retry of its own is no replay."""

    def __init__(self, signing: CallSigning, *of_call: Any) -> None:
        self._signing = signing
        self._of_call = of_call

    def __call__(self, _context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            metadata = self._signing.headers(*self._of_call)
        except Exception as error:  # noqa: BLE001  # gRPC ends the call with it; raised here it would be lost
            callback((), error)
        else:
            callback(metadata, None)


def signed(services: Iterable[ServiceDescriptor]) -> frozenset[str]:
    """Return the methods that take signed calls alone, as "package.Service/Method"."""
    return frozenset(
        f"{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if method.GetOptions().Extensions[access_pb2.access].signed
    )


def _credential(headers: Iterable[tuple[str, Any]]) -> str:
    """Return the bearer token among headers, else the API key."""
    found = {key.lower(): value for key, value in headers}
    token: str = found.get("authorization", "").partition(" ")[2]
    return token or str(found.get(API_KEY, ""))
