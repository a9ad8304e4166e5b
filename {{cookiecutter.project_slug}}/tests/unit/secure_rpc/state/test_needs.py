"""Several workers that share nothing are refused where something needs it, with each remedy that there is."""

from __future__ import annotations

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.state.needs import Need, refuse_unshared

NEEDS = [
    Need("/a.B/Pay is replay_protected", "it could be made again"),
    Need("quotas.bulk is exact", "each has its own"),
]


def test_each_need_is_told_with_the_three_remedies() -> None:
    with pytest.raises(ConfigurationError) as caught:
        refuse_unshared(NEEDS, 2, has_store=False)
    assert len(caught.value.problems) == len(NEEDS)
    for need, problem in zip(NEEDS, caught.value.problems, strict=True):
        assert problem.startswith(f'"workers" is 2, but {need.what}: {need.why}; ')
        assert all(remedy in problem for remedy in ("workers: 1", "embedded: true", "redis_url"))


def test_where_there_is_a_store_that_does_not_help_one_worker_does() -> None:
    with pytest.raises(ConfigurationError) as caught:
        refuse_unshared(NEEDS[:1], 2, has_store=True)
    assert "workers: 1" in str(caught.value)
    assert "redis_url" not in str(caught.value)


def test_one_worker_or_no_need_is_sound() -> None:
    refuse_unshared(NEEDS, 1, has_store=False)
    refuse_unshared([], 8, has_store=False)
