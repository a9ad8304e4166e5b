"""See all services at once: the release of the template that each is of, its grade, and what was changed in it."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "{{cookiecutter.project_slug}}" / "src"))

from secure_rpc import template, wall  # noqa: E402  # it stands in the template
from secure_rpc.doctor.checks import Level  # noqa: E402  # it stands in the template
from secure_rpc.template import Record, Release, Releases, UnknownError, Version, git  # noqa: E402

ADDRESS = re.compile(r"[a-z+]+://.+|[\w.-]+@[\w.-]+:.+")
RANKS = {level.value: level.rank for level in Level}
SLUG = re.compile(r"[a-z][a-z0-9-]{0,62}")
REPORTS = ("doctor.json", "build/doctor.json")  # in a repository, where no folder of reports is named
MAX_BYTES = 4_000_000  # of a file that is read
MAX_JOBS = 16
SHOWN = 60  # characters of a cell of the table


@dataclass(slots=True)
class Row:
    """What is known of one repository."""

    repository: str
    service: str = ""
    version: str = ""
    behind: int | None = None  # releases
    newest: str = ""
    gets_fixes: bool | None = None
    grade: str = ""  # "none" where not even the lowest rung is reached, empty where nobody graded it
    graded_by: str = ""
    drift: list[str] = field(default_factory=list)  # platform files that are not as they were made
    problem: str = ""  # why something is not known


@dataclass(frozen=True, slots=True)
class How:
    """What to hold repositories against, and what may be done for it."""

    releases: Releases
    template_folder: Path | None  # where the template's history is on this machine
    reports: Path | None
    run_doctor: bool
    seconds: float


def look(repository: str, how: How) -> Row:
    """Return what is known of a repository; one that is broken is a row with the reason."""
    row = Row(shown(repository))
    try:
        if Path(repository).is_dir():
            read(Path(repository), how, row, is_ours=True)
        elif ADDRESS.fullmatch(repository):
            with tempfile.TemporaryDirectory(prefix="fleet-") as scratch:
                folder = Path(scratch) / "repository"
                options = ("-c", "core.hooksPath=/dev/null", "-c", "core.symlinks=false")
                clone = ("clone", "-q", "--depth", "1", "--no-tags", "--", repository, str(folder))
                git(*options, *clone, seconds=how.seconds)
                read(folder, how, row, is_ours=False)
        else:
            row.problem = "no folder here, and no address of a repository"
    except UnknownError as error:
        row.problem = shown(str(error))
    except Exception as error:  # noqa: BLE001  # whatever is in one repository must not hide the others
        row.problem = f"cannot be read: {type(error).__name__}: {error}"
    return row


def read(folder: Path, how: How, row: Row, *, is_ours: bool) -> None:
    """Read a repository into its row. Nothing of it is run, unless it is on this machine and that was asked for."""
    record = Record.read(folder)
    data = json.loads((folder / template.FILE).read_text(encoding="utf-8"))
    slug = str(data.get("context", {}).get("cookiecutter", {}).get("project_slug") or "")
    row.service = slug if SLUG.fullmatch(slug) else ""
    row.version = record.version
    row.drift = drift(folder, record, how)
    version = Version.parse(record.version)
    if version is None:
        row.problem = f"{template.FILE} names no version"
    elif how.releases.problem:
        row.problem = f"which release is the newest is not known: {how.releases.problem}"
    else:
        newer = how.releases.after(version)
        row.behind, row.newest = len(newer), newer[-1].tag if newer else ""
        row.gets_fixes = how.releases.supports(version)
    row.grade, row.graded_by = graded(folder, row, how, is_ours=is_ours)


def drift(folder: Path, record: Record, how: How) -> list[str]:
    """Return the platform files that are not as the template made them; the repository's own program is not asked."""
    note = folder / wall.NOTE
    if not note.is_file() or note.is_symlink():
        return [f"lost: {wall.NOTE.as_posix()}"]
    text = note.read_text(encoding="utf-8")
    lines = []
    if how.template_folder is not None and record.commit and not record.uncommitted:
        made = Release(how.template_folder, "", record.commit, Version(0, 0, 0)).generated(wall.NOTE.as_posix())
        if made and made != text:  # who noted a change of their own as if it were the platform's
            lines, text = [f"changed: {wall.NOTE.as_posix()}"], made
    noted = {path: digest for digest, path in (line.split("  ", 1) for line in text.splitlines())}
    owned = [part for part in wall.OWNED if any(path.startswith(f"{part}/") for path in noted)]  # by that release
    found = {
        path.relative_to(folder).as_posix(): digest(path)
        for part in owned
        for path in sorted((folder / part).rglob("*"))
        if (path.is_file() or path.is_symlink()) and "_pb2" not in path.name and "__pycache__" not in path.parts
    }
    found.pop(wall.NOTE.as_posix(), None)
    return [
        *lines,
        *(f"changed: {path}" for path in found if path in noted and noted[path] != found[path]),
        *(f"not the platform's: {path}" for path in found if path not in noted),
        *(f"lost: {path}" for path in noted if path not in found),
    ]


def digest(path: Path) -> str:
    """Return the digest of a file; what leads elsewhere, or is too large to be the platform's, has none."""
    if path.is_symlink() or path.stat().st_size > MAX_BYTES:
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def graded(folder: Path, row: Row, how: How, *, is_ours: bool) -> tuple[str, str]:
    """Return the rung that a service has reached, and who says so: its doctor, now, or a report of it."""
    program = folder / ".venv/bin" / row.service
    if how.run_doctor and is_ours and row.service and program.is_file():
        command = [str(program.absolute()), "doctor", "--json"]
        try:
            done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=how.seconds)
            return grade_of(done.stdout), "its doctor, now"
        except (ValueError, subprocess.TimeoutExpired):
            return "", "its doctor failed"
    places = [how.reports / f"{row.service}.json"] if how.reports is not None else [folder / name for name in REPORTS]
    for place in places:
        if place.is_file() and not place.is_symlink() and place.stat().st_size <= MAX_BYTES:
            try:
                text = place.read_text(encoding="utf-8")
                return grade_of(text), f"its report of {json.loads(text).get('when') or 'an unknown day'}"
            except ValueError:
                return "", f"{place.name} is no report of a doctor"
    return "", "no report"


def grade_of(text: str) -> str:
    """Return the rung that a report says.

    Raises:
        ValueError: it is no report.
    """
    report = json.loads(text)
    if not isinstance(report, dict) or "checks" not in report or report.get("grade") not in {None, *RANKS}:
        raise ValueError("no report")
    return report["grade"] or "none"


def shown(text: str) -> str:
    """Return text without credentials, and without what could do something to a terminal or a spreadsheet."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return re.sub(r"(?<=://)[^/@\s]*@", "", clean)


def is_wrong(row: Row, conditions: Iterable[str]) -> bool:
    """Say whether one of the conditions of --fail-on holds for a row."""
    for condition in conditions:
        name, _, value = condition.partition("=")
        if (
            (name == "broken" and row.problem)
            or (name == "drift" and row.drift)
            or (name == "behind" and row.behind is not None and row.behind >= int(value or 1))
            or (name == "unsupported" and row.gets_fixes is False)
            or (name == "grade" and RANKS.get(row.grade, -1) < RANKS[value])
        ):
            return True
    return False


def condition(text: str) -> list[str]:
    """Read the conditions of --fail-on."""
    for each in text.split(","):
        name, given, value = each.partition("=")
        known = {"broken": not given, "drift": not given, "unsupported": not given}
        known |= {"behind": not given or value.isdecimal(), "grade": value in RANKS}
        if not known.get(name):
            raise argparse.ArgumentTypeError(f"{each}: known are broken, drift, behind=N, unsupported, grade=RUNG")
    return text.split(",")


def as_json(rows: Sequence[Row], how: How) -> str:
    """Return the rows for machines."""
    newest = how.releases.known[-1].tag if how.releases.known else None
    return (
        json.dumps({"newest": newest, "services": [asdict(row) for row in rows]}, indent=2, ensure_ascii=False) + "\n"
    )


def as_csv(rows: Sequence[Row], _how: How) -> str:
    """Return the rows for a spreadsheet, in which no cell is a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(each.name for each in fields(Row))
    for row in rows:
        cells = {**asdict(row), "drift": "; ".join(row.drift)}.values()
        texts = ("" if cell is None else shown(str(cell)) for cell in cells)
        writer.writerow(f"'{text}" if text[:1] in {*"=+-@"} else text for text in texts)
    return out.getvalue()


def as_table(rows: Sequence[Row], how: How) -> str:
    """Return the rows for people."""
    return "\n".join(_table(rows, how)) + "\n"


def _table(rows: Sequence[Row], how: How) -> Iterator[str]:
    head = ("service", "version", "behind", "grade", "graded by", "drift", "repository")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    yield ""
    for row in rows:
        if row.problem:
            yield f"{row.service or row.repository}: {shown(row.problem)}"
        if row.drift:
            more = f" and {len(row.drift) - 3} more" if len(row.drift) > len(row.drift[:3]) else ""
            yield f"{row.service or row.repository}: {shown('; '.join(row.drift[:3]))}{more}"
    newest = how.releases.known[-1].tag if how.releases.known else how.releases.problem or "none yet"
    count = sum(1 for row in rows if not row.problem)
    yield f"{count} of {len(rows)} could be read; the template's newest release: {newest}"


def _cells(row: Row) -> tuple[str, ...]:
    behind = "?" if row.behind is None else f"{row.behind}{'' if row.gets_fixes else ', gets no fixes'}"
    drifted = "broken" if row.problem and not row.version else f"{len(row.drift)} files" if row.drift else "none"
    cells = (row.service or "?", row.version or "?", behind, row.grade or "?", row.graded_by, drifted, row.repository)
    return tuple(cell if len(cell) <= SHOWN else f"{cell[: SHOWN - 3]}..." for cell in map(shown, cells))


FORMATS = {"table": as_table, "json": as_json, "csv": as_csv}


def main() -> None:
    """Read the arguments, look at every repository, and say what there is."""
    parser = argparse.ArgumentParser(prog="make fleet", usage='make fleet ARGS="[options] repository ..."')
    parser.add_argument("repositories", nargs="*", help="folders, or addresses of git repositories")
    parser.add_argument("--list", type=Path, help="a file with one of them on each line; # begins a remark")
    parser.add_argument("--template", default=str(ROOT), help="whose releases count; this repository if not given")
    parser.add_argument("--reports", type=Path, help="a folder with a report of the doctor for each: SERVICE.json")
    parser.add_argument("--run-doctor", action="store_true", help="in folders that are set up: it runs their code")
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--out", type=Path, help="a file to write to")
    parser.add_argument("--fail-on", type=condition, default=[], help="broken,drift,behind=N,unsupported,grade=RUNG")
    parser.add_argument("--jobs", type=int, choices=range(1, MAX_JOBS + 1), default=4, help="at once", metavar="N")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each repository and doctor, at most")
    given = parser.parse_args()
    repositories = list(given.repositories)
    try:
        if given.list is not None:
            lines = (line.partition("#")[0].strip() for line in given.list.read_text(encoding="utf-8").splitlines())
            repositories += [line for line in lines if line]
    except (OSError, ValueError) as error:
        parser.error(f"{given.list}: {error}")
    if not repositories:
        parser.error("name repositories, or --list a file of them")
    folder = Path(given.template) if Path(given.template).is_dir() else None
    how = How(template.ask(given.template), folder, given.reports, given.run_doctor, given.seconds)
    with ThreadPoolExecutor(given.jobs) as pool:
        rows = list(pool.map(lambda repository: look(repository, how), dict.fromkeys(repositories)))
    text = FORMATS[given.format](rows, how)
    if given.out is None:
        sys.stdout.write(text)
    else:
        given.out.write_text(text, encoding="utf-8")
    sys.exit(any(is_wrong(row, given.fail_on) for row in rows))


if __name__ == "__main__":
    main()
