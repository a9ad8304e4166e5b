"""A worker without a service, for tests of the supervisor: it speaks the same lines, and dies as it is told.

Arguments: a folder. `plan.json` in it is what it says first; `lives.json` what becomes of the first, the second, ...
process that is started with the folder, the last of them being that of all later ones.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any


def number_of_this_start(folder: Path) -> int:
    number = 0
    while True:
        try:
            os.close(os.open(folder / f"start-{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            number += 1
        else:
            return number


def main() -> None:
    folder, fd = Path(sys.argv[1]), int(sys.argv[sys.argv.index("--control") + 1])
    lives = json.loads((folder / "lives.json").read_text())
    life = lives[min(number_of_this_start(folder), len(lives) - 1)]
    if "exit_at_once" in life:
        sys.exit(life["exit_at_once"])
    stream = socket.socket(fileno=fd).makefile("rwb")
    say(stream, {"plan": json.loads((folder / "plan.json").read_text())})
    told = json.loads(stream.readline() or "{}")
    if not told:
        sys.exit(0)
    if "refused" in told:
        (folder / "refused").write_text("\n".join(told["refused"]))
        sys.exit(78)
    if "exit_unready" in life:
        sys.exit(life["exit_unready"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN if life.get("deaf") else lambda *_: sys.exit(0))
    (folder / f"slot-{told['slot']}-{os.getpid()}").touch()
    say(stream, {"ready": os.getpid()})
    if "signal" in life:
        os.kill(os.getpid(), life["signal"])
    while life.get("deaf"):
        time.sleep(60)
    answer(stream, life)


def answer(stream: Any, life: dict[str, Any]) -> None:
    """Answer until told to stop."""
    while line := stream.readline():
        asked = json.loads(line)
        if asked["ask"] == "stop":
            break
        say(stream, {"id": asked["id"], "answer": life.get(asked["ask"], [])})
    say(stream, {"parting": life.get("metrics", [])})


def say(stream: Any, message: object) -> None:
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()


if __name__ == "__main__":
    main()
