"""Answers that cannot work are refused before a file is written, and nothing in them is ever run."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools.bake import INNER, RefusedError, bake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Refused

PROMPTS_WITH_TEXT = ("project_name", "description", "owner", "organization")
NAMES = {
    "project_slug": [
        "Order-Service", "order_service", "-order", "order-", "1order", "a" * 31, "a.b", "../order", "python",
        "pip3", "uvicorn", "grpcio", "lint-imports",
    ],
    "package_name": [
        "", "order-service", "Order", "1order", "a b", "_order", "order_", "order__service", "a" * 31, "größe",
        "class", "import", "match", "type", "case", "_", "platform", "asyncio", "calendar", "grpc", "google", "buf",
        "yaml", "jwt", "structlog", "secure_rpc", "probe", "tests", "support", "grpc_status", "setup", "build",
        "compression",
    ],
    "resource_name": [
        "", "order", "Purchase Order", "Purchase_Order", "1Order", "Größe", "O" * 31, "None", "True", "Exception",
        "ValueError", "Class", "Import", "Return", "Type", "List", "Service", "Message", "Empty", "Timestamp",
        "FieldMask", "Order\n",
    ],
    "resource_plural": ["", "Order", "orders", "Or ders", "O" * 31, "Class", "List"],
    "trust_domain": [
        "", "Example.org", "example..org", ".example.org", "example.org.", "example.org/path", "spiffe://example.org",
        "ex ample.org", "-example.org", "exämple.org", "a" * 64, ".".join(["a" * 60] * 5), "example.org\n",
    ],
}  # fmt: skip
TEXT = {
    "empty": "",
    "blank": "   ",
    "space in front": " Orders",
    "space behind": "Orders ",
    "newline": "Or\nders",
    "tab": "Or\tders",
    "escape": "Or\x1b[31mders",
    "line separator": "Or\u2028ders",
    "right to left": "Or\u202eders",
    "zero width": "Or\u200bders",
    "no-break space": "Or\u00a0ders",
    "private use": "Or\ue000ders",
    "beyond the BMP": "Or\U0001f600ders",
    "pipe": "Or|ders",
    "backtick": "Or`id`ders",
    "less": "Or<ders",
    "greater": "Or>ders",
    "dollar": "$(id)",
    "backslash": "Or\\ders",
    "too long": "o" * 201,
}


@pytest.mark.parametrize(("prompt", "value"), [(prompt, value) for prompt in NAMES for value in NAMES[prompt]])
def test_a_name_that_cannot_work_is_refused(refused: Refused, prompt: str, value: str) -> None:
    said = refused({prompt: value})
    assert re.search(rf"^  {prompt}: {re.escape(repr(value))} .+; wanted: .+$", said, re.MULTILINE), said


@pytest.mark.parametrize("prompt", PROMPTS_WITH_TEXT)
@pytest.mark.parametrize("kind", TEXT)
def test_text_that_cannot_be_kept_as_typed_is_refused(refused: Refused, prompt: str, kind: str) -> None:
    said = refused({prompt: TEXT[kind]})
    assert re.search(rf"^  {prompt}: {re.escape(repr(TEXT[kind]))} .+; wanted: .+$", said, re.MULTILINE), said


@pytest.mark.parametrize("prompt", PROMPTS_WITH_TEXT)
def test_a_carriage_return_is_refused(refused: Refused, prompt: str) -> None:
    # the generator has made another newline of it by then
    assert f"  {prompt}: 'Or\\nders' holds U+000A" in refused({prompt: "Or\rders"})


@pytest.mark.parametrize("prompt", ["project_name", "owner", "organization"])
def test_quotes_are_refused_where_they_are_not_quoted(refused: Refused, prompt: str) -> None:
    assert f'  {prompt}: \'The "orders"\' holds "' in refused({prompt: 'The "orders"'})


def test_all_problems_are_told_at_once_and_no_other(refused: Refused) -> None:
    said = refused({"package_name": "grpc", "owner": "a|b", "trust_domain": "X", "resource_plural": "Class"})
    assert re.findall(r"^  (\w+):", said, re.MULTILINE) == ["package_name", "resource_plural", "owner", "trust_domain"]


@pytest.mark.parametrize("text", ["{{ 7*7 }}", "{{7*7}}", "{% set a = 1 %}x", "{# nothing #}x"])
@pytest.mark.parametrize("prompt", PROMPTS_WITH_TEXT)
def test_an_answer_that_is_a_template_is_refused(refused: Refused, prompt: str, text: str) -> None:
    assert f"  {prompt}: " in refused({prompt: text})


def test_a_template_typed_at_a_prompt_is_not_rendered(template: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(template), "-o", "out"],
        cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": ""}, input="{{ 7*7 }} Service" + "\n" * 12,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "project_name: '{{ 7*7 }} Service' holds a template's braces" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "attack",
    [
        "{{ cycler.__init__.__globals__.os.system('touch %s') }}",
        "{%% if cycler.__init__.__globals__.os.system('touch %s') %%}{%% endif %%}",
        "$(touch %s)",
        "`touch %s`",
        "x\n\tshell: touch %s",
    ],
)
@pytest.mark.parametrize("prompt", [*PROMPTS_WITH_TEXT, "trust_domain"])
def test_an_answer_is_never_run(template: Path, tmp_path: Path, prompt: str, attack: str) -> None:
    mark = tmp_path / "m"
    with pytest.raises(RefusedError):
        bake(tmp_path / "out", {prompt: attack % mark}, template)
    assert not mark.exists()
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("prompt", ["ci_provider", "licence", "example"])
def test_a_choice_that_there_is_not_is_refused(template: Path, tmp_path: Path, prompt: str) -> None:
    with pytest.raises(RefusedError, match=f"choice variable {prompt}"):
        bake(tmp_path / "out", {prompt: "other"}, template)
    assert not (tmp_path / "out").exists()


def test_names_that_do_work_are_not_refused(template: Path, tmp_path: Path) -> None:
    answers = {
        "project_slug": "a",
        "package_name": "x1",
        "resource_name": "A",
        "resource_plural": "Bs",
        "trust_domain": "prod-1.team_a.example.org",
        "description": "d",
        "owner": "o",
        "organization": "o",
    }
    assert bake(tmp_path, answers, template).is_dir()


def installed_with_a_service(template: Path) -> list[importlib.metadata.Distribution]:
    """Return what a service locks, as far as it is installed here."""
    lock = (template / INNER / "requirements/dev.txt").read_text(encoding="utf-8")
    locked = {name.lower() for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    found = [d for d in importlib.metadata.distributions() if re.sub("[-_.]+", "-", d.name).lower() in locked]
    assert len(found) > len(locked) * 0.9
    return found


def hook_words(template: Path, name: str) -> set[str]:
    """Return the words of a list in the hook."""
    hook = (template / "hooks/pre_gen_project.py").read_text(encoding="utf-8")
    (words,) = re.findall(rf'^{name} = """(.+?)"""', hook, re.MULTILINE | re.DOTALL)
    return set(words.split())


def test_every_module_that_a_service_installs_is_taken(template: Path) -> None:
    modules = {
        file.parts[0].split(".")[0]
        for distribution in installed_with_a_service(template)
        for file in distribution.files or []
        if not file.parts[0].endswith((".dist-info", "-stubs", ".pth", ".."))
    }
    named = {name for name in modules if re.fullmatch("[a-z][a-z0-9_]*", name)}
    assert sorted(named - hook_words(template, "MODULES")) == []


def test_every_command_and_distribution_that_a_service_installs_is_taken(template: Path) -> None:
    distributions = installed_with_a_service(template)
    names = {re.sub("[-_.]+", "-", distribution.name).lower() for distribution in distributions}
    for distribution in distributions:
        names |= {file.name for file in distribution.files or [] if "bin" in file.parts[:-1] and ".." in file.parts}
    slugs = {name for name in names if re.fullmatch("[a-z][a-z0-9-]*", name)}
    taken = hook_words(template, "COMMANDS") | {name.replace("_", "-") for name in hook_words(template, "MODULES")}
    assert sorted(slugs - taken) == []


def test_no_field_of_the_generated_messages_has_the_name_of_what_is_kept(template: Path, tmp_path: Path) -> None:
    (proto,) = (bake(tmp_path, {"resource_name": "ZzThing"}, template) / "proto/order_service").rglob("*.proto")
    bodies = re.findall(r"^message \w+ \{\n(.*?)^\}", proto.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    fields = [re.findall(r"^  [\w. ]+ (\w+) = \d", body, re.MULTILINE) for body in bodies]
    beside = {name for names in fields if "zz_thing" in names for name in names} - {"zz_thing"}
    assert beside
    taken = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["__taken"].split()
    assert beside <= set(taken)
