"""The commands of a service."""

from secure_rpc.cli.start import run

__all__ = ["run"]
