"""The way in: the supervisor, which never imports grpc; in all other processes TLS first, then everything else."""

from __future__ import annotations

import sys

from secure_rpc.tls import floor
from secure_rpc.workers import launch


def run(application_module: str) -> None:
    """Run a service's command line.

    Args:
        application_module: the module that holds the service's `APPLICATION`, such as "order_service.app".
    """
    if launch.is_for_supervisor(sys.argv[1:]):
        sys.exit(launch.supervise())
    floor.establish()
    from secure_rpc.cli.main import build  # noqa: PLC0415  # imports grpc, which must come after the line above

    build(application_module)()
