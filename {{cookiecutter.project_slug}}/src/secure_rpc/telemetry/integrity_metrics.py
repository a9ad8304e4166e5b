"""The numbers of signed calls and of encrypted fields: what became of the files of keys."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class IntegrityMetrics:
    """Changes of the files of keys.

    Args:
        registry: of the service.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reloads = Counter(
            "secure_rpc_integrity_key_reloads",
            "Changes of the file of signing keys or of the keyring, by whether they were taken up.",
            ("file", "result"),
            registry=registry,
        )
        for file in ("signing_keys", "keyring"):  # zeros show before the first
            for result in ("ok", "refused"):
                self._reloads.labels(file, result)

    def reloaded(self, file: str, *, good: bool) -> None:
        """Count a change."""
        self._reloads.labels(file, "ok" if good else "refused").inc()
