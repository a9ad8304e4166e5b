"""How long a log takes to verify, and what a line of it costs to make: `python -m benchmarks.audit [RECORDS]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from secure_rpc.audit.chain import GENESIS, Chain
from secure_rpc.audit.checking import Signatures
from secure_rpc.audit.checkpoints import Secret
from secure_rpc.audit.files import Anchor, anchor_of
from secure_rpc.audit.record import content_of
from secure_rpc.audit.verify import verify
from secure_rpc.call import Principal
from secure_rpc.observing import CallRecord

RECORDS = 1_000_000
CHECKPOINT_RECORDS = 1000
KEY = Secret(b"k" * 32)
WHO = Principal("spiffe://example.org/a", "https://issuer.example.org", "alice", proofs=("token",))


def record(number: int) -> CallRecord:
    """Return one of a usual call."""
    return CallRecord(
        1_767_225_600.0 + number,
        f"{number:032x}",
        "/things.v1.Things/Get",
        "unary",
        WHO,
        WHO.workload,
        "acme",
        "readers",
        "ipv4:127.0.0.1:50000",
        "OK",
        "",
        0.0015,
    )


def write(path: Path, count: int) -> float:
    """Write a log with checkpoints; return the seconds of CPU that it took."""
    chain = Chain(Anchor("0" * 16, 0, GENESIS), KEY, [], time.time)
    began = time.process_time()
    with path.open("wb") as file:
        for number in range(count):
            file.write(chain.line(content_of(record(number))) + b"\n")
            if chain.unsigned > CHECKPOINT_RECORDS or number == count - 1:
                file.write((chain.checkpoint() or b"") + b"\n")
    anchor_of(path).write_bytes(chain.last.encoded())
    return time.process_time() - began


def main(count: int = RECORDS) -> None:
    """Measure, and print what was found."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.log"
        seconds = write(path, count)
        sys.stdout.write(f"{count:,} records made in {seconds:.1f} s of CPU: {seconds / count * 1e6:.1f} us each\n")
        began = time.perf_counter()
        finding = verify(path, signatures=Signatures([KEY]))
        seconds = time.perf_counter() - began
        if finding.problem or finding.records != count:
            raise AssertionError(finding)
        sys.stdout.write(
            f"{finding.lines:,} lines verified in {seconds:.1f} s: {finding.lines / seconds:,.0f} a second\n"
        )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
