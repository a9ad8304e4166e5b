"""The command that drives a running service with calls of all kinds."""

from __future__ import annotations

import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import uvloop
from google.protobuf.descriptor import MethodDescriptor

from secure_rpc import settings as settings_module
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.methods import methods_of
from secure_rpc.cli.people import CallersFile, Config, Folder, default_callers, default_config, told_to_people
from secure_rpc.cli.telling import rows, say
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev import setup as development
from secure_rpc.dev.authority import Authority
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.loading import authentications, mix, report, traffic
from secure_rpc.loading.callers import DevelopmentIdentities, Proofs, Where, channels, read_tokens
from secure_rpc.loading.calling import Streaming
from secure_rpc.loading.samples import Samples
from secure_rpc.loading.usage import Usage
from secure_rpc.settings import Settings

File = Annotated[Path | None, typer.Option(help="That of development if not given.")]
MOST_SECONDS = 900.0  # a token of development is good for an hour


@dataclass(frozen=True, slots=True)
class Drive:
    """All that is to be done."""

    where: Where
    acts: list[mix.Act]
    proofs: Proofs
    schedule: traffic.Schedule
    streaming: Streaming
    connections: int
    usage: Usage
    identities: DevelopmentIdentities | None
    capacity_seconds: float

    async def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Drive the service; return what is told of it, and of authentications."""
        credentials = self.where.certificate().grpc_credentials()
        async with channels(lambda: self.where.open_channel(credentials), self.connections) as opened:
            await traffic.look(opened[0], self.acts, self.proofs, self.streaming)
            course = await traffic.drive(opened, self.acts, self.proofs, self.schedule, self.streaming, self.usage)
        ways: dict[str, Any] = {}
        guarded = next((act for act in self.acts if not act.public and act.caller == mix.ALLOWED), None)
        if self.identities is not None and self.capacity_seconds and guarded is not None:
            ways = await authentications.measure(
                self.where, self.identities, guarded, self.capacity_seconds, self.usage
            )
        return course.figures(), ways


def add(app: typer.Typer, application_module: str) -> None:
    """Add the command, for the service whose `APPLICATION` stands in the module."""

    @app.command()
    def load(  # noqa: PLR0913, PLR0917  # each is an option
        rate: Annotated[
            float, typer.Option(min=0.1, max=20_000, help="Calls a second, answered in time or not.")
        ] = 50.0,
        seconds: Annotated[float, typer.Option(min=0.1, max=MOST_SECONDS, help="How long it is measured.")] = 10.0,
        warm_up: Annotated[float, typer.Option(min=0.0, max=60.0, help="Seconds of load before that.")] = 2.0,
        mix_text: Annotated[
            str, typer.Option("--mix", help="Shares, such as GetOrder=70,health=5,no-token=5; docs/load-testing.md.")
        ] = "",
        changing: Annotated[bool, typer.Option("--changing", help="Call methods that change something, too.")] = False,  # noqa: FBT002
        samples: Annotated[Path | None, typer.Option(help="Requests by method, YAML; made if not given.")] = None,
        config: Config = default_config,
        caller: Annotated[str, typer.Option("--as", help="Who calls.")] = "alice",
        principals: Annotated[int, typer.Option(min=1, max=100_000, help="How many that may do what they may.")] = 1,
        callers: CallersFile = default_callers,
        folder: Folder = development.FOLDER,
        target: Annotated[str, typer.Option(help="host:port; that of the settings if empty.")] = "",
        server_name: Annotated[str, typer.Option(help="The name in its certificate, if not the host.")] = "",
        certificate: File = None,
        key: File = None,
        ca: File = None,
        tokens: Annotated[
            Path | None, typer.Option(help="Tokens, one a line; made in development if not given.")
        ] = None,
        tenant: Annotated[str, typer.Option(help="Whose data is asked for; the first of the caller's if empty.")] = "",
        metrics: Annotated[str, typer.Option(help="URL of the server's metrics; that of the settings if empty.")] = "",
        connections: Annotated[int, typer.Option(min=1, max=256, help="How many the calls are made on.")] = 4,
        in_flight: Annotated[int, typer.Option(min=1, max=20_000, help="Calls at once at the most.")] = 1000,
        stream_messages: Annotated[int, typer.Option(min=1, max=100_000, help="Of a stream, each way.")] = 10,
        stream_seconds: Annotated[float, typer.Option(min=0.05, max=60.0, help="A stream, at the most.")] = 1.0,
        capacity_seconds: Annotated[
            float, typer.Option(min=0.0, max=30.0, help="To measure each way to be authenticated; 0 for not at all.")
        ] = 0.0,
        report_folder: Annotated[Path | None, typer.Option("--report", help="Where page, picture and JSON go.")] = None,
        json: Annotated[Path | None, typer.Option(help="A file to write the figures to.")] = None,
    ) -> None:
        """Drive the running service at a rate; exits with 1 where a call was let in that should be refused."""
        with told_to_people():
            settings, files = settings_module.load(config), development.DevelopmentFiles(folder)
            where = Where(
                target or settings.listen.address,
                certificate or files.client_certificate,
                key or files.client_key,
                ca or files.ca_certificate,
                server_name,
            )
            methods = methods_of(load_application(application_module))
            identities = None
            if tokens is None:
                identities = identities_of(settings, files, callers, caller)
                shown = (
                    identities.tokens(principals, "load")
                    if principals > 1
                    else [identities.issuer.token(identities.caller)]
                )
                tenant = tenant or next(iter(identities.caller.tenants), "")
            else:
                shown = read_tokens(tokens)
            drive = Drive(
                where=where,
                acts=acts_of(mix_text, methods, Samples.read(samples, tenant, methods), changing, identities),
                proofs=Proofs(shown, identities.stranger() if identities else ""),
                schedule=traffic.Schedule(rate, seconds, warm_up, in_flight),
                streaming=Streaming(stream_messages, stream_seconds),
                connections=connections,
                usage=usage_of(metrics, settings, where, is_local=not target),
                identities=identities,
                capacity_seconds=capacity_seconds,
            )
            figures, ways = uvloop.run(drive.run())
        lines = report.summary(figures, rate)
        if drive.usage.problem:
            lines.append(f"what the server needs is not known: {drive.usage.problem}")
        rows(report.HEADER, report.rows(figures))
        say(*lines)
        if ways:
            rows(report.WAYS_HEADER, report.ways_rows(ways))
        if figures["let_in"]:
            say(f"let in, and should be refused: {figures['let_in']}", style="red")
        told = orjson.dumps({"rate": rate, **figures, "authentications": ways}, option=orjson.OPT_INDENT_2)
        if json is not None:
            json.write_bytes(told)
        if report_folder is not None:
            title = f"{settings.service.name} at {rate:g} calls a second"
            report_folder.mkdir(parents=True, exist_ok=True)
            (report_folder / "load.json").write_bytes(told)
            (report_folder / "load.svg").write_text(report.picture(title, figures), encoding="utf-8")
            (report_folder / "load.md").write_text(report.page(title, lines, figures, ways), encoding="utf-8")
            say(f"written: {report_folder / 'load.md'}")
        sys.exit(1 if figures["let_in"] else 0)


def acts_of(
    text: str,
    methods: dict[str, MethodDescriptor],
    samples: Samples,
    changing: bool,  # noqa: FBT001
    identities: DevelopmentIdentities | None,
) -> list[mix.Act]:
    """Return what is to be called.

    Raises:
        ConfigurationError: the mix is none, or a request cannot be made.
    """
    can_sign = identities is not None
    shares = mix.shares(text) if text else mix.usual(methods, changing=changing, can_sign=can_sign)
    return mix.acts(shares, methods, samples, can_sign=can_sign)


def identities_of(
    settings: Settings, files: development.DevelopmentFiles, callers: Path, caller: str
) -> DevelopmentIdentities:
    """Return what signs for callers in development.

    Raises:
        ConfigurationError: there is no such caller, or nothing that could sign.
    """
    if not files.intermediate_key.exists():
        raise ConfigurationError(f"{files.intermediate_key} is not there: name --tokens, or run `make setup`")
    return DevelopmentIdentities(
        issuer=development.token_issuer(settings, files),
        authority=Authority.load(files.intermediate_certificate, files.intermediate_key),
        caller=find_caller(load_callers(callers), caller),
        trust_domain=settings.authentication.trust_domain,
    )


def usage_of(url: str, settings: Settings, where: Where, *, is_local: bool) -> Usage:
    """Return what tells what the server needs."""
    if not url and is_local and settings.listen.admin_address:
        url = f"{'https' if settings.admin.tls else 'http'}://{settings.listen.admin_address}/metrics"
    if not url.startswith("https:"):
        return Usage(url)
    context = ssl.create_default_context(cafile=str(where.ca_file))
    context.load_cert_chain(where.certificate_file, where.key_file)
    return Usage(url, context)
