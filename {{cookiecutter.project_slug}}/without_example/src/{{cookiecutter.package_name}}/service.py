"""The RPCs. By the time one of these runs, its caller is known and allowed, and its request is valid."""

from __future__ import annotations

from .v1 import {{ cookiecutter.__resource_file }}_pb2 as pb
from .v1 import {{ cookiecutter.__resource_file }}_pb2_grpc as pb_grpc

NAME = pb.DESCRIPTOR.services_by_name["{{ cookiecutter.resource_name }}Service"].full_name


class {{ cookiecutter.resource_name }}Service(
    pb_grpc.{{ cookiecutter.resource_name }}ServiceServicer,
):
    """One method for each rpc of the proto; there is none yet."""
