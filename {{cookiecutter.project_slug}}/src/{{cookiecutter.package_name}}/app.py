"""The service at a glance: the chain that each call walks, and the servicers it ends in."""

from __future__ import annotations

import grpc

from secure_rpc.chain import Stage
from secure_rpc.platform import Application, Platform

from .service import {{ cookiecutter.resource_name }}Service
from .v1 import {{ cookiecutter.__resource_file }}_pb2_grpc as pb_grpc


def build_chain(platform: Platform) -> list[Stage]:
    """Return the stages, outermost first; each surrounds the whole life of a call, whatever its kind."""
    return [
        platform.telemetry,  # metrics, log: sees every outcome
        platform.audit,  # one record per call, refusals included
        platform.error_boundary,  # below this line no exception text gets out
        platform.load_limit,  # before authentication: cheap, per peer
        platform.authentication,  # certificate + token -> principal
        platform.authorization,  # what the proto asks, what the policy gives; then the tenant
        platform.rate_limit,  # per principal and class of method
        platform.confidentiality,  # only where fields are sensitive, with a keyring
        platform.integrity,  # only signed methods: nothing was altered on the way
        platform.replay,  # only methods that ask for it
        platform.sessions,  # streams end with their credential, or go on with a new one
        platform.validation,  # every message
        # yours here: docs/adding-a-stage.md
    ]


def add_services(server: grpc.aio.Server) -> None:
    """Add your servicers; `server` is the chain, which takes them as a server does."""
    servicer = {{ cookiecutter.resource_name }}Service()
    pb_grpc.add_{{ cookiecutter.resource_name }}ServiceServicer_to_server(servicer, server)


APPLICATION = Application(build_chain=build_chain, add_services=add_services)
