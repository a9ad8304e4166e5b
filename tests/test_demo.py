"""The first command of the README does what is said of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tools.bake import ROOT

if TYPE_CHECKING:
    from tests.conftest import Make

TIMES = 3  # what is shown must not depend on which of two messages comes first


@pytest.mark.alone
@pytest.mark.slow
def test_four_callers_are_allowed_and_refused_as_shown_and_each_refusal_has_its_reason(make: Make) -> None:
    assert "\nmake demo " in (ROOT / "README.md").read_text(encoding="utf-8")
    for _ in range(TIMES):
        done = make(ROOT, "demo")
        assert done.returncode == 0, done.stdout
        assert "20 calls made, 20 records, one for each, in order" in done.stdout
        refused = re.findall(r"(\w+) +[a-z]+(?: stream)? +refused +(\w*)", done.stdout)
        assert len(refused) == 12
        assert [method for method, reason in refused if not reason] == []
