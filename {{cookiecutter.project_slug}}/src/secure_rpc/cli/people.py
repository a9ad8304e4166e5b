"""What all commands have in common: the settings option, and errors told to people."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from secure_rpc.configuration import ConfigurationError
from secure_rpc.settings import CONFIG_VARIABLE
from secure_rpc.telemetry.redaction import scrub

EX_CONFIG = 78  # sysexits.h

Config = Annotated[Path, typer.Option(help="The settings.", envvar=CONFIG_VARIABLE)]
Folder = Annotated[Path, typer.Option(help="Where the development files are.")]
CallersFile = Annotated[Path, typer.Option(help="Who there is to call as.")]

default_config = Path("config/dev.yaml")
default_callers = Path("config/dev_callers.yaml")
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def told_to_people() -> Iterator[None]:
    """End the process with a readable message where a person can mend what is wrong."""
    try:
        yield
    except ConfigurationError as error:
        errors.print("cannot start:" if len(error.problems) == 1 else f"cannot start, {len(error.problems)} problems:")
        for problem in error.problems:
            errors.print(f"  {scrub(problem)}", style="red", markup=False)
        sys.exit(EX_CONFIG)
