"""Where Envoy is, and how it is started."""

from __future__ import annotations

from pathlib import Path

ENVIRONMENT = Path("build/envoy")  # of its own: its package has a name that others have, too


def find(environment: Path = ENVIRONMENT) -> Path | None:
    """Return Envoy's program, None where it is not installed.

    Args:
        environment: the Python environment that it is installed in.
    """
    return next(environment.glob("lib/python*/site-packages/envoy/_bin/envoy"), None)


def command(program: Path, configuration: Path) -> list[str]:
    """Return how it is started, for one machine.

    Args:
        program: Envoy's.
        configuration: its file.
    """
    return [str(program), "-c", str(configuration), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
