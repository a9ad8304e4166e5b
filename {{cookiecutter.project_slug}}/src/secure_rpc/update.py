"""Take up a release of the template: `make update TAG=v1.2.3`. Standard library only.

cruft brings the changes in, and says "Good work!" whatever came of it. So what an update must not lose is looked at
before, and what it must not leave behind after it. The page is docs/updating.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from secure_rpc import template, wall
from secure_rpc.template import Record, Release, UnknownError, Version, git

MAX_NAMED = 20  # places, or files, that are named at once
LOCKS = {
    "runtime": ("runtime", "dev"),
    "dev": ("dev",),
    "edge": ("edge",),
    "update": ("update",),
    "checks": ("checks",),
}  # what changes with which
MARKER = re.compile(rb"^(?:<{7} |>{7} )", re.MULTILINE)
BACK = "to go back to where you were: git reset -q --hard && git clean -qfd"


class RefusedError(Exception):
    """Say why nothing was changed."""


def check_tree(root: Path) -> None:
    """See to it that everything that is lost could be had again.

    Raises:
        RefusedError: it could not.
    """
    try:
        changed = git("status", "--porcelain", cwd=root).splitlines()
    except UnknownError as error:
        raise RefusedError(f"an update needs the service under git: {error}") from None
    if changed:
        raise RefusedError("\n".join(["commit or put away what is changed here first:", *named(changed)]))


def check_platform(root: Path, record: Record, clone: Path) -> None:
    """See to it that the platform is as it was made: what was changed there would be undone, or not taken up.

    Raises:
        RefusedError: it is not.
    """
    note = wall.NOTE.as_posix()
    places = wall.differences(root)
    made = Release(clone, "", record.commit, Version(0, 0, 0)).generated(note)
    if made != _text(root / note) and not record.uncommitted:
        places.insert(0, f"changed: {note}")  # by who noted a change of their own as if it were the platform's
    if places:
        what = "files of the platform are not as they were made; an update replaces them:"
        how = (
            "take these changes back, make them in the template, or move them into files of your own: docs/updating.md."
            "\nARGS=--anyway goes on, and merges what can be merged"
        )
        raise RefusedError("\n".join([what, *named(places), how]))


def run_cruft(cruft: Path, root: Path, release: Release) -> str:
    """Have cruft bring the release in, without anybody's configuration, and return what it said."""
    settings = release.clone.with_name("settings.yaml")
    kept = release.clone.with_name("kept")
    settings.write_text(f"replay_dir: {kept}\ncookiecutters_dir: {kept}\n", encoding="utf-8")
    ours = {"PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MAKELEVEL"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"COOKIECUTTER_CONFIG": str(settings), "GIT_CONFIG_COUNT": "1"}
    environment |= {"GIT_CONFIG_KEY_0": "apply.whitespace", "GIT_CONFIG_VALUE_0": "nowarn"}
    command = [str(cruft), "update", "-y", "--checkout", release.commit, "--template-path", str(release.clone)]
    done = subprocess.run(command, cwd=root, env=environment, check=False, capture_output=True, text=True)  # noqa: S603
    return (done.stdout + done.stderr).strip()


def tidy_record(root: Path, release: Release) -> str:
    """Write the release into the record where cruft came to its end; return why it did not."""
    file = root / template.FILE
    data = json.loads(file.read_text(encoding="utf-8"))
    if data["commit"] != release.commit:
        return f"cruft did not come to its end: {template.FILE} still has the commit {data['commit'][:12]}"
    data["checkout"] = release.tag
    data.pop("uncommitted", None)
    answers = data["context"]["cookiecutter"]
    kept = {"_template_version", "_template", "_commit"}
    data["context"] = {"cookiecutter": {name: answers[name] for name in answers if name[:1] != "_" or name in kept}}
    file.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return ""


def conflicts(root: Path) -> list[str]:
    """Return the places that an update left to people, each with what it is."""
    unmerged = {line.split("\t", 1)[1] for line in git("ls-files", "-u", cwd=root).splitlines()}
    rejected = git("ls-files", "-o", "-z", "--", "*.rej", cwd=root).split("\0")
    touched = [*git("diff", "--name-only", "-z", "HEAD", "--relative", cwd=root).split("\0")]
    touched += git("ls-files", "-o", "-z", "--exclude-standard", cwd=root).split("\0")
    marked = [path for path in touched if path and path not in unmerged and MARKER.search(_bytes(root / path))]
    return [
        *(f"both changed it: {path}" for path in sorted(unmerged)),
        *(f"left out: {path}" for path in sorted(rejected) if path),
        *(f"conflict markers: {path}" for path in sorted(marked)),
    ]


def lock_again(root: Path, release: Release) -> list[str]:
    """Make the locks again that the team's own requirements change, all else as the release has it.

    Returns:
        What could not be done.
    """
    unmerged = {line.split("\t", 1)[1] for line in git("ls-files", "-u", cwd=root).splitlines()}
    ours = [
        name
        for name in LOCKS
        if _text(root / f"requirements/{name}.in") != release.generated(f"requirements/{name}.in")
    ]
    ours = [name for name in ours if (root / f"requirements/{name}.in").exists()]
    sets = sorted({each for name in ours for each in LOCKS[name]})
    if any(f"requirements/{name}.in" in unmerged for name in sets):
        return []  # people decide first; then make lock does
    for path in sorted(f"requirements/{name}.txt" for name in sets if f"requirements/{name}.txt" in unmerged):
        git("checkout", "-q", "--theirs", "--", path, cwd=root)  # the release's own: a lock is built, not merged
        git("add", "--", path, cwd=root)
    if not sets:
        return []
    command = ["make", "-s", "lock", f"LOCKS={' '.join(sets)}", "UPGRADE="]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)  # noqa: S603  # of our own making
    if done.returncode == 0:
        say(f"locked again, for requirements of your own: {', '.join(sets)}")
        return []
    said = (done.stdout + done.stderr).strip().splitlines()[-3:]
    return [f"needs {' '.join(command[2:])!r}: requirements/{name}.txt" for name in sets] + said


def check_wall(root: Path, release: Release) -> list[str]:
    """Return the platform's files that are not those of the release, whatever was noted here."""
    note = wall.NOTE.as_posix()
    (root / note).write_text(release.generated(note), encoding="utf-8")
    git("add", "--", note, cwd=root)  # it is built, not merged
    command = [sys.executable, "-B", str(root / "src/secure_rpc/wall.py")]  # as it is now: it may have changed, too
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)  # noqa: S603  # of our own
    return done.stderr.splitlines() if done.returncode else []


def forget_stubs(root: Path) -> None:
    """Remove generated code, where protos were changed: that of a proto that is gone would stay for ever."""
    if not git("diff", "--name-only", "HEAD", "--", "*.proto", cwd=root):
        return
    for folder in ("src", "tests"):
        for path in (root / folder).rglob("*_pb2*"):
            path.unlink()
    (root / "build/proto.stamp").unlink(missing_ok=True)


def update(root: Path, tag: str, cruft: Path, *, anyway: bool = False) -> int:
    """Bring a release in, say what came of it, and return 0 where nothing is left to people.

    Args:
        root: the service's repository.
        tag: of the release, exactly.
        cruft: the program.
        anyway: whether files of the platform may have been changed before.

    Raises:
        RefusedError: nothing was changed, and why.
        UnknownError: git failed.
    """
    record = Record.read(root)
    check_tree(root)
    with tempfile.TemporaryDirectory(prefix="update-") as folder:
        clone = Path(folder) / "template.git"
        git("clone", "-q", "--bare", "--", record.template, str(clone), ask_people=True)
        release, before = Release.find(clone, tag), Version.parse(record.version)
        check_way(record, release, before)
        if record.commit == release.commit:
            say(f"this is {tag} already")
            return 0
        if not anyway:
            check_platform(root, record, clone)
        say(f"from {record.version} ({record.commit[:12]}) to {tag} ({release.commit[:12]}) of {record.template}")
        said = run_cruft(cruft, root, release)
        if problem := tidy_record(root, release):
            say(said, f"not updated: {problem}", BACK)
            return 1
        forget_stubs(root)
        places = [*lock_again(root, release), *check_wall(root, release), *conflicts(root)]
        notes = release.notes(before)
    for note in notes:
        say(f"\n{note.strip()}")
    return told(root, tag, places)


def check_way(record: Record, release: Release, before: Version | None) -> None:
    """See to it that there is a way from one version to the other.

    Raises:
        RefusedError: there is none.
    """
    if before is not None and release.version < before:
        raise RefusedError(f"{release.tag} is older than {before}: git revert of the update's commit goes back")
    if not record.commit:
        raise RefusedError(f"the service was made from files without a history: cruft link writes {template.FILE} anew")
    try:
        git("rev-parse", "--verify", "-q", f"{record.commit}^0", cwd=release.clone)
    except UnknownError:
        raise RefusedError(
            f"the template does not have the commit {record.commit[:12]} that this was made from; set commit in"
            f" {template.FILE} to that of the release it was nearest to, and commit that"
        ) from None


def told(root: Path, tag: str, places: list[str]) -> int:
    """Say what came of an update, and what to do next."""
    if places:
        say(f"\n{tag} is in, but this is left to you:", *named(places))
        say("\nmend each (docs/updating.md tells how), then: make lint && make test, and commit", BACK)
        return 1
    changed = git("diff", "--name-only", "HEAD", cwd=root).splitlines()
    say(f"\n{tag} is in, without a conflict: {len(changed)} files. Next:")
    say("  make lint && make test", f"  git add -A && git commit -m 'Take up {tag} of the template'", BACK)
    return 0


def named(places: list[str]) -> Iterator[str]:
    """Yield a line for each place, as far as that helps."""
    yield from (f"  {plain(place)}" for place in places[:MAX_NAMED])
    if len(places) > MAX_NAMED:
        yield f"  and {len(places) - MAX_NAMED} more"


def say(*lines: str) -> None:
    """Print lines, what comes of the template among them."""
    sys.stdout.write("".join(f"{plain(line)}\n" for line in lines))
    sys.stdout.flush()  # before what others print


def plain(text: str) -> str:
    """Return text without what could move a terminal's cursor or change its colours."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else b""


def _text(path: Path) -> str:
    return _bytes(path).decode("utf-8", "replace")


def main() -> None:
    """Read the arguments, and update; without a tag, tell which there are."""
    parser = argparse.ArgumentParser(prog="make update", usage="make update TAG=v1.2.3 [ARGS=--anyway]")
    parser.add_argument("tag", nargs="?", default="")
    parser.add_argument("--cruft", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--anyway", action="store_true", help="though files of the platform were changed here")
    given = parser.parse_args()
    root = Path.cwd()
    try:
        if given.tag:
            sys.exit(update(root, given.tag, given.cruft.absolute(), anyway=given.anyway))
        record = Record.read(root)
        releases = template.ask(record.template)
        known = ", ".join(version.tag for version in releases.known) or releases.problem or "none"
        sys.exit(
            f"TAG missing: make update TAG=v1.2.3\nthis is {record.version}; releases of {record.template}: {known}"
        )
    except (RefusedError, UnknownError) as error:
        sys.exit(f"not updated: {plain(str(error))}")


if __name__ == "__main__":
    main()
