"""`policy export`: the contracts and the policy as rules of Envoy, Istio or Linkerd."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from secure_rpc import settings as settings_module
from secure_rpc.cli.loading import contracts_of, load_application
from secure_rpc.cli.people import Config, default_config, errors, told_to_people
from secure_rpc.configuration import ConfigurationError, read_text
from secure_rpc.identity.issuer import Issuer
from secure_rpc.known import known_to_policy
from secure_rpc.policy import document as policies
from secure_rpc.policy.export import envoy, istio, linkerd
from secure_rpc.policy.export.common import Access, Export, Target, TokenIssuer, access_of, resource_name
from secure_rpc.policy.export.rendering import render
from secure_rpc.settings import Settings


class Mesh(Enum):
    """Whose rules are written."""

    ENVOY = "envoy"
    ISTIO = "istio"
    LINKERD = "linkerd"


def register(app: typer.Typer, application_module: str) -> None:
    """Add the command to those of `policy`."""

    @app.command("export")
    def export(
        mesh: Annotated[Mesh, typer.Argument(help="Whose rules.")],
        config: Config = default_config,
        out: Annotated[Path | None, typer.Option(help="The file; standard output if not given.")] = None,
        namespace: Annotated[str, typer.Option(help="Of the service's pods.")] = "",
        selector: Annotated[list[str] | None, typer.Option(help="A label of the pods, app=orders; several.")] = None,
        opaque: Annotated[  # noqa: FBT002  # an option of the command line
            bool, typer.Option(help="Linkerd: the service's own TLS passes through its proxy.")
        ] = False,
    ) -> None:
        """Write the policy as rules of a mesh that stands before the service; what they cannot say goes to stderr."""
        with told_to_people():
            if opaque and mesh is not Mesh.LINKERD:
                raise ConfigurationError(f"--opaque: is for Linkerd; {mesh.value} has no such rules: leave it out")
            settings = settings_module.load(config)
            document = policies.load(settings.authorization.policy_file)
            contracts, permissions = contracts_of(load_application(application_module), settings)
            document.check(known_to_policy(settings, permissions))
            access = access_of(
                document,
                contracts,
                issuers_of(settings, with_keys=mesh is Mesh.ISTIO),
                now_seconds=time.time(),
                api_keys=settings.authentication.api_keys_file is not None,
            )
            made = _export(mesh, access, target_of(settings, namespace, selector or []), opaque=opaque)
            text = render(made, access, f"{document.source.path} (version {document.version})")
            if out is None:
                typer.echo(text, nl=False)
            else:
                _write(out, text)
            errors.print(f"{len(made.inexpressible)} things that {mesh.value} cannot say:")
            for item in made.inexpressible:
                errors.print(f"  {item}", markup=False)


def issuers_of(settings: Settings, *, with_keys: bool) -> list[TokenIssuer]:
    """Return whose tokens are taken.

    Args:
        settings: of the service.
        with_keys: whether files of keys are read.

    Raises:
        ConfigurationError: such a file cannot be read.
    """
    return [token_issuer(issuer, with_keys=with_keys) for issuer in settings.authentication.issuers]


def target_of(settings: Settings, namespace: str, selector: list[str]) -> Target:
    """Return which pods rules are for.

    Raises:
        ConfigurationError: a label has no name.
    """
    labels = {}
    for label in selector or [f"app={settings.service.name}"]:
        name, _, value = label.partition("=")
        if not name or not value:
            raise ConfigurationError(f'--selector {label}: is no label; write its name and value, such as "app=orders"')
        labels[name] = value
    port = int(settings.listen.address.rpartition(":")[2])
    return Target(resource_name(settings.service.name), labels, namespace, port)


def _export(mesh: Mesh, access: Access, target: Target, *, opaque: bool) -> Export:
    if mesh is Mesh.ENVOY:
        return envoy.export(access)
    return istio.export(access, target) if mesh is Mesh.ISTIO else linkerd.export(access, target, opaque=opaque)


def token_issuer(issuer: Issuer, *, with_keys: bool) -> TokenIssuer:
    """Return one of them, as a proxy has to know it."""
    checks = {
        f"typ {' or '.join(issuer.types)}": True,
        f"algorithm {' or '.join(issuer.algorithms)}": True,
        f"claims {', '.join(issuer.required_claims)}": bool(issuer.required_claims),
        "bound to the caller's certificate": issuer.certificate_bound,
        f"shown by workloads of {issuer.trust_domain} only": bool(issuer.trust_domain),
    }
    return TokenIssuer(
        issuer.issuer,
        issuer.audiences,
        jwks_url=issuer.jwks_url or "",
        jwks_file=str(issuer.jwks_file or ""),
        jwks=read_text(issuer.jwks_file) if with_keys and issuer.jwks_file else "",
        subject_claim=issuer.claims.subject,
        groups_claim=issuer.claims.groups,
        leeway_seconds=issuer.leeway_seconds,
        timeout_seconds=issuer.fetch.timeout_seconds,
        refresh_seconds=issuer.keys.refresh_seconds,
        ca_file=str(issuer.fetch.ca_file or ""),
        opaque_tokens=issuer.introspection is not None,
        further_checks=tuple(check for check, made in checks.items() if made),
    )


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be written ({error.strerror})") from None
