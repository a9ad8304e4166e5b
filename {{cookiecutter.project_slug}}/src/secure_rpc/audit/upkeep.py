"""The audit of a running service: opened as its settings say, and looked after once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from secure_rpc.audit.archive import Keeping
from secure_rpc.audit.chain_log import ChainLog, Pace
from secure_rpc.audit.checkpoints import signer
from secure_rpc.audit.events import Handshakes
from secure_rpc.audit.files import Anchor
from secure_rpc.audit.sealing import recipient
from secure_rpc.audit.settings import Audit

TICK_SECONDS = 1.0
HANDSHAKES_SECONDS = 60.0  # of which the failed handshakes make one event

log = structlog.get_logger("secure_rpc.audit")


def open_log(
    settings: Audit,
    *,
    on_written: Callable[[int], None] = lambda _: None,
    on_failure: Callable[[OSError], None] = lambda _: None,
    on_anchor: Callable[[Anchor], None] = lambda _: None,
    on_archive_failure: Callable[[], None] = lambda: None,
) -> ChainLog:
    """Open the log that the settings name; see `ChainLog` for those who are told.

    Raises:
        ConfigurationError: it cannot be opened, or a key cannot be read.
    """
    signing = signer(settings.checkpoint_key_file) if settings.checkpoint_key_file is not None else None
    to = recipient(settings.recipient_file) if settings.recipient_file is not None else None

    def tell_anchor(anchor: Anchor) -> None:
        log.info("audit anchor", chain=anchor.chain, seq=anchor.sequence, head=anchor.head, file=settings.file.name)
        on_anchor(anchor)

    return ChainLog(
        settings.file,
        pace=Pace(
            settings.checkpoint_records,
            settings.checkpoint_seconds,
            settings.anchor_seconds,
            settings.rotate_bytes,
            settings.rotate_seconds,
        ),
        keeping=Keeping(settings.retain_segments, settings.retain_seconds, settings.compress, to),
        signer=signing,
        on_written=on_written,
        on_failure=on_failure,
        on_anchor=tell_anchor,
        on_archive_failure=on_archive_failure,
    )


async def keep_up(
    chain_log: ChainLog, about: Mapping[str, Any], failed_handshakes: Callable[[], Mapping[str, int]]
) -> None:
    """Record that the service was started, do what is due until cancelled, and record that it stops.

    Args:
        chain_log: of the service.
        about: what runs: versions, policy, environment.
        failed_handshakes: gives how many failed so far, by reason.
    """
    handshakes = Handshakes(chain_log.note, failed_handshakes)
    chain_log.note("service_started", **about)
    ticks = 0
    try:
        while True:
            chain_log.tick()
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            if not ticks % round(HANDSHAKES_SECONDS / TICK_SECONDS):
                handshakes.tell(HANDSHAKES_SECONDS)
    finally:
        handshakes.tell(ticks * TICK_SECONDS % HANDSHAKES_SECONDS)
        chain_log.note("service_stopped")
