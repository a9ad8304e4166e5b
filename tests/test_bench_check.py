"""`make bench-check` tells what has moved by more than the noise, and against which baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import check
from benchmarks.figures import Estimate
from benchmarks.registry import ALL
from benchmarks.workspace import FailedError
from tests.measured import CONDITIONS, MADE, kept

if TYPE_CHECKING:
    from pathlib import Path


def around(median: float, width: float = 0.02) -> Estimate:
    return Estimate(median, median - width, median + width, 0.96)


@pytest.mark.parametrize(
    ("now", "verdict", "code"),
    [
        (around(1.0), check.SAME, 0),
        (around(1.035), check.SAME, 0),  # the intervals overlap
        (around(1.02, 0.001), check.SAME, 0),  # sure, and of no concern
        (around(1.1), check.DEARER, 1),
        (around(1.1, 0.2), check.SAME, 0),  # too noisy to tell
        (around(0.9), check.CHEAPER, 0),
        (None, check.GONE, 1),
    ],
)
def test_a_ratio_has_moved_if_it_did_so_by_more_than_the_noise(now: Estimate | None, verdict: str, code: int) -> None:
    findings = check.compare({"x": around(1.0)}, {"x": now} if now else {})
    assert [finding.verdict for finding in findings] == [verdict]
    assert check.exit_code(findings) == code
    assert findings[0].row()[0] == "x"


def test_a_ratio_that_the_baseline_does_not_have_is_told_and_no_failure() -> None:
    findings = check.compare({"x": around(1.0)}, {"x": around(1.0), "y": around(9.0)})
    assert {finding.name: finding.verdict for finding in findings} == {"x": check.SAME, "y": check.NEW}
    assert check.exit_code(findings) == 0


def test_a_baseline_is_read_as_it_was_kept(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    check.write({"x": around(1.0)}, CONDITIONS, file)
    assert check.read(file) == {"x": around(1.0)}


def test_the_baseline_can_be_what_is_published() -> None:
    ratios, conditions = check.published(kept())
    assert ratios["CPU, full chain / bare"].median == pytest.approx(0.9)
    assert conditions == CONDITIONS
    with pytest.raises(FailedError, match="nothing of: servers"):
        check.published({name: found for name, found in kept().items() if name != "servers"})


def test_what_is_checked_gives_ratios() -> None:
    checked = [measurement for measurement in ALL if measurement.in_check]
    assert {measurement.name for measurement in checked} == {"servers", "refused", "policy"}
    for measurement in checked:
        found = measurement.ratios(MADE[measurement.name]())
        assert found
        assert all(ratio.low <= ratio.median <= ratio.high for ratio in found.values())
