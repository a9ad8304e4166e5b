"""What is generated: which files, with which text, whatever the answers are."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.generated_files import files, is_text, listed
from tools.bake import INNER, ROOT, RefusedError, bake, known_files

if TYPE_CHECKING:
    from tests.conftest import Baked, Git

# they read what the generator notes, or write what it might
OF_UPDATES = {f"src/secure_rpc/{name}.py" for name in ("template", "update")}
OF_UPDATES |= {"requirements/update.txt", "tests/support/postures.py", "tests/unit/secure_rpc/doctor/test_origin.py"}
NAMES_THE_GENERATOR = {".cruft.json", "Makefile", "README.md", "pyproject.toml", *OF_UPDATES}
FREE_TEXT = ("project_name", "description", "owner", "organization")
HOSTILE = {
    "project_name": "Söhne & Töchter's: 100% [x] {y} }} #1; import os - Заказы",
    "description": """It's "quoted", & 'so': #1 {a} }} %(b)s %s; os.abort() - größer, 注文 !tag *x* @y, [z]: ~""",
    "owner": "O'Neill & Co: yes #2, {n} %s - 'né' !x *y* @z",
    "organization": "Example: no & 'off' #3 {o} %d - Größe, 注文 !a *b* @c",
}
# names of which the length, the case and the place in the alphabet differ
ALL_NAMES = {
    "short": {"project_slug": "a", "package_name": "x", "resource_name": "A", "resource_plural": "Bs"},
    "long": {
        "project_slug": "purchase-order-records-service",
        "package_name": "zz_purchase_order_record_store",
        "resource_name": "PurchaseOrderConfirmationNotes",
        "resource_plural": "PurchaseOrderConfirmationNotez",
    },
    "capitals": {"package_name": "aa_routes", "resource_name": "HTTPRoute"},
    "digits": {"package_name": "sec2_3", "resource_name": "Order2V3"},
}


def content(service: Path) -> dict[str, bytes]:
    """Return what is in each file."""
    return {name: (service / name).read_bytes() for name in files(service)}


def copied(name: str) -> bool:
    """Say whether a generated file is one that no answer changes."""
    patterns = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["_copy_without_render"]
    return any(name == p or name.startswith(f"{p}/") or re.fullmatch(p.replace("*", ".*"), name) for p in patterns)


def well_formed(service: Path) -> int:
    """Read every file of a known format and return how many there were."""
    read = 0
    for path in map(service.joinpath, filter(is_text, files(service))):
        text = path.read_text(encoding="utf-8")
        match path.suffix:
            case ".toml":
                tomllib.loads(text)
            case ".yaml" | ".yml":
                list(yaml.safe_load_all(text))
            case ".json":
                json.loads(text)
            case ".py":
                ast.parse(text)
            case _:
                continue
        read += 1
    return read


def test_exactly_the_listed_files_are_generated(service: Path) -> None:
    assert files(service) == listed("order_service", "order"), "if this is as it should be: make files"


@pytest.mark.parametrize("names", ALL_NAMES)
def test_names_change_nothing_but_names(baked: Baked, service: Path, names: str) -> None:
    made = baked(**ALL_NAMES[names])
    assert len(files(made)) == len(files(service))
    assert well_formed(made) == well_formed(service)
    assert {n: c for n, c in content(made).items() if copied(n)} == {
        n: c for n, c in content(service).items() if copied(n)
    }


@pytest.mark.parametrize("names", ["default", *ALL_NAMES])
def test_no_name_changes_the_formatting_or_makes_a_linter_complain(baked: Baked, names: str) -> None:
    made = baked(**ALL_NAMES.get(names, {}))
    (package,) = [path.parent.name for path in made.glob("src/*/app.py")]
    own = [str(path.relative_to(made)) for path in sorted(made.rglob(package)) if path.parts[-2] != "proto"]
    assert own
    (made / "src" / package / "v1").mkdir()  # where the generated code will be: imports are sorted by what is there
    for command in (
        ["ruff", "format", "--check", "-q", "."],
        ["ruff", "check", "-q", *own],
        ["buf", "format", "-d", "--exit-code", "proto"],
    ):
        command[0] = str(Path(sys.executable).with_name(command[0]))
        done = subprocess.run(command, cwd=made, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("answers", [{}, HOSTILE, ALL_NAMES["long"]], ids=["defaults", "hostile", "long"])
def test_nothing_of_the_template_is_left_over(baked: Baked, answers: dict[str, str]) -> None:
    service = baked(**answers)
    left = {}
    for name, data in content(service).items():
        if not is_text(name):
            continue
        text = data.decode()
        if name.startswith("observability/"):  # what Prometheus and Grafana put in: a value, or a label's
            text = re.sub(r"\{\{ ?(?:\$(?:value|labels)\b)?[\w .|]* ?\}\}", "", text)
        assert "cookiecutter" not in text.lower() or name in NAMES_THE_GENERATOR, name
        # braces of their own: the platform's files, and the expressions of a workflow
        if not copied(name) and (found := re.findall(r".*(?:\{\{|\{%|\{#|cookiecutter\.).*", text)):
            left[name] = found
        if name.startswith(".github/") and (found := re.findall(r".*(?<!\$)\{\{.*", text)):
            left[name] = found
    assert not left
    assert not [name for name in files(service) if re.search(r"[{}|<>]|cookiecutter|licences", name)]


def test_two_services_with_the_same_answers_are_equal_byte_by_byte(baked: Baked) -> None:
    assert content(baked(**HOSTILE)) == content(baked(**HOSTILE))


def test_hostile_text_gives_valid_files_and_is_shown_as_it_was_typed(baked: Baked, service: Path) -> None:
    made = baked(**HOSTILE)
    assert well_formed(made) == well_formed(service)
    project = tomllib.loads((made / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["description"] == HOSTILE["description"]
    assert project["authors"] == [{"name": HOSTILE["owner"]}]
    shown = 0
    for name in (name for name in known_files() if name.parts[0] == INNER and is_text(name.name)):
        for answer in set(re.findall(rf"cookiecutter\.({'|'.join(FREE_TEXT)}) \}}\}}", (ROOT / name).read_text())):
            path = name.relative_to(INNER).as_posix()
            if path.startswith("licences/"):
                path = "LICENSE"
            assert HOSTILE[answer] in (made / path).read_text(encoding="utf-8"), (name, answer)
            shown += 1
    assert shown


def test_free_text_stands_only_where_it_does_no_harm() -> None:
    wrong = []
    for name in (name for name in known_files() if name.parts[0] == INNER and not copied(str(name.relative_to(INNER)))):
        if not is_text(name.name):
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.suffix == ".toml":
            for answer in FREE_TEXT:
                text = text.replace(f'"{{{{ (cookiecutter.{answer} | tojson)[1:-1] }}}}"', "")
        found = re.findall(rf"cookiecutter\.(?:{'|'.join(FREE_TEXT)})\b", text)
        if found and name.suffix not in {".md", ".txt"}:
            wrong.append((str(name), found))
    assert not wrong, "free text belongs into Markdown, into licences, and by tojson into TOML"


def test_hostile_text_is_not_run_by_make(baked: Baked) -> None:
    made = baked(**HOSTILE | {"project_name": "x'; touch marked; #", "owner": "y & touch marked;"})
    done = subprocess.run(["make", "help"], cwd=made, check=True, capture_output=True, text=True)
    assert "lint" in done.stdout
    assert not (made / "marked").exists()


@pytest.mark.parametrize(
    ("provider", "there"), [("github", (".github/",)), ("gitlab", (".gitlab/", ".gitlab-ci.yml")), ("none", ("none",))]
)
def test_the_files_of_the_chosen_ci_are_there_and_no_other(baked: Baked, provider: str, there: tuple[str, ...]) -> None:
    none, chosen = files(baked(ci_provider="none")), files(baked(ci_provider=provider))
    added = set(chosen) - set(none)
    assert all(name.startswith(there) for name in added)
    assert all(any(name.startswith(each) for name in added) for each in there) is (provider != "none")
    assert not set(none) - set(chosen)
    assert not [name for name in none if ".git" in name and name not in {".gitattributes", ".gitignore"}]


@pytest.mark.parametrize(
    ("licence", "begins"),
    [
        ("Apache-2.0", "                                 Apache License\n"),
        ("MIT", "MIT License\n"),
        ("BSD-3-Clause", "BSD 3-Clause License\n"),
        ("Proprietary", "Copyright (c) Größe & 'Söhne'\n\nAll rights reserved."),
    ],
)
def test_the_chosen_licence_names_the_organization(baked: Baked, licence: str, begins: str) -> None:
    made = baked(licence=licence, organization="Größe & 'Söhne'")
    text = (made / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith(begins)
    assert text.count("Copyright (c) Größe & 'Söhne'\n") == 1
    assert not (made / "licences").exists()


def test_the_owner_of_each_part_can_be_found(baked: Baked) -> None:
    lines = (baked(owner="Checkout Team", organization="Acme") / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    owned = dict(line.split(" ") for line in lines if line and not line.startswith("#"))
    assert {"*", "/src/secure_rpc/", "/proto/secure_rpc/", "/policy/", "/pyproject.toml", "/requirements/"} <= {*owned}
    assert set(owned.values()) == {"@acme/checkout-team"}


def test_hooks_may_run_twice(template: Path, tmp_path: Path) -> None:
    made = bake(tmp_path, {"ci_provider": "none"}, template)
    before = content(made)
    answers = json.dumps(
        {"ci_provider": "none", "licence": "Apache-2.0", "package_name": "order_service", "example": "full"}
    )
    hook = (template / "hooks/post_gen_project.py").read_text(encoding="utf-8")
    again = hook.replace("{{ cookiecutter | tojson }}", answers)
    subprocess.run([sys.executable, "-c", again], cwd=made, check=True)
    assert content(made) == before


def test_only_what_git_knows_gets_in(template: Path, tmp_path: Path, git: Git) -> None:
    repository = tmp_path / "repository"
    inner = repository / INNER
    inner.mkdir(parents=True)
    (repository / "cookiecutter.json").write_text((template / "cookiecutter.json").read_text(encoding="utf-8"))
    for name, text in {".gitignore": "*.key\n", "new.txt": "new", "secret.key": "secret", "gone.txt": "gone"}.items():
        (inner / name).write_text(text)
    git("init", "-q", cwd=repository)
    git("add", f"{INNER}/gone.txt", cwd=repository)
    (inner / "gone.txt").unlink()
    assert [path.name for path in known_files(repository)] == ["cookiecutter.json", ".gitignore", "new.txt"]


def test_an_existing_folder_is_left_alone(template: Path, tmp_path: Path) -> None:
    (tmp_path / "order-service").mkdir()
    (tmp_path / "order-service/mine").write_text("mine")
    with pytest.raises(RefusedError, match="already exists"):
        bake(tmp_path, {}, template)
    assert files(tmp_path) == ["order-service/mine"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ([], "NAME and OUT missing"),
        (["NAME=Order"], "OUT missing"),
        (["OUT=made"], "NAME missing"),
        (["NAME=Order", "OUT=made", "ANSWERS=colour=red"], "colour: no such prompt"),
        (["NAME=Order", "OUT=made", "ANSWERS=red"], "not of the form prompt=answer: red"),
        (["NAME=Order", "OUT=made", "ANSWERS=package_name=grpc"], "package_name: 'grpc' is the name of a module"),
        (["NAME=Order", "OUT=hooks", "ANSWERS=project_slug=there"], "already exists"),
    ],
)
def test_make_bake_says_what_is_wrong(tmp_path: Path, variables: list[str], said: str) -> None:
    (tmp_path / "hooks/there").mkdir(parents=True)
    variables = [variable.replace("OUT=", f"OUT={tmp_path}/") for variable in variables]
    done = subprocess.run(["make", "-s", "bake", *variables], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == []


def test_make_bake_makes_a_service(tmp_path: Path) -> None:
    out = tmp_path / "a folder"
    command = ["make", "-s", "bake", "NAME=Order's \"Service", f"OUT={out}"]
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode != 0
    command = ["make", "-s", "bake", "NAME=Order Service", f"OUT={out}", "ANSWERS=ci_provider=gitlab owner='Team A'"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"{out}/order-service is ready")
    assert (out / "order-service/.gitlab-ci.yml").is_file()
    assert "Team A" in (out / "order-service/SECURITY.md").read_text(encoding="utf-8")
