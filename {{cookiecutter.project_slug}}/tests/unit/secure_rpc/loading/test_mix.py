"""What is called is what was asked for: shares, callers who are refused, and nothing that changes unasked."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.loading import mix
from secure_rpc.loading.samples import Samples

from probe.v1 import probe_pb2 as pb

METHODS = {
    f"/{service.full_name}/{method.name}": method
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
SAMPLES = Samples({}, "acme")


def acts(text: str, *, can_sign: bool = True) -> list[mix.Act]:
    return mix.acts(mix.shares(text), METHODS, SAMPLES, can_sign=can_sign)


def test_unasked_nothing_is_called_that_may_change_something() -> None:
    usual = mix.usual(METHODS, changing=False, can_sign=True)
    assert set(usual) == {"/probe.v1.SteadyService/Get", "health", "watch", "no-token", "bad-token", "stranger"}
    assert sum(usual.values()) == pytest.approx(100)


def test_asked_for_all_methods_are_called_but_those_that_are_signed() -> None:
    usual = mix.usual(METHODS, changing=True, can_sign=True)
    assert {"/probe.v1.ProbeService/Bidi", "/probe.v1.ProbeService/Protected"} <= set(usual)
    assert not any("Signed" in name or name.endswith("/Keep") for name in usual)


def test_without_a_method_that_may_be_called_it_says_how_to_name_one() -> None:
    methods = {path: method for path, method in METHODS.items() if "ProbeService" in path}
    with pytest.raises(ConfigurationError, match="NO_SIDE_EFFECTS"):
        mix.usual(methods, changing=False, can_sign=True)


def test_each_is_called_as_often_as_its_share() -> None:
    found = acts("Get=70,Bidi=20,health=10")
    counted = Counter(act.name for act in islice(mix.turns(found), 1000))
    assert counted == {"Get": 700, "Bidi": 200, "Health Check": 100}
    first = [act.name for act in islice(mix.turns(found), 10)]
    assert "Bidi" in first[:5], "shares are spread, not served in blocks"


def test_who_is_refused_asks_for_what_is_in_the_mix() -> None:
    get, refused = acts("Get=1,no-token=1")
    assert (refused.path, refused.caller, refused.name) == (get.path, "no-token", "Get, no-token")
    tenant, other = acts("TenantUnary=1,other-tenant=1")
    assert pb.Ask.FromString(tenant.request).tenant == "acme"
    assert pb.Ask.FromString(other.request).tenant == mix.NOT_THEIRS


@pytest.mark.parametrize(
    "text",
    ["Nothing=1", "Get=many", "Get=-1", "Get=0", "Signed=1"],
)
def test_a_mix_that_cannot_be_made_is_not_guessed_at(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--mix"):
        acts(text)


def test_without_an_issuer_there_are_no_tokens_of_strangers() -> None:
    with pytest.raises(ConfigurationError, match="stranger"):
        acts("Get=1,stranger=1", can_sign=False)
    assert "stranger" not in mix.usual(METHODS, changing=False, can_sign=False)
