"""What callers are told of their quotas in trailing metadata: `RateLimit` and `RateLimit-Policy` of the IETF's draft.

draft-ietf-httpapi-ratelimit-headers, as structured fields (RFC 9651); metadata keys are lower case in gRPC.
"""

from __future__ import annotations

import math

from secure_rpc.quota import Quota

POLICY_KEY, LIMIT_KEY = "ratelimit-policy", "ratelimit"


class QuotaFields:
    """The two fields of one quota.

    Args:
        quota_class: names the quota.
        quota: what it is.
    """

    def __init__(self, quota_class: str, quota: Quota) -> None:
        self._name = _string(quota_class)
        self._quota = quota
        seconds = math.ceil(quota.period_seconds)  # a whole number, as the draft has it
        calls = math.floor(quota.calls * seconds / quota.period_seconds)
        self._policy = (POLICY_KEY, f"{self._name};q={calls};w={seconds}")

    def refused(self, wait_seconds: float) -> tuple[tuple[str, str], ...]:
        """Return them for a call that is past the quota."""
        return self._policy, (LIMIT_KEY, f"{self._name};r=0;t={math.ceil(wait_seconds)}")

    def left(self, remaining: int) -> tuple[tuple[str, str], ...]:
        """Return them for a call that was counted."""
        full_seconds = math.ceil((self._quota.size - remaining) * self._quota.interval_seconds)
        return self._policy, (LIMIT_KEY, f"{self._name};r={remaining};t={max(full_seconds, 0)}")


def _string(text: str) -> str:
    """Return a string of a structured field: printable ASCII in quotes."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
