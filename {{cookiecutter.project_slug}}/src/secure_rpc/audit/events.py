"""What is done to a service, told to its audit: reloads, revocations, policies, failed handshakes, what runs."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import secure_rpc

Key = tuple[str, str, str]  # of what is revoked: kind, issuer, name

MAX_NAMED = 50  # revocations that an event names; all are counted
REPEAT_SECONDS = 60.0  # within which the same refusal is told once, and counted


class Events:
    """Make events of what is told by callbacks.

    Args:
        note: records an event, see `ChainLog.note`.
        clock: gives seconds that only grow.
    """

    def __init__(self, note: Callable[..., None], clock: Callable[[], float] = time.monotonic) -> None:
        self._note = note
        self._clock = clock
        self._refused: dict[str, tuple[float, int]] = {}  # by event: when it was told last, and how often not since
        self._revoked: dict[str, frozenset[Key]] = {}
        self._policy = ("", "")  # the active one and the candidate
        self._tried = ""  # the last candidate, also after its rollout has ended

    def reloaded(self, what: str, *, good: bool, **fields: Any) -> None:
        """Record that files have changed, and whether they were taken up.

        Args:
            what: was read, such as "certificates".
            good: whether it was taken up; where not, what was before goes on.
            fields: what is in force now.
        """
        event = f"{what}_reloaded"
        if good:
            self._refused.pop(event, None)
            self._note(event, result="ok", **fields)
            return
        told, unsaid = self._refused.get(event, (float("-inf"), 0))
        if self._clock() - told < REPEAT_SECONDS:  # a file that stays wrong is looked at every second
            self._refused[event] = told, unsaid + 1
            return
        self._refused[event] = self._clock(), 0
        self._note(event, result="refused", **({"unsaid": unsaid} if unsaid else {}), **fields)

    def known_revoked(self, source: str, keys: Collection[Key]) -> None:
        """Take what a list revokes as known, such as at the start."""
        self._revoked[source] = frozenset(keys)

    def revoked(self, source: str, keys: Collection[Key]) -> None:
        """Record what a list revokes that it did not revoke before, and what it does no more."""
        before, now = self._revoked.get(source, frozenset()), frozenset(keys)
        self._revoked[source] = now
        for event, changed in (("revoked", now - before), ("revocation_ended", before - now)):
            if changed:
                named = [{"kind": kind, "issuer": issuer, "name": name} for kind, issuer, name in sorted(changed)]
                self._note(event, source=source, count=len(changed), named=named[:MAX_NAMED])

    def policy_reloaded(self, *, good: bool, version: str, candidate: str, percent: float) -> None:
        """Record what became of a change of the policy's files.

        Args:
            good: whether it was taken up.
            version: of the policy that decides now.
            candidate: version of the one beside it, "" where there is none.
            percent: share of callers that the candidate decides for.
        """
        before, candidate_before = self._policy
        fields = {"policy": version, "candidate": candidate, "percent": percent}
        self.reloaded("policy", good=good, **fields)
        self._policy = version, candidate
        if good and before and version != before:
            event = "policy_promoted" if version == self._tried else "policy_changed"
            self._note(event, policy=version, before=before)
        self._tried = candidate or self._tried
        if good and candidate != candidate_before:
            event = "policy_rollout_begun" if candidate else "policy_rollout_ended"
            self._note(event, policy=version, candidate=candidate or candidate_before, percent=percent)

    def known_policy(self, version: str) -> None:
        """Take a policy as the one that decides at the start."""
        self._policy = version, ""

    def policy_rolled_back(self, candidate: str) -> None:
        """Record that a candidate decides for nobody any more."""
        self._note("policy_rolled_back", candidate=candidate)


class Handshakes:
    """Make one event of all handshakes that failed since the one before.

    Args:
        note: records an event.
        counts: gives how many failed so far, by reason.
    """

    def __init__(self, note: Callable[..., None], counts: Callable[[], Mapping[str, int]]) -> None:
        self._note = note
        self._counts = counts
        self._told: dict[str, int] = {}

    def tell(self, interval_seconds: float) -> None:
        """Record those of an interval; a flood of them is one line."""
        counts = dict(self._counts())
        since = {reason: count - self._told.get(reason, 0) for reason, count in counts.items()}
        self._told = counts
        if failed := {reason: count for reason, count in since.items() if count}:
            self._note("handshakes_failed", failed=failed, interval_seconds=interval_seconds)


def versions(distributions: Collection[str] = ("grpcio", "cryptography", "protobuf")) -> dict[str, str]:
    """Return what runs: the platform by its own digests, the interpreter, the libraries that decide about safety."""
    found = {"platform": _platform_digest(), "python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # not installed as a distribution
            found[name] = "unknown"
    return found


def _platform_digest() -> str:
    """Return what tells one version of the platform's files from another."""
    noted = Path(secure_rpc.__file__).with_name("wall.sha256")
    return hashlib.sha256(noted.read_bytes()).hexdigest()[:12] if noted.exists() else "unknown"
