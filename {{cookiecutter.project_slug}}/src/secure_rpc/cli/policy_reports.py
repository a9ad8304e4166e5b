"""`policy unused`, `policy matrix` and `policy schema`: reports, on the screen and for others to read."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from secure_rpc.audit.verify import verify
from secure_rpc.cli.ground import Ground
from secure_rpc.cli.people import Config, default_config, told_to_people
from secure_rpc.cli.telling import count, plain, rows, say
from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.policy import matrix as matrices
from secure_rpc.policy import schema as schemas
from secure_rpc.policy.questions import display_names
from secure_rpc.policy.usage import TELLING_DAYS, Unused, Usage, UsageReader
from secure_rpc.policy.usage import unused as unused_of

CasesOption = Annotated[Path | None, typer.Option("--cases", help="The table; policy_test.yaml beside the policy.")]


def add(app: typer.Typer, ground_of: Callable[[Path], Ground]) -> None:
    """Add the commands."""

    @app.command()
    def unused(
        config: Config = default_config,
        file: Annotated[
            Path | None, typer.Option("--file", help="A policy; that of the settings if not given.")
        ] = None,
        audit: Annotated[
            list[Path] | None,
            typer.Option(help="An audit log; that of the settings if not given. Several count as one."),
        ] = None,
        days: Annotated[int, typer.Option(help="How far back to look; 0 for all there is.", min=0)] = 0,
        unverified: Annotated[  # noqa: FBT002  # an option
            bool, typer.Option("--unverified", help="Read a log that is not whole; what it does not show is unknown.")
        ] = False,
    ) -> None:
        """Say what the policy gives and nobody has used, by the audit log."""
        with told_to_people():
            ground = ground_of(config)
            policy = ground.policy(file)
            since = datetime.now(UTC) - timedelta(days=days) if days else None
            reader = UsageReader(policy, [*ground.methods, *ground.others], since)
            for path in audit or [ground.settings.audit.file]:
                reader.read(_records(path, unverified=unverified))
            tell_unused(reader.usage, unused_of(policy, reader.usage), policy.version)

    @app.command()
    def matrix(
        config: Config = default_config,
        file: Annotated[
            Path | None, typer.Option("--file", help="A policy; that of the settings if not given.")
        ] = None,
        cases: CasesOption = None,
        html: Annotated[Path | None, typer.Option(help="Write it there, as a page that stands by itself.")] = None,
    ) -> None:
        """Show which principals of policy_test.yaml may call which methods."""
        with told_to_people():
            ground = ground_of(config)
            principals = ground.cases(cases).principals()
            found = matrices.matrix(ground.policy(file), ground.conditions, principals, _guarded(ground), time.time())
            if html is None:
                rows(("", *found.methods), ((name, *map(str, cells)) for name, cells in found.rows.items()))
                return
            try:
                html.write_text(matrices.html(found, ground.settings.service.name), encoding="utf-8")
            except OSError as error:
                raise ConfigurationError(f"{html}: cannot be written ({error.strerror}); check the path") from None

    @app.command()
    def schema(
        of: Annotated[str, typer.Argument(help=f"Of which file: {', '.join(schemas.SCHEMAS)}.")] = "policy",
        config: Config = default_config,
        any_service: Annotated[  # noqa: FBT002  # an option
            bool, typer.Option("--any-service", help="Without the names of this service, as it is kept in src.")
        ] = False,
    ) -> None:
        """Print the JSON schema of policy.yaml, for editors: with the permissions and issuers that there are."""
        with told_to_people():
            if of not in schemas.SCHEMAS:
                raise ConfigurationError(f'there is no schema of "{of}"; {did_you_mean(of, schemas.SCHEMAS)}')
            typer.echo(schemas.text(of, None if any_service else _names(ground_of(config))), nl=False)


def _guarded(ground: Ground) -> list[Any]:
    return [method for method in ground.methods if method.contract.is_guarded]


def _names(ground: Ground) -> schemas.Names:
    methods = [*ground.methods, *ground.others]
    return schemas.Names(
        permissions=ground.known.permissions,
        issuers=ground.known.issuers,
        roles=ground.policy().policy.roles,
        methods=display_names(methods).values(),
        principals=ground.cases().principals() if ground.cases_file.exists() else (),
        quota_classes=ground.known.quota_classes,
    )


def _records(path: Path, *, unverified: bool) -> Iterator[dict[str, Any]]:
    """Yield the records of calls in a log.

    Raises:
        ConfigurationError: the log cannot be read, or is not whole.
    """
    finding = verify(path)
    if not finding.whole:
        if not unverified:
            raise ConfigurationError(
                f"{path}: is not whole: {finding.problem}; find out why, or give --unverified to read what is there"
            )
        say(f"warning: {path} is not whole: {finding.problem}", style="yellow")
    try:
        with path.open("rb") as file:
            for line in file if unverified else itertools.islice(file, finding.lines):
                try:
                    record = orjson.loads(line)
                    _ = [record[key] for key in ("method", "reason", "issuer", "subject", "workload")]
                    _ = datetime.fromisoformat(record["time"])
                except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                    continue  # the opening of a log, or what is left of a line
                if record.get("event") == "call":
                    yield record
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def tell_unused(usage: Usage, found: Unused, version: str) -> None:
    """Print what is not used, and how much that says."""
    if usage.first is None or usage.last is None:
        say("the log has no calls in that time: nothing can be told")
        return
    say(
        f"{count(usage.calls, 'call')} from {usage.first:%Y-%m-%d} to {usage.last:%Y-%m-%d} ({usage.days:.0f} days), "
        f"{usage.allowed} allowed by a binding",
        *(
            f"  {number} by policy {plain(name) or 'of unknown version'}{' (that of now)' if name == version else ''}"
            for name, number in usage.versions.most_common()
        ),
    )
    if usage.left_out:
        say(
            f"  left out: {count(usage.left_out, 'call')} by bindings of other versions that cannot be told from those "
            "of now; bindings that have a name can"
        )
    say(
        *(f"never used: {binding.rule} ({binding.place})" for binding in found.bindings),
        *(
            f"in part: {part.binding.rule} ({part.binding.place}) was used for {', '.join(part.used)}; "
            f"never for {', '.join(part.unused)}"
            for part in found.parts
        ),
        *(f"role that nobody used: {role}" for role in found.roles),
        *(f"permission that nobody used: {permission}" for permission in found.permissions),
    )
    if not any(found):
        say("everything that is given was used")
        return
    if len(found.bindings) > 0:
        say("where two bindings allow a call, the log names one: the other may be needed by itself some day")
    if usage.days < TELLING_DAYS:
        say(
            f"the log spans {usage.days:.0f} days: what is done once in a quarter may not be in it; "
            f"absence says little below {TELLING_DAYS} days"
        )
