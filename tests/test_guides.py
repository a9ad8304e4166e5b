"""What the guides show is what there is, and what runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import npm
from tests.foreign.running import Running
from tests.lacking import needs
from tools.bake import INNER, ROOT, bake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.conftest import Make

GUIDES = ROOT / "docs" / "guides"
EXAMPLES = GUIDES / "examples"
PROGRAMS = {
    "go": EXAMPLES / "go" / "main.go",
    "js": EXAMPLES / "node" / "client.mjs",
    "sh": EXAMPLES / "shell" / "calls.sh",
    "ts": ROOT / INNER / "browser" / "src" / "transport.ts",  # tried by tests/test_browser.py
}
DEBIANS_GO = "/usr/share/gocode"  # where golang-google-grpc-dev puts what go.mod would ask for
SECONDS = 300.0
SHOWN = ["made: tea", "got: tea", "watched: tea"]


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Return the blocks of a page in these languages."""
    found = re.findall(r"^ *```(\w+)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if language in languages]


# --- what is quoted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_page_on_calling_quotes_programs_that_are_run(language: str) -> None:
    program = PROGRAMS[language].read_text(encoding="utf-8")
    quoted = [text for _, text in blocks(GUIDES / "calling.md", language) if "make " not in text]
    assert quoted
    assert [text for text in quoted if text not in program] == []


def test_the_page_on_methods_quotes_the_service_as_it_is_generated(service: Path) -> None:
    proto = (service / "proto/order_service/v1/order.proto").read_text(encoding="utf-8")
    code = (service / "src/order_service/service.py").read_text(encoding="utf-8")
    quoted = blocks(GUIDES / "adding-a-method.md", "proto", "python")
    assert [language for language, _ in quoted] == ["proto", "python"] * 3
    assert [text for language, text in quoted if text not in (proto if language == "proto" else code)] == []


def test_every_link_of_guides_and_tutorial_leads_somewhere() -> None:
    for page in (*GUIDES.glob("*.md"), *(ROOT / "docs" / "tutorial").glob("*.md")):
        for target, anchor in re.findall(r"\]\(([^)#:\s]+)(#[\w-]+)?\)", page.read_text(encoding="utf-8")):
            path = page.parent / target
            assert path.exists(), f"{page}: {target}"
            if anchor:
                titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor[1:] in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_guide_is_in_the_list_of_guides() -> None:
    listed = re.findall(r"^\| \[.*?\]\((\S+)\)", (GUIDES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert all((GUIDES / page).is_file() for page in listed)
    here = [page for page in listed if not page.startswith("../")]
    assert sorted(here) == sorted({page.name for page in GUIDES.glob("*.md")} - {"README.md"})


# --- what is run -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Iterator[Running]:
    """Return a service that was generated, set up and started, with a token of alice beside it."""
    folder = bake(tmp_path_factory.mktemp("guides"), {}, template)
    made = make(folder, "setup", "build/image.binpb")
    assert made.returncode == 0, made.stdout
    started = Running(folder, "order-service", {})
    (folder / "token.txt").write_text(started.run("token", "new", "alice"), encoding="utf-8")
    yield started
    started.stop()


def output(running: Running, *command: str | Path, **environment: str) -> str:
    """Return what a program prints that is started in the service's folder."""
    known = {"PATH": os.environ["PATH"], "HOME": str(running.folder), **environment}
    done = subprocess.run(
        command, cwd=running.folder, env=known, check=False, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_program_in_go_calls(running: Running, tmp_path: Path) -> None:
    needs("go", "protoc-gen-go", "protoc-gen-go-grpc", without="its example is not tried")
    folder = tmp_path / "src" / "example.org" / "calling"
    folder.mkdir(parents=True)
    shutil.copy(PROGRAMS["go"], folder)
    generate = [str(EXAMPLES / "go" / "generate.sh"), str(running.folder), "example.org/calling"]
    subprocess.run(generate, cwd=folder, check=True)
    go = {
        "GO111MODULE": "off",
        "GOPATH": f"{tmp_path}:{DEBIANS_GO}",
        "GOFLAGS": "",
        "GOCACHE": str(ROOT / "build" / "go"),
    }
    subprocess.run(["go", "build", "-o", "calling"], cwd=folder, env={**os.environ, **go}, check=True, timeout=SECONDS)
    assert subprocess.run(["gofmt", "-l", "main.go"], cwd=folder, check=True, capture_output=True).stdout == b""
    printed = output(running, folder / "calling", "-address", f"localhost:{running.port}")
    assert printed.splitlines() == [*SHOWN, "refused: NotFound NOT_FOUND"]


@pytest.mark.slow
def test_the_program_in_node_calls(running: Running) -> None:
    needs("node", "npm", without="its example is not tried")
    packages = npm.installed(ROOT / "tests" / "foreign" / "client.mjs", ROOT / "build" / "foreign")
    program = shutil.copy(PROGRAMS["js"], packages.with_name("example.mjs"))
    printed = output(running, "node", program, ADDRESS=f"localhost:{running.port}")
    assert printed.splitlines() == [*SHOWN, "refused: NOT_FOUND there is none of that id"]


@pytest.mark.slow
def test_the_script_calls(running: Running) -> None:
    printed = output(running, PROGRAMS["sh"], ADDRESS=f"localhost:{running.port}")
    *answers, refused = printed.rpartition("refused")[:2]
    decoder, found, left = json.JSONDecoder(), [], answers[0].strip()
    while left:
        answer, end = decoder.raw_decode(left)
        found.append(answer["order"]["title"])
        left = left[end:].strip()
    assert (found, refused) == (["tea", "tea"], "refused")


@pytest.mark.slow
def test_the_other_commands_of_the_guides_run(running: Running) -> None:
    script = PROGRAMS["sh"].read_text(encoding="utf-8")
    shown = [text for page in sorted(GUIDES.glob("*.md")) for _, text in blocks(page, "sh") if text not in script]
    assert len(shown) == 3
    for text in shown:
        command = ["bash", "-euc", text]
        done = subprocess.run(command, cwd=running.folder, check=False, capture_output=True, text=True, timeout=SECONDS)
        # a fresh service is no more than a beginner
        assert done.returncode == ("--require intermediate" in text), f"{text}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["the guide", "the service's own"])
def test_the_pages_on_policies_show_what_their_commands_answer(running: Running, page: str) -> None:
    # here, not in the service: its answers change with each method that its team adds
    path = GUIDES / "writing-policy.md" if page == "the guide" else running.folder / "docs" / "policy.md"
    shown = [text for _, text in blocks(path, "console")]
    assert len(shown) > 2
    for text in shown:
        command, _, expected = text.removeprefix("$ ").partition("\n")
        done = ran(running, command, {})
        pattern = re.escape(expected).replace(re.escape("...\n"), "(?:.*\n)*?")
        assert re.fullmatch(pattern, done.stdout), f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
def test_the_settings_of_an_issuer_are_settings(running: Running, tmp_path: Path) -> None:
    shown = [text for _, text in blocks(GUIDES / "adding-an-issuer.md", "yaml")]
    assert len(shown) == 2
    for text in shown:
        lines = text.splitlines()
        indent = len(lines[0]) - len(lines[0].lstrip())
        issuers = "\n".join(line[indent:] for line in lines).partition("issuers:\n")[2]
        prod = (running.folder / "config" / "prod.yaml").read_text(encoding="utf-8")
        before, _, after = prod.partition("  issuers:\n")
        settings = tmp_path / "prod.yaml"
        rest = after[after.index("\nrevocation:") :]
        settings.write_text(f"{before}  issuers:\n{issuers}{rest}", encoding="utf-8")
        policy = {"SECURE_RPC_AUTHORIZATION__POLICY_FILE": "policy/policy.yaml"}
        done = ran(running, f"order-service policy check --config {settings}", policy)
        assert "https://issuer.example.org" in done.stderr, done.stdout + done.stderr  # which the policy still names
        assert "https://login.example.com" in done.stderr, done.stdout + done.stderr


def ran(running: Running, command: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the service as it is shown."""
    name, *arguments = shlex.split(command)
    program = running.folder / ".venv" / "bin" / name
    known = {**os.environ, **environment, "COLUMNS": "400"}
    return subprocess.run(
        [program, *arguments], cwd=running.folder, env=known, check=False, capture_output=True, text=True
    )
