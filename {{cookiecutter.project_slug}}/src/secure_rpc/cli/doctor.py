"""`doctor`: the posture of the service against the ladder, on the screen, as JSON, and as a page to show."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from secure_rpc import settings as settings_module
from secure_rpc.cli.ground import CASES_NAME, Ground
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.people import told_to_people
from secure_rpc.cli.telling import console, count, plain, say
from secure_rpc.configuration import ConfigurationError, read_yaml
from secure_rpc.doctor import manifests as manifests_module
from secure_rpc.doctor import origin, page, running, waivers
from secure_rpc.doctor.catalogue import IDS
from secure_rpc.doctor.checks import Level, Status
from secure_rpc.doctor.facts import Facts
from secure_rpc.doctor.grading import Report, Result, examine
from secure_rpc.doctor.manifests import Manifests
from secure_rpc.doctor.running import Running, Where
from secure_rpc.settings import CONFIG_VARIABLE, Settings

CONFIG = Path("config/prod.yaml")
OVERLAY = Path("deploy/overlays/prod")
POLICY_FOLDER = Path("policy")
MARKS = {
    Status.PASSED: "[green]passed[/green]",
    Status.FAILED: "[bold red]FAILED[/bold red]",
    Status.WAIVED: "[yellow]waived[/yellow]",
    Status.NOT_APPLICABLE: "[dim]n/a[/dim]",
    Status.UNKNOWN: "[bold yellow]UNKNOWN[/bold yellow]",
}

ConfigOption = Annotated[Path, typer.Option(help="The settings.", envvar=CONFIG_VARIABLE)]
Overlay = Annotated[
    Path | None,
    typer.Option(help=f"The manifests, a folder; {OVERLAY} if not given, where config/ packs the settings for it."),
]
WaiversOption = Annotated[Path, typer.Option(help="Checks that may fail for now.")]
Address = Annotated[str, typer.Option("--running", help="host:port of the admin or probe port of a running service.")]
Target = Annotated[str, typer.Option(help="host:port of its gRPC port; that of the settings if not given.")]


def add(app: typer.Typer, application_module: str) -> None:
    """Add the command.

    Args:
        app: to which.
        application_module: holds the service's `APPLICATION`.
    """

    @app.command()
    def doctor(  # noqa: PLR0913, PLR0917  # each is an option
        config: ConfigOption = CONFIG,
        overlay: Overlay = None,
        waiver_file: Annotated[Path, typer.Option("--waivers", help="Checks that may fail for now.")] = waivers.FILE,
        running_at: Address = "",
        target: Target = "",
        ca: Annotated[Path | None, typer.Option(help="The CAs that vouch for its admin port, if it has TLS.")] = None,
        certificate: Annotated[Path | None, typer.Option(help="Ours for it: one of admin.allowed_workloads.")] = None,
        key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
        require: Annotated[Level | None, typer.Option(help="Exit with 1 where this rung is not reached.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,  # noqa: FBT002  # an option
        html: Annotated[Path | None, typer.Option(help="Write a page to show there.")] = None,
    ) -> None:
        """Hold settings, policy, manifests and files against the ladder; with --running, a running service, too."""
        with told_to_people():
            where = Where(running_at, target, ca, certificate, key) if running_at else None
            facts, looked_at = gather(config, application_module, overlay, waiver_file, where)
            report = examine(facts, looked_at)
            if html is not None:
                _write(html, page.page(report, _base(html)))
        if as_json:
            sys.stdout.write(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
        else:
            tell(report)
        if require is not None and not report.holds(require):
            raise typer.Exit(1)


def gather(
    config: Path,
    application_module: str,
    overlay: Path | None = None,
    waiver_file: Path = waivers.FILE,
    where: Where | None = None,
) -> tuple[Facts, str]:
    """Return what the checks look at, and where it comes from, in a sentence.

    Args:
        config: the settings.
        application_module: holds the service's `APPLICATION`.
        overlay: the manifests; those that go with the settings if None.
        waiver_file: the waivers; it need not be there.
        where: a running service; None for none.

    Raises:
        ConfigurationError: settings, contracts, manifests or waivers are wrong.
    """
    manifests, none_because = _manifests(config, overlay)
    with _environment({} if manifests is None else manifests.environment):
        settings = settings_module.load(config)
    ground = Ground.of(load_application(application_module), settings)
    facts = Facts(
        settings,
        ground.methods,
        manifests=manifests,
        no_manifests_because=none_because,
        waivers=waivers.load(waiver_file, IDS),
        running=None if where is None else _running(where, settings),
        releases=origin.releases_of(Path()) if Path("pyproject.toml").exists() else None,
    )
    looked_at = f"{config}" + (f" with {manifests.folder}" if manifests is not None else "")
    looked_at += f", and the service at {where.admin}" if where is not None else "; no running service was asked"
    return _with_policy(facts, ground), looked_at


def _manifests(config: Path, overlay: Path | None) -> tuple[Manifests | None, str]:
    if overlay is not None:
        return _with_pods(manifests_module.load(overlay))
    packed = config.parent / manifests_module.FILE
    if not packed.exists() or not OVERLAY.is_dir():
        return None, "the manifests are not on this machine; look in the repository"
    made = [each for listed in read_yaml(packed).data.get("configMapGenerator", ()) for each in listed.get("files", ())]
    if not any(str(each).rpartition("=")[2] == config.name for each in made):
        return None, f"{config} is not what the manifests give to pods; --overlay names those that do"
    return _with_pods(manifests_module.load(OVERLAY))


def _with_pods(found: Manifests) -> tuple[Manifests | None, str]:
    if found.pod:
        return found, ""
    return None, f"{found.folder} holds none of {', '.join(manifests_module.WORKLOADS)}; name an overlay that does"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set what the pods have in their environment; what is set here already is what is meant."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _running(where: Where, settings: Settings) -> Running:
    found = replace(where, target=where.target or settings.listen.address.replace("0.0.0.0:", "127.0.0.1:"))  # read
    for name, address in (("--running", found.admin), ("--target", found.target)):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise ConfigurationError(f"{name} {address}: is no host and port, such as 127.0.0.1:9464")
    return running.look(found, settings)


def _with_policy(facts: Facts, ground: Ground) -> Facts:
    """Add the policy and what came of its cases: the file of the settings, else the one that deploy/ packs."""
    file = ground.policy_file
    if not file.exists():
        file = POLICY_FOLDER / file.name
    try:
        facts = replace(facts, policy=ground.policy(file))
    except ConfigurationError as error:
        return replace(facts, policy_problem="; ".join(error.problems))
    cases = file.with_name(CASES_NAME)
    if not cases.exists() and not POLICY_FOLDER.is_dir():
        return facts  # in a pod: the cases are in the repository
    try:
        return replace(facts, cases=ground.try_cases(file, cases))
    except ConfigurationError as error:
        return replace(facts, cases_problem="; ".join(error.problems))


def tell(report: Report) -> None:
    """Print a report: a table for each rung, the rung that is reached, and what to do next."""
    for level in Level:
        table = Table(title=f"{level.value}: {_summary(report, level)}", title_justify="left", expand=True)
        table.add_column("result", no_wrap=True)
        table.add_column("check", overflow="fold", ratio=2)
        table.add_column("seen", overflow="fold", ratio=3)
        for result in report.of(level):
            table.add_row(MARKS[result.status], _named(result), escape(plain(_seen(result))))
        console().print(table, emoji=False)
    grade = "none: not even beginner" if report.grade is None else report.grade.value
    say(f"grade reached: {grade} ({report.looked_at})", style="bold")
    for number, result in enumerate(report.next_steps, 1):
        say(f"{number}. {result.check.id}: {result.check.remedy} ({result.check.docs})")
    if not report.next_steps:
        say("nothing is left to do")


def _named(result: Result) -> str:
    return f"{escape(result.check.title)}\n[dim]{result.check.id}[/dim]"


def _seen(result: Result) -> str:
    if result.waiver is None:
        return result.said
    return f"{result.said}; waived until {result.waiver.until}: {result.waiver.reason}"


def _summary(report: Report, level: Level) -> str:
    counts = report.counts(level)
    return ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status]) or count(0, "check")


def _base(html: Path) -> str:
    """Return what leads from the page to this folder, where the pages of docs/ are."""
    return Path(os.path.relpath(Path.cwd(), html.resolve().parent)).as_posix()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror}); check the path") from None
