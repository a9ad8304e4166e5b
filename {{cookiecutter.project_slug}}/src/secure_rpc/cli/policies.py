"""The commands of the policy: check, test, explain, who-can, diff; further ones stand in modules of their own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from secure_rpc.call import Principal
from secure_rpc.cli import policy_checking, policy_explaining, policy_export, policy_reports, policy_rollouts
from secure_rpc.cli.ground import Ground, stand
from secure_rpc.cli.people import CallersFile, Config, default_callers, default_config, told_to_people
from secure_rpc.cli.telling import say
from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy.cases import Somebody
from secure_rpc.policy.comparison import compare, markdown
from secure_rpc.policy.conditions import Asked
from secure_rpc.policy.document import PolicyDocument, load, parse
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.entries import entries_of
from secure_rpc.policy.explaining import explain
from secure_rpc.policy.questions import metadata_of, request_of
from secure_rpc.policy.reach import reaches, wanted_by

PolicyFile = Annotated[Path | None, typer.Argument(help="A policy; that of the settings if not given.")]
PolicyOption = Annotated[Path | None, typer.Option("--file", help="A policy; that of the settings if not given.")]
CasesOption = Annotated[Path | None, typer.Option("--cases", help="The table; policy_test.yaml beside the policy.")]
Tenant = Annotated[str, typer.Option(help="Whose data the request names.")]
MethodName = Annotated[str, typer.Argument(help="Its name, such as GetOrder, or /package.Service/Method.")]


def commands(application_module: str) -> typer.Typer:
    """Return the commands.

    Args:
        application_module: holds the service's `APPLICATION`.
    """
    app = typer.Typer(no_args_is_help=True)

    def ground_of(config: Path) -> Ground:
        return stand(config, application_module)

    _add_checks(app, ground_of)
    _add_questions(app, ground_of)
    policy_reports.add(app, ground_of)
    policy_rollouts.add(app, ground_of)
    policy_export.register(app, application_module)
    return app


def _add_checks(app: typer.Typer, ground_of: Callable[[Path], Ground]) -> None:
    @app.command()
    def check(file: PolicyFile = None, config: Config = default_config) -> None:
        """Hold settings, methods, policy, candidate and test table against each other, as the server does at start."""
        with told_to_people():
            policy_checking.check(ground_of(config), file, time.time())

    @app.command()
    def test(
        file: PolicyFile = None,
        config: Config = default_config,
        cases: CasesOption = None,
        junit: Annotated[Path | None, typer.Option(help="Write the outcome there, as JUnit XML.")] = None,
    ) -> None:
        """Try the cases of policy_test.yaml. Exits with 1 where one fails, or where no case speaks of something."""
        with told_to_people():
            ground = ground_of(config)
            report = ground.try_cases(file, cases)
            if junit is not None:
                policy_checking.write_junit(report, junit)
            policy_checking.tell(report, file or ground.policy_file)
        if not report.good:
            raise typer.Exit(1)

    @app.command()
    def diff(
        before: Annotated[Path, typer.Argument(help="A policy; - for standard input.")],
        after: Annotated[Path, typer.Argument(help="Another; - for standard input.")],
        config: Config = default_config,
        as_markdown: Annotated[bool, typer.Option("--markdown", help="For a comment on a pull request.")] = False,  # noqa: FBT002  # an option
    ) -> None:
        """Say who gains and who loses what. Exits with 1 where somebody does, with 78 where one is no policy."""
        with told_to_people():
            ground = ground_of(config)
            if before == after == Path("-"):
                raise ConfigurationError("- stands for standard input, which there is once; give one file")
            changes = compare(_policy_in(before), _policy_in(after), ground.methods)
            if as_markdown:
                typer.echo(markdown(changes, str(before), str(after)), nl=False)
            else:
                say(*map(str, changes) if changes else ["nobody gains and nobody loses anything"])
        if changes:
            raise typer.Exit(1)


def _add_questions(app: typer.Typer, ground_of: Callable[[Path], Ground]) -> None:
    @app.command("explain")
    def explain_command(  # noqa: PLR0913, PLR0917  # a command line has as many options as it has
        words: Annotated[
            list[str], typer.Argument(metavar="[PRINCIPAL] METHOD", help="Who calls, and what; see the options.")
        ],
        config: Config = default_config,
        file: PolicyOption = None,
        cases: CasesOption = None,
        callers: CallersFile = default_callers,
        issuer: Annotated[str, typer.Option(help="In place of PRINCIPAL: the issuer of the token.")] = "",
        subject: Annotated[str, typer.Option(help="The user of that issuer.")] = "",
        group: Annotated[list[str] | None, typer.Option(help="That the token names; several can be given.")] = None,
        own_tenant: Annotated[
            list[str] | None, typer.Option(help="That the token names; several can be given.")
        ] = None,
        workload: Annotated[str, typer.Option(help="The SPIFFE ID of the certificate.")] = "",
        tenant: Tenant = "",
        request: Annotated[str, typer.Option(help="The request, in JSON; what it decides is left open if empty.")] = "",
        metadata: Annotated[list[str] | None, typer.Option(help="name=value; several can be given.")] = None,
    ) -> None:
        """Say whether PRINCIPAL may call METHOD, and why. PRINCIPAL is a name of policy_test.yaml or of the callers."""
        with told_to_people():
            ground = ground_of(config)
            options: dict[str, Any] = {"issuer": issuer, "subject": subject, "workload": workload}
            options |= {"groups": tuple(group or ()), "tenants": tuple(own_tenant or ())}
            given = {key: value for key, value in options.items() if value}
            if len(words) != (1 if given else 2):
                raise ConfigurationError(
                    "say who calls, and what: by a name and a method, or by --issuer, --subject, --group, --own-tenant "
                    "and --workload and a method"
                )
            if given:
                principal = _somebody(given)
            else:
                principal = policy_explaining.principal_named(words[0], ground, cases, callers)
            method = ground.method(words[-1])
            message = None
            if request:
                try:
                    message = request_of(method, _fields(request), tenant)
                except ValueError as error:
                    raise ConfigurationError(f"--request: {error}") from None
            if message is not None and method.contract.tenant_field:
                tenant = str(getattr(message, method.contract.tenant_field))
            policy, now = ground.policy(file), time.time()
            engine = Engine.of(policy, ground.conditions, clock=lambda: now)
            asked = Asked(principal, method, metadata_of(_pairs(metadata or ())), message, now)
            policy_explaining.tell(explain(entries_of(policy), engine, asked, tenant), asked, tenant)

    @app.command("who-can")
    def who_can(
        method: MethodName, config: Config = default_config, file: PolicyOption = None, tenant: Tenant = ""
    ) -> None:
        """Say who may call a method, as the bindings describe them."""
        with told_to_people():
            ground = ground_of(config)
            found = ground.method(method)
            entries = list(entries_of(ground.policy(file)))
            given = reaches(entries, wanted_by(found.contract), of_tenants=bool(found.contract.tenant_field))
            policy_explaining.tell_reach(found, given, tenant, time.time())


def _policy_in(path: Path) -> PolicyDocument:
    """Return a policy that is not held against what there is now: it may be of another time."""
    if path != Path("-"):
        return load(path)
    try:
        return parse(Path("standard input"), sys.stdin.buffer.read().decode())
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"standard input is no UTF-8: {error}") from None


def _somebody(given: dict[str, Any]) -> Principal:
    try:
        return Somebody.model_validate(given).principal()
    except ValueError as error:
        said = "; ".join(found["msg"].removeprefix("Value error, ") for found in getattr(error, "errors", list)())
        raise ConfigurationError(f"the options describe nobody: {said}") from None


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"--request {text!r} is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigurationError(f"--request {text!r} is no JSON object")
    return fields


def _pairs(entries: list[str] | tuple[()]) -> dict[str, str]:
    pairs = {}
    for entry in entries:
        name, found, value = entry.partition("=")
        if not found:
            raise ConfigurationError(f"--metadata {entry!r}: is not of the form name=value")
        pairs[name] = value
    return pairs
