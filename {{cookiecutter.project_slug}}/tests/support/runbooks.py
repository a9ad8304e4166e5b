"""The runbooks as tests read them: pages, their sections, and the commands that stand in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path("runbooks")
SHELL = FOLDER / "shell.sh"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Verify", "Escalation"]
PROCEDURES = frozenset({
    "audit-chain-broken",
    "ca-rotation",
    "certificate-rotation",
    "emergency-token-revocation",
    "issuer-keys-outage",
    "key-compromise",
    "policy-rollback",
    "quota-emergency",
    "restore-from-nothing",
    "revocation",
    "store-outage",
})  # fmt: skip
GENERAL = frozenset({"README", "game-day", "postmortem", "routines"})
KINDS = frozenset({"sh local", "sh local destructive", "sh named", "sh cluster", "text", "promql", "yaml", "markdown"})
DRILL = re.compile(r" drill=(\S+)")  # in a fence: the drill that runs the block
FENCE = re.compile(r"^( *)```(.*)$")
# how a command of the service begins: locally, in a pod, in all of them
OWN_COMMAND = re.compile(r'(?:"\$SERVICE"|\bin_pod|\beach_pod) +([a-z].*?)(?= *(?:[|;<>)]|&&|$))', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: where it stands.
        line: of its fence.
        kind: its info string without its drills: "sh local", "sh local destructive", "sh cluster", "sh named" (the
            reader says of whom; a drill runs it), or what else it is.
        text: what is in it.
        seen: what should be seen of it: the block `text` that follows it at once; `...` is any text.
        drills: that run it.
    """

    page: str
    line: int
    kind: str
    text: str
    seen: str = ""
    drills: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Return where it stands, for people."""
        return f"{self.page}.md:{self.line}"

    @property
    def is_run(self) -> bool:
        """Tell whether it is for the service of this machine."""
        return self.kind in {"sh local", "sh local destructive"}

    def own_commands(self) -> Iterator[list[str]]:
        """Yield the arguments of each command of the service in it."""
        for found in OWN_COMMAND.finditer(self.text.replace("\\\n", " ")):
            yield shlex.split(found[1])


def pages() -> list[str]:
    """Return the names of all pages, without their end."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def text_of(page: str) -> str:
    """Return a page as it is."""
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """Return a page without its blocks."""
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", text_of(page))


def headings(page: str) -> list[tuple[int, str]]:
    """Return depth and text of each heading of a page."""
    return [(len(marks), text) for marks, text in re.findall(r"^(#+) (.+)$", prose_of(page), re.MULTILINE)]


def alerts() -> list[str]:
    """Return the names of all alerts, each once, in the order of the rules."""
    groups = yaml.safe_load(Path("observability/rules.yaml").read_text(encoding="utf-8"))["groups"]
    return list(dict.fromkeys(rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule))


def rules_of(alert: str) -> list[dict[str, object]]:
    """Return the rules that fire an alert."""
    groups = yaml.safe_load(Path("observability/rules.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if rule.get("alert") == alert]


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order.

    Raises:
        ValueError: a fence is not closed.
    """
    found: list[Block] = []
    lines = text_of(page).splitlines()
    number, after = 0, -1  # the line behind the last block
    while number < len(lines):
        fence = FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        indent, kind = fence[1], DRILL.sub("", fence[2]).strip()
        drills = tuple(DRILL.findall(fence[2]))
        try:
            end = lines.index(f"{indent}```", number + 1)
        except ValueError:
            raise ValueError(f"{page}.md:{number + 1}: the fence is not closed") from None
        text = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end]) + "\n"
        between = "".join(lines[after:number]).strip() if after >= 0 else "something"
        if kind == "text" and not between and found and found[-1].is_run:
            last = found.pop()
            found.append(Block(last.page, last.line, last.kind, last.text, text, last.drills))
        else:
            found.append(Block(page, number + 1, kind, text, "", drills))
        number = after = end + 1
    return found


def all_blocks() -> list[Block]:
    """Return the blocks of all pages."""
    return [block for page in pages() for block in blocks(page)]


def is_seen(expected: str, output: str) -> str:
    """Return the first line of what is expected that an output does not have, in order; empty where it has all.

    Args:
        expected: lines; `...` in one is any text.
        output: of the command.
    """
    left = iter(output.splitlines())
    for line in filter(str.strip, expected.splitlines()):
        pattern = re.compile(re.escape(line.strip()).replace(r"\.\.\.", ".*"))
        if not any(pattern.search(each) for each in left):
            return line
    return ""


# what is run of each page, and the pages that change something
RUN = {page: [block for block in blocks(page) if block.is_run] for page in pages()}
DESTRUCTIVE = [page for page, found in RUN.items() if any("destructive" in block.kind for block in found)]
