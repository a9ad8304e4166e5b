"""The drills that there are, by name; each is told the same, and gives an outcome of the same form."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from secure_rpc.drills import (
    attacks,
    certificates,
    edges,
    federation,
    issuers,
    load,
    policies,
    rotation,
    stores,
    tokens,
)
from secure_rpc.drills.front import missing
from secure_rpc.drills.plan import Outcome, Plan


@dataclass(frozen=True, slots=True)
class Drill:
    """One that can be run."""

    description: str
    run: Callable[[Plan], Coroutine[Any, Any, Outcome]]
    missing: Callable[[], str] = lambda: ""  # what it needs and is not here, for people


DRILLS: Mapping[str, Drill] = {
    "rotation": Drill("certificates, CA, policy and workers are replaced under load, and no call fails", rotation.run),
    "certificate-expiry": Drill(
        "a certificate that nears its end wakes somebody, and a new one needs no restart", certificates.expiring
    ),
    "protocol-downgrade": Drill("nobody comes in by TLS 1.2, and who tries is seen", certificates.downgraded),
    "policy-misconfiguration": Drill(
        "a policy file that is wrong changes nothing, and is told", policies.misconfigured
    ),
    "policy-rollback": Drill("a candidate that shuts callers out takes itself back", policies.rolled_back),
    "token-forgery": Drill("forged tokens count nothing, and who tries them is found and shut out", tokens.forged),
    "token-expiry": Drill("a stream ends with its token, not later", tokens.ended),
    "key-compromise": Drill("a stolen key is refused once it is revoked, and its owner goes on", tokens.stolen),
    "clock-skew": Drill("tokens of an issuer whose clock is ahead are refused, and it is seen why", tokens.early),
    "replay": Drill("a captured call is taken once", attacks.replayed),
    "tenant-breach": Drill(
        "nobody gets at another tenant's things, and who tries is found and shut out", attacks.trespassing
    ),
    "loop-crash": Drill("a worker that ends is replaced, and calls go on", attacks.crashed),
    "issuer-slow": Drill("who is known goes on while the issuer is slow, who is not is refused", issuers.slow),
    "issuer-down": Drill("tokens go on for as long as its keys do, and a file gives them for longer", issuers.down),
    "load-flood": Drill("one address takes no more than its share, and who floods is found and shut out", load.flooded),
    "cors-failure": Drill(
        "a page that is not on the list of origins can call nothing, and it is seen why", edges.shut_out, missing
    ),
    "proxy-buffer-full": Drill(
        "callers of the edge that do not read cost it little, and others nothing", edges.unread, missing
    ),
    "store-outage": Drill("what may do without the shared store goes on while it is gone", stores.lost),
    "federation": Drill("two trust domains become partners, and let in whom they should", federation.run),
}
