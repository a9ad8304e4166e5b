"""When a certificate is to be renewed."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509

RENEW_BEFORE = timedelta(days=14)  # and no sooner than in the last third of a certificate's life


def renewal_due(certificate: x509.Certificate) -> datetime:
    """Return from when on a certificate is to be renewed."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return end - min(RENEW_BEFORE, (end - begin) / 3)
