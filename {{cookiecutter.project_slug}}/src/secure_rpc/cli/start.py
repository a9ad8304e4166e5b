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
    floor.establish()  # before what follows imports grpc
    if launch.is_for_worker(sys.argv[1:]):
        from secure_rpc.cli.serving import alone  # noqa: PLC0415  # see above

        alone(application_module)()
        return
    from secure_rpc.cli.main import build  # noqa: PLC0415  # see above

    build(application_module)()
