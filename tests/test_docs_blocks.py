"""Each block of code in the documentation is run, read, or quoted from what runs; or it says why it is not."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.proofs import MARK, QUOTES, SERVICE, WHOLE, Proof, marked
from tools.bake import INNER, ROOT
from tools.docs_site import build
from tools.docs_site.markdown import Block

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Make

RUN, READ = "run", {"settings", "policy", "cases", "rollout", "deny-list"}
ADDRESSES = ("ADDRESS", "ADMIN_ADDRESS")
OWN_PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a service with the code of its protos."""
    return build.generated(tmp_path_factory.mktemp("described"))


def blocks_of_the_service(service: Path) -> list[tuple[str, Block, list[Proof]]]:
    """Return the blocks of the service's own pages with their rows; those of runbooks have tests of their own there."""
    found = []
    for page in [
        service / "README.md",
        *sorted((service / "docs").glob("*.md")),
        *sorted(service.glob("checklists/*.md")),
    ]:
        for block, _ in marked(page):
            rows = [proof for name, words, proof in SERVICE if name == page.stem and words in block.text]
            found.append((f"{page.relative_to(service)}:{block.line}", block, rows[:1]))
    return found


def is_quoted(block: Block, service: Path) -> bool:
    """Tell whether a block stands in an example, as it is: the service's tests run those."""
    examples = (path.read_text(encoding="utf-8") for path in (service / "docs" / "examples").glob("*"))
    return block.language in {"python", "yaml"} and any(block.text.strip("\n") in example for example in examples)


def is_there(proof: Proof, page: str, block: Block) -> bool:
    """Tell whether a test, or a file that is the same, is there and knows of the block."""
    name, _, words = proof.said.partition("::")
    path = next((root / name for root in (ROOT, ROOT / INNER) if (root / name).is_file()), None)
    if path is None:
        return False
    text = path.read_text(encoding="utf-8")
    if proof.kind == "same as":
        left = iter(text.splitlines())  # an excerpt: its lines, in order
        return all(any(line == other for other in left) for line in block.text.splitlines() if line.strip())
    return words in text and words in block.text if words else page in text


def test_each_block_of_the_services_pages_is_proved_or_says_why_not(described: Path) -> None:
    blocks = blocks_of_the_service(described)
    unproved = [place for place, block, rows in blocks if not rows and not is_quoted(block, described)]
    assert unproved == []
    assert len(blocks) > 50
    for place, block, rows in blocks:
        for proof in rows:
            assert proof.kind != "tested" or is_there(proof, place.partition(":")[0].rpartition("/")[2], block), place
            assert proof.kind != "illustration" or len(proof.said) > 20, place
    used = {id(proof) for _, _, rows in blocks for proof in rows}
    stale = [row[:2] for row in SERVICE if id(row[2]) not in used and (described / "docs" / f"{row[0]}.md").is_file()]
    assert stale == []


def test_each_block_of_this_repositorys_pages_is_proved_or_says_why_not() -> None:
    for page in OWN_PAGES:
        name = page.relative_to(ROOT).as_posix()
        if whole := [test for folder, test in WHOLE.items() if name.startswith(f"{folder}/")]:
            assert all((ROOT / test).is_file() for test in whole), name
            continue
        for block, proof in marked(page):
            assert proof is not None, f"{name}:{block.line}: no comment above it says what proves it: {MARK.pattern}"
            if proof.kind != "illustration":
                assert is_there(proof, page.name, block), f"{name}:{block.line}: {proof.said} knows nothing of it"


def test_what_pages_show_of_commands_and_files_is_read_by_the_code_that_reads_it(described: Path) -> None:
    question = []
    for place, block, rows in blocks_of_the_service(described):
        if block.language in {"sh", "console"}:
            question.append(("commands", place, block.text))
        question += [(proof.kind, place, block.text) for proof in rows if proof.kind in READ]
    assert len(question) > 30
    assert answers(described, question) == []
    broken = [
        ("commands", "a", "order-service pki status --colour\nmake nothing"),
        ("settings", "b", "listen: { adress: 127.0.0.1:1 }"),
        ("policy", "c", "bindings: [{role: nobody}]"),
        ("cases", "d", "cases: 1"),
        ("rollout", "e", "percent: 1000"),
        ("deny-list", "f", "revoked: [{}]"),
    ]
    assert [told[0] for told in answers(described, broken)] == ["a", "a", *"bcdef"]


def answers(service: Path, question: list[tuple[str, str, str]]) -> list[str]:
    """Return what is wrong with blocks."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(service / "src"), str(ROOT)])}
    command = [sys.executable, "-B", "-m", "tests.docs.looking"]
    done = subprocess.run(
        command, cwd=service, env=environment, input=json.dumps(question), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told: list[str] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def ready(template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Path:
    """Return a service that was generated by the command of the README, and set up."""
    out = tmp_path_factory.mktemp("out")
    (command,) = [block.text for block, _ in marked(ROOT / "README.md") if "make bake" in block.text]
    _, target, name, folder = shlex.split(command)
    assert (target, folder) == ("bake", "OUT=services")
    assert template.is_dir()
    program = [sys.executable, "-B", "tools/bake.py"]  # as make calls it
    environment = {**os.environ, "NAME": name.removeprefix("NAME="), "OUT": str(out / "services")}
    done = subprocess.run(program, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    service = out / "services" / "order-service"
    prepared = make(service, "setup", "build/image.binpb")
    assert prepared.returncode == 0, prepared.stdout
    return service


@pytest.mark.slow
def test_the_commands_of_the_readme_start_it_and_call_it(ready: Path) -> None:
    (text,) = [block.text for block, _ in marked(ROOT / "README.md") if "make call" in block.text]
    commands = [shlex.split(line, comments=True) for line in text.splitlines()]
    assert commands == [["make", "run"], ["make", "call"], ["make", "test"]]  # the last one: tests/test_generated.py
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (taken, other)]
    own = {key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "ARGS"}}
    own |= {
        f"SECURE_RPC_LISTEN__{name}ADDRESS": f"127.0.0.1:{port}"
        for name, port in zip(("", "ADMIN_"), ports, strict=True)
    }
    running = subprocess.Popen(
        commands[0], cwd=ready, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert running.stdout is not None
        assert any("serving" in line for line in running.stdout), "it ended"
        called = subprocess.run(commands[1], cwd=ready, env=own, check=False, capture_output=True, text=True)
        assert '"title": "first"' in called.stdout, called.stderr
    finally:
        running.terminate()
        running.communicate(timeout=60)


@pytest.mark.slow
def test_the_commands_of_the_pages_run(ready: Path) -> None:
    command = [".venv/bin/order-service", "token", "new", "alice"]
    token = subprocess.run(command, cwd=ready, check=True, capture_output=True, text=True)
    (ready / "token.txt").write_text(token.stdout)
    blocks = [(place, block) for place, block, rows in blocks_of_the_service(ready) if Proof(RUN) in rows]
    assert len(blocks) == len([row for row in SERVICE if row[2].kind == RUN])
    for place, block in blocks:
        lines = [line for line in block.text.splitlines() if not line.startswith("make ")]  # what it builds needs node
        own = {**os.environ, "PATH": f"{ready / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        script = "\n".join(lines)
        ran = subprocess.run(["sh", "-euc", script], cwd=ready, env=own, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, f"{place}\n{ran.stdout}{ran.stderr}"


def test_a_comment_above_a_block_says_what_proves_it(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("Text\n\n<!-- tested: tests/a.py -->\n```sh\nls\n```\n\n```sh\nrm\n```\n\n```text\nno code\n```\n")
    assert [(block.text, proof) for block, proof in marked(page)] == [
        ("ls", Proof("tested", "tests/a.py")),
        ("rm", None),
    ]
    assert not is_there(Proof("tested", "tests/none.py"), "a.md", Block(1, "sh", "ls"))
    assert not is_there(Proof("same as", QUOTES), "a.md", Block(1, "python", "nothing = 0"))
