"""What becomes of a test for which something is not there."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """Skip, and say why; fail where that is CI, which has to have everything."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def needs(*programs: str, without: str) -> None:
    """Skip where programs are missing; fail where that is CI.

    Args:
        *programs: their names.
        without: what does not take place then.

    """
    if missing := [name for name in programs if not shutil.which(name)]:
        lacking(f"{' and '.join(missing)} not found: {without}")
