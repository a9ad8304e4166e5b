"""The way in: TLS first, then everything else."""

from __future__ import annotations

from secure_rpc.tls import floor


def run(application_module: str) -> None:
    """Run a service's command line.

    Args:
        application_module: the module that holds the service's `APPLICATION`, such as "order_service.app".
    """
    floor.establish()
    from secure_rpc.cli.main import build  # noqa: PLC0415  # imports grpc, which must come after the line above

    build(application_module)()
