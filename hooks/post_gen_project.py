"""Keep the chosen licence, the files of the chosen CI, the example where it was chosen; note which template this is of.

Standard library only; runs again at every update.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
CI_FILES = {"github": (".github",), "gitlab": (".gitlab", ".gitlab-ci.yml")}
LICENCES = Path("licences")
RECORD = Path(".cruft.json")
PARTS = ("cookiecutter.json", "hooks", "{" + "{cookiecutter.project_slug}" + "}")


def git(repository, *arguments):
    """Return what git says of a repository that may be somebody else's, nothing where it cannot."""
    command = ["git", "-c", f"safe.directory={repository}", "-C", str(repository), *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def without_secrets(address):
    """Return the address of a repository without the credentials that it may hold."""
    address = re.sub(r"^(https?://)[^/@]*@", r"\1", address)
    return re.sub(r"^(\w+://[^/@:]*):[^/@]*@", r"\1@", address)


def record(repository):
    """Return what cruft needs to update the service, and people to know what it is of.

    A template that git does not know has no commit; one with changes that are not committed says so.
    """
    top = git(repository, "rev-parse", "--show-toplevel")
    known = bool(top) and Path(top).resolve() == repository.resolve()
    commit = git(repository, "rev-parse", "HEAD") if known else ""
    uncommitted = bool(commit and git(repository, "status", "--porcelain", "--", *PARTS))
    release = f"v{ANSWERS['_template_version']}"
    tagged = bool(commit) and not uncommitted and release in git(repository, "tag", "--points-at", commit).split()
    template = (known and without_secrets(git(repository, "remote", "get-url", "origin"))) or str(repository.resolve())
    kept = {name: answer for name, answer in ANSWERS.items() if not name.startswith("_") or name == "_template_version"}
    return {
        "template": template,
        "commit": commit or None,
        "checkout": release if tagged else None,
        "context": {"cookiecutter": {**kept, "_template": template, "_commit": commit or None}},
        "directory": None,
        **({"uncommitted": True} if uncommitted else {}),
    }


# what stands in place of the example's files where there is none, and what there is then no use for
BARE = Path("without_example")
OF_THE_EXAMPLE = (
    f"src/{ANSWERS['package_name']}/store.py",
    f"tests/unit/{ANSWERS['package_name']}/test_store.py",
    f"tests/integration/{ANSWERS['package_name']}/test_docs.py",
    f"tests/integration/{ANSWERS['package_name']}/test_federation.py",
    "docs/examples/watching_client.py",
)

for provider, names in CI_FILES.items():
    if provider == ANSWERS["ci_provider"]:
        continue
    for path in map(Path, names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

chosen = LICENCES / f"{ANSWERS['licence']}.txt"
if chosen.is_file():
    chosen.replace("LICENSE")
if LICENCES.is_dir():
    shutil.rmtree(LICENCES)

if ANSWERS["example"] == "none" and BARE.is_dir():
    for name in OF_THE_EXAMPLE:
        Path(name).unlink(missing_ok=True)
    for path in sorted(BARE.rglob("*")):
        if path.is_file():
            path.replace(path.relative_to(BARE))
if BARE.is_dir():
    shutil.rmtree(BARE)

# cruft keeps the record itself, and compares copies that hold none: only the generator says where it reads
if "_repo_dir" in ANSWERS:
    source = Path(os.environ.get("TEMPLATE_REPOSITORY") or ANSWERS["_repo_dir"])
    RECORD.write_text(json.dumps(record(source), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
