"""The commands of the edge: Envoy's configuration, built from its values, the settings and the protos."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import descriptor_pool

from secure_rpc import settings as settings_module
from secure_rpc.cli.loading import contracts_of, load_application
from secure_rpc.cli.people import told_to_people
from secure_rpc.cli.policy_export import issuers_of, token_issuer
from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.edge import building, exchange_port, installed, together, values
from secure_rpc.edge.subject import Exposed, Subject, exposed, page
from secure_rpc.identity.principal import Credential
from secure_rpc.platform import Application
from secure_rpc.policy.export.common import TokenIssuer
from secure_rpc.settings import Settings
from secure_rpc.telemetry import logging
from secure_rpc.telemetry.redaction import guard_tracebacks

What = Annotated[Path, typer.Option("--values", help="What edges are told.")]
Which = Annotated[str, typer.Option("--edge", help="Which of them.")]
Where = Annotated[Path | None, typer.Option("--out", help="The folder; deploy/edge/<edge> if not given.")]
Binary = Annotated[Path, typer.Option(help="The environment that Envoy is installed in.")]
PRODUCTION, DEVELOPMENT = "prod", "dev"
PROVIDER = Path("browser/dev/provider.mjs")


def commands(application_module: str) -> typer.Typer:
    """Return the commands.

    Args:
        application_module: holds the service's `APPLICATION`.
    """
    app = typer.Typer(no_args_is_help=True)

    @app.command()
    def build(what: What = values.FILE, edge: Which = PRODUCTION, out: Where = None) -> None:
        """Write an edge's files."""
        with told_to_people():
            changed = building.write(files_of(application_module, what, edge), out or what.parent / edge)
        for path in changed:
            typer.echo(f"{path} was written")

    @app.command()
    def run(what: What = values.FILE, edge: Which = DEVELOPMENT, envoy: Binary = installed.ENVIRONMENT) -> None:
        """Start service, edge, provider of logins and page on this machine, until Ctrl-C."""
        with told_to_people():
            told = values.load(what).edge(edge)
            folder = told.secrets_folder
            building.write(files_of(application_module, what, edge), folder)
            started = programs(told, envoy, folder / building.ENVOY, ("--values", str(what), "--edge", edge))
            sys.exit(together.run(started, told, typer.echo))

    @app.command()
    def exchange(what: What = values.FILE, edge: Which = PRODUCTION) -> None:
        """Exchange callers' tokens for Envoy, on this machine or in its pod, until SIGTERM or Ctrl-C."""
        with told_to_people():
            told = values.load(what).edge(edge)
            settings = settings_module.load(told.settings)
            if told.exchange is None:
                raise ConfigurationError(f"edges.{edge}.exchange: is not set; without it, nothing is exchanged")
            audience = audience_through(settings, told.exchange, f"edges.{edge}.exchange")
            logging.configure(settings.logging.format, settings.logging.level, settings.service.log_fields)
            guard_tracebacks()
            asyncio.run(exchange_port.serve(told, told.exchange, audience))

    return app


def programs(edge: values.Edge, environment: Path, file: Path, options: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return what is started, by its name.

    Args:
        edge: that of a developer's machine.
        environment: where Envoy is installed.
        file: its configuration.
        options: that name this edge to a command.

    Raises:
        ConfigurationError: there is no Envoy.
    """
    binary = installed.find(environment)
    if binary is None:
        raise ConfigurationError(f"--envoy: there is none in {environment}; `make edge` installs it")
    found = {"service": [sys.argv[0], "serve", "--config", str(edge.settings)]}
    if edge.page_folder is not None and PROVIDER.is_file():
        found["provider"] = ["node", str(PROVIDER)]
    if edge.exchange:
        found["exchange"] = [sys.argv[0], "edge", "exchange", *options]
    found["edge"] = installed.command(binary, file)
    return found


def files_of(application_module: str, path: Path, name: str) -> dict[Path, str]:
    """Return the files of an edge.

    Args:
        application_module: holds the service's `APPLICATION`.
        path: of the values.
        name: of the edge.

    Raises:
        ConfigurationError: what is wrong with values, settings or protos.
    """
    told = values.load(path)
    edge = told.edge(name)
    settings = settings_module.load(edge.settings)
    if edge.exchange:
        audience_through(settings, edge.exchange, f"edges.{name}.exchange")
    application = load_application(application_module)
    subject = Subject(
        edge,
        told.services,
        methods_through(application, settings, told.services),
        issuers_through(settings, edge.keys, f"edges.{name}.keys", are_exchanged=edge.exchange is not None),
        settings.limits.max_deadline_seconds,
        settings.limits.max_metadata_bytes,
        page(edge.page_folder),
    )
    return building.built(subject, f"Built from {path}, {edge.settings} and the protos; changes belong there.")


def methods_through(application: Application, settings: Settings, services: tuple[str, ...]) -> list[Exposed]:
    """Return the methods of services, as the edge knows them.

    Raises:
        ConfigurationError: there is no such service.
    """
    contracts, _ = contracts_of(application, settings)
    there = {path.split("/")[1] for path in contracts}
    found = []
    for service in services:
        if service not in there:
            raise ConfigurationError(f'services: there is no "{service}"; {did_you_mean(service, there)}')
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            path = f"/{service}/{method.name}"
            found.append(exposed(path, method, is_public=contracts[path].public))
    return found


def audience_through(settings: Settings, exchange: values.Exchange, key: str) -> str:
    """Return the audience of the tokens that an edge gets in exchange.

    Args:
        settings: of the service that exchanges them, and that is called with them.
        exchange: what the edge is told.
        key: where that stands.

    Raises:
        ConfigurationError: the service would not exchange them for this edge, or not take them.
    """
    authentication = settings.authentication
    if authentication.exchange is None:
        raise ConfigurationError(f"{key}: the settings have no authentication.exchange; set it, or take this out")
    audiences, ours = authentication.exchange.audiences, authentication.exchange.issuer
    if not exchange.audience and len(audiences) > 1:
        raise ConfigurationError(f"{key}.audience: is not set; name one of {', '.join(audiences)}")
    audience = exchange.audience or audiences[0]
    if audience not in audiences:
        raise ConfigurationError(
            f'{key}.audience: "{audience}" is none of authentication.exchange.audiences; '
            f"{did_you_mean(audience, audiences)}"
        )
    if not any(each.issuer == ours and audience in each.audiences for each in authentication.issuers):
        raise ConfigurationError(
            f'{key}: the service takes no tokens of "{ours}" for "{audience}"; add that to authentication.issuers'
        )
    if Credential.CERTIFICATE not in authentication.credentials:
        raise ConfigurationError(
            f'{key}: the edge asks by its certificate alone; add "certificate" to authentication.credentials, and give '
            "its workload tokens.exchange in the policy"
        )
    return audience


def issuers_through(
    settings: Settings, keys: dict[str, values.Keys], key: str, *, are_exchanged: bool = False
) -> list[TokenIssuer]:
    """Return whose tokens are let through, with the place of their keys.

    Args:
        settings: of the service.
        keys: of issuers, where that is another place than the settings name.
        key: where they stand.
        are_exchanged: whether tokens are exchanged at the edge; then those of the service's own issuer stay outside.

    Raises:
        ConfigurationError: an issuer has no URL of keys, so a new key would need a restart; or there is no such issuer.
    """
    found = {issuer.issuer: issuer for issuer in issuers_of(settings, with_keys=False)}
    exchange = settings.authentication.exchange
    if are_exchanged and exchange is not None:
        others = [each for each in settings.authentication.issuers if each.issuer != exchange.issuer]
        found = {each.issuer: token_issuer(each, with_keys=False) for each in exchange.issuers or others}
    for name, other in keys.items():
        if name not in found:
            raise ConfigurationError(f'{key}: the settings have no issuer "{name}"; {did_you_mean(name, found)}')
        found[name] = found[name]._replace(jwks_file="", jwks_url=other.jwks_url, ca_file=str(other.ca_file or ""))
    for issuer in found.values():
        if not issuer.jwks_url:
            raise ConfigurationError(
                f'{key}: of "{issuer.issuer}" no URL of keys is known; add its jwks_url, so that new keys are noticed'
            )
    if not found:
        raise ConfigurationError("authentication.issuers: is empty; an edge lets nobody in without a token")
    return list(found.values())
