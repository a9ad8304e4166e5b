"""Make a release of the template: tag the version that `cookiecutter.json` says, if it is ready. Nothing is pushed."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INNER = "{{cookiecutter.project_slug}}"
sys.path.insert(0, str(ROOT / INNER / "src"))

from secure_rpc import wall  # noqa: E402  # it stands in the template
from secure_rpc.template import UnknownError, Version, git, released  # noqa: E402  # it stands in the template

VERSION_FILE = "cookiecutter.json"  # the one place that says it


def version_of(root: Path) -> Version | None:
    """Return the version that the template has, None where it says none that can be released."""
    return Version.parse(json.loads((root / VERSION_FILE).read_text(encoding="utf-8"))["_template_version"])


def problems(root: Path) -> list[str]:
    """Return all that keeps a version from being released, a line for each."""
    version = version_of(root)
    if version is None or version.tag == f"v{Version(0, 0, 0)}":
        return [f"{VERSION_FILE}: _template_version is no version such as 1.2.3"]
    found = []
    if changed := git("status", "--porcelain", cwd=root).splitlines():
        found.append(f"not committed: {', '.join(line[3:] for line in changed)}")
    tags = git("tag", "--list", cwd=root).splitlines()
    if version.tag in tags:
        found.append(f"the tag {version.tag} is there already: set _template_version in {VERSION_FILE}")
    elif newer := [each.tag for each in released(tags) if each > version]:
        found.append(f"{version} is older than {newer[-1]}")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(str(version))}, \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        found.append(f"CHANGELOG.md has no heading '## {version}, <the day, as in 2026-01-31>'")
    note = root / "docs/migrations" / f"{version}.md"
    if not note.is_file():
        found.append(f"{note.relative_to(root)} is missing: what services have to do, if only that there is nothing")
    elif not note.read_text(encoding="utf-8").startswith(f"# {version}\n"):
        found.append(f"{note.relative_to(root)} does not begin with '# {version}'")
    found += [f"{line} (make wall)" for line in wall.differences(root / INNER)]
    return found


def main() -> None:
    """Look at everything, and make the tag where nothing is wrong."""
    parser = argparse.ArgumentParser(prog="make release", usage='make release [ARGS="--check | --sign"]')
    parser.add_argument("--check", action="store_true", help="only say what is wrong")
    parser.add_argument("--sign", action="store_true", help="sign the tag, with the key that git is set up with")
    given = parser.parse_args()
    try:
        if found := problems(ROOT):
            sys.exit("\n".join(["not released:", *(f"  {line}" for line in found)]))
        version = version_of(ROOT)
        assert version is not None  # noqa: S101  # for the type checker: problems() has seen to it
        if given.check:
            print(f"{version.tag} can be released")
            return
        command = ["git", "tag", "-s" if given.sign else "-a", version.tag, "-m", f"Release {version}"]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            sys.exit(f"not released: git could not make the tag {version.tag}")
        print(f"{version.tag} is {git('rev-parse', f'{version.tag}^{{}}', cwd=ROOT).strip()}. Next:")
        print(f"  git push origin {version.tag}\n  then set the next _template_version in {VERSION_FILE}")
    except UnknownError as error:
        sys.exit(f"not released: {error}")


if __name__ == "__main__":
    main()
