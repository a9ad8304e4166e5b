"""What it costs to tell who calls: a principal that is known already, and tokens that are verified anew.

Run by the service's own Python; prints JSON. Each is timed hot, in a loop, and cold, after other memory went through
the processor's caches, as it does between two calls of a loaded server.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.principal import Credential, Identities, Shown
from secure_rpc.identity.tokens import TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ISSUER, AUDIENCE = "https://issuer.example.org", "orders"
ROUNDS = 400
POLLUTION = bytearray(8_000_000)  # more than a core's own caches hold
LINE = 64

KEYS: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
}


def pollute() -> None:
    """Send other memory through the caches."""
    for place in range(0, len(POLLUTION), LINE):
        POLLUTION[place] = 1


async def cost(work: Callable[[], Awaitable[object]], *, cold: bool) -> float:
    """Return the median CPU time of some work, in microseconds."""
    taken = []
    for _ in range(ROUNDS // 4 if cold else ROUNDS):
        if cold:
            pollute()
        started = time.thread_time_ns()
        await work()
        taken.append((time.thread_time_ns() - started) / 1000)
    return statistics.median(taken)


async def measure(algorithm: str, folder: Path) -> dict[str, float]:
    """Return what a token of an algorithm costs, and a principal that is known."""
    key = KEYS[algorithm]()
    public: Any = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    document = folder / f"{algorithm}.json"
    document.write_text(json.dumps({"keys": [{**public, "kid": "k", "use": "sig", "alg": algorithm}]}))
    issuer = Issuer(issuer=ISSUER, jwks_file=document, audiences=(AUDIENCE,), algorithms=(algorithm,))
    tokens = TokenVerifier((issuer,))
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 3600, "tenant": ["acme"]}
    token = jwt.encode(claims, key, algorithm, {"typ": "at+jwt", "kid": "k"})
    leaf = Authority.create("CA").issue(client_request("client", "example.org"))
    identities = Identities(certificate_reader("example.org"), tokens, None, {Credential.BOTH})
    shown = Shown(leaf.certificate_pem, b"", f"Bearer {token}", "")
    await identities.verify(shown)

    async def known() -> object:
        # what a call shows is new bytes each time, hashed each time
        return identities.known(Shown(bytes(bytearray(shown[0])), b"", "".join(shown[2]), ""))

    async def verify() -> object:
        return await tokens.verify(token)

    works = {"known": known, "verified": verify}
    found = {}
    for name, work in works.items():
        found[f"{name}, hot"] = await cost(work, cold=False)
        found[f"{name}, cold"] = await cost(work, cold=True)
    await tokens.close()
    return found


async def main() -> None:
    """Measure every algorithm."""
    with tempfile.TemporaryDirectory() as folder:
        results = {algorithm: await measure(algorithm, Path(folder)) for algorithm in KEYS}
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
