"""The settings of the audit."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from secure_rpc.configuration import Section

MAX_CHECKPOINT_RECORDS = 10_000  # the tree over them is made in one turn of the event loop

Seconds = Annotated[float, Field(gt=0)]


class Durability(Enum):
    """When a reply may leave."""

    DEFERRED = "deferred"  # before its record is on disk; a crash can lose the last records, not change others
    DURABLE = "durable"  # after; many calls share one write


class Audit(Section):
    """Where records of calls are kept, for how long, and by what they can be trusted."""

    file: Path
    durability: Durability = Durability.DEFERRED
    refuse_when_unwritable: bool = True  # false lets calls pass that nobody will ever know of
    checkpoint_key_file: Path | None = None  # signs checkpoints; an Ed25519 key in PEM, or a secret for HMAC-SHA256
    checkpoint_records: int = Field(default=1000, ge=1, le=MAX_CHECKPOINT_RECORDS)  # at most between two of them
    checkpoint_seconds: Seconds = 60.0
    anchor_seconds: Seconds = 60.0  # between two log lines that say where the chain has come to
    rotate_bytes: int = Field(default=134_217_728, ge=4096)  # a file that is larger is closed
    rotate_seconds: Seconds = 86_400.0  # so is one that is older
    retain_segments: int = Field(default=0, ge=0)  # closed files that are kept; 0: all
    retain_seconds: float = Field(default=0.0, ge=0)  # for how long each of them is; 0: for ever
    compress: bool = True  # closed files
    recipient_file: Path | None = None  # an X25519 public key in PEM: closed files can be read by its owner alone
