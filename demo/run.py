"""`make demo`: from nothing to a secured service, seen from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "demo"
SERVICE = FOLDER / "order-service"
COMMAND = SERVICE / ".venv" / "bin" / "order-service"
START_SECONDS = 30.0
WHO = {
    "alice": "alice, admin",
    "bob": "bob, reader",
    "carol": "carol, of globex",
    "": "without token",
}

console = Console(highlight=False, soft_wrap=True)


class DemonstrationError(Exception):
    """The demonstration did not show what it should."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    started = time.monotonic()
    console.print(f"[bold]{what}[/bold] ...", end=" ")
    yield
    console.print(f"[green]done[/green] in {time.monotonic() - started:.1f} s")


def run(*command: str | Path, folder: Path = SERVICE) -> str:
    """Return what a command prints; end the demonstration where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemonstrationError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def start() -> tuple[subprocess.Popen[str], str]:
    """Start the service on free ports; return its process and where it listens."""
    environment = {
        **os.environ,
        "SECURE_RPC_LISTEN__ADDRESS": "127.0.0.1:0",
        "SECURE_RPC_LISTEN__ADMIN_ADDRESS": "127.0.0.1:0",
        "SECURE_RPC_LOGGING__FORMAT": "json",
    }
    process = subprocess.Popen(
        [COMMAND, "serve"], cwd=SERVICE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: Queue[str] = Queue()
    threading.Thread(target=_forward, args=(process, lines), daemon=True).start()
    seen = []
    try:
        while process.poll() is None or not lines.empty():
            line = lines.get(timeout=START_SECONDS)
            seen.append(line)
            if line.startswith("{") and json.loads(line).get("event") == "serving":
                return process, str(json.loads(line)["address"])
    except Empty:
        process.kill()
    raise DemonstrationError("the service did not start:\n" + "".join(seen))


def _forward(process: subprocess.Popen[str], lines: Queue[str]) -> None:
    for line in process.stdout or ():
        lines.put(line)


def show_calls(calls: list[dict[str, str]]) -> None:
    """Print who may do what, and why not."""
    title = "Four callers, five methods, the data of tenant acme"
    table = Table("caller", "method", "kind", "decision", "reason", title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    before = None
    for call in calls:
        if before not in {None, call["caller"]}:
            table.add_section()
        decision = "[green]allowed[/green]" if call["code"] == "OK" else "[red]refused[/red]"
        caller = WHO[call["caller"]] if call["caller"] != before else ""
        table.add_row(caller, call["method"], call["kind"], decision, call["reason"])
        before = call["caller"]
    console.print(table)


def show_transport(attempts: list[dict[str, str]]) -> None:
    """Print who gets no connection at all."""
    table = Table(
        "attempt", "result", title="Below the calls: who gets a connection", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for tried in attempts:
        colour = "green" if tried["result"] == "connected" else "red"
        table.add_row(tried["attempt"], f"[{colour}]{tried['result']}[/{colour}]")
    console.print(table)


def check(calls: list[dict[str, str]], attempts: list[dict[str, str]]) -> None:
    """Hold what was seen against what must be."""
    allowed = [(call["caller"], call["method"]) for call in calls if call["code"] == "OK"]
    wanted = [("alice", call["method"]) for call in calls if call["caller"] == "alice"]
    wanted += [("bob", "GetOrder"), ("bob", "WatchOrders"), ("bob", "SyncOrders")]
    if allowed != wanted:
        raise DemonstrationError(f"allowed were {allowed}, should be {wanted}")
    connected = [tried["attempt"] for tried in attempts if tried["result"] == "connected"]
    if connected != ["TLS 1.3, good certificate"]:
        raise DemonstrationError(f"a connection was had by {connected}")


def show_audit(calls: list[dict[str, Any]]) -> None:
    """Verify the audit log and hold its records against the calls, one for one."""
    log = SERVICE / "build" / "audit" / "audit.log"
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    recorded = [
        (line["subject"], line["method"].rpartition("/")[2], line["code"]) for line in lines if line["event"] == "call"
    ]
    made = [(call["caller"], call["method"], call["code"]) for call in calls]
    # the caller ends its watch after the first message: to the server that is a cancelled call
    made = [(who, what, "CANCELLED" if (what, code) == ("WatchOrders", "OK") else code) for who, what, code in made]
    if recorded != made:
        raise DemonstrationError(f"recorded: {recorded}\nmade: {made}")
    console.print(f"[bold]audit[/bold]: {len(made)} calls made, {len(recorded)} records, one for each, in order")
    console.print("       " + run(COMMAND, "audit", "verify").strip())


def main() -> None:
    """Show it all."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with step("generate a service (make bake NAME='Order Service')"):
        environment = {**os.environ, "NAME": "Order Service", "OUT": str(FOLDER)}
        subprocess.run(
            [sys.executable, ROOT / "tools" / "bake.py"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
    with step("set it up: environment, generated code, development CA (make setup)"):
        run("make", "-s", "setup")
    with step("start it, with mTLS (make run)"):
        process, address = start()
    try:
        with step("call it, from another process"):
            python = SERVICE / ".venv" / "bin" / "python"
            folder, callers = SERVICE / ".dev", SERVICE / "config" / "dev_callers.yaml"
            told = run(python, ROOT / "demo" / "calls.py", "order_service", address, folder, callers).splitlines()
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    seen = [json.loads(line) for line in told]
    calls = [line for line in seen if "method" in line]
    attempts = [line for line in seen if "attempt" in line]
    show_calls(calls)
    show_transport(attempts)
    check(calls, attempts)
    show_audit(calls)
    if code:
        raise DemonstrationError(f"the service ended with exit code {code}")
    console.print("[bold]stopped[/bold]: SIGTERM, exit code 0")
    console.print(
        f"\nThe service is in {SERVICE.relative_to(ROOT)}: cd there, then `make run`, and `make call` beside it."
    )


if __name__ == "__main__":
    try:
        main()
    except DemonstrationError as error:
        console.print(f"[red]FAILED[/red] {error}", markup=True)
        sys.exit(1)
