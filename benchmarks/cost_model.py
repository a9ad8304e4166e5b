"""What the service costs at scale, and what has to be more first: `docs/cost-model.md`, made of what was measured."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from benchmarks import results, simulation
from benchmarks.contenders import OURS
from benchmarks.rig import column
from benchmarks.tables import Figures
from benchmarks.workspace import HERE
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE, TEXT = ROOT / "docs" / "cost-model.md", HERE / "pages" / "cost_model" / "page.md"
NEEDED = ("servers", "memory", "quota", "footprint", "identity")
LOADS = (1_000, 10_000, 100_000, 1_000_000)  # calls a second
FLEETS = (10, 100, 1_000)  # replicas
DAY_SECONDS = 86_400
REFRESH_SECONDS = 300.0  # keys.refresh_seconds


@dataclass(frozen=True, slots=True)
class Assumption:
    """A number that nobody has measured here."""

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Assumptions:
    """All of them; each can be another for you."""

    utilization: Assumption = Assumption(0.6, "of a core are planned for a replica, which has one")
    callers: Assumption = Assumption(50_000, "principals are active at once")
    skew: Assumption = Assumption(0.9, "is the exponent of Zipf's law by which calls are spread over them")
    quota: Assumption = Assumption(100, "calls a second are the quota of each, and its burst")
    token_seconds: Assumption = Assumption(3_600, "seconds is a token good for; each replica sees each caller's")
    policy_bytes: Assumption = Assumption(2_000_000, "bytes has a policy of 10,000 bindings")
    policy_seconds: Assumption = Assumption(60, "seconds may pass until each replica has a new policy")
    store_asks: Assumption = Assumption(60_000, "scripts a second run in one Valkey")
    store_bytes: Assumption = Assumption(300, "bytes has a key in it")
    jwks_fetches: Assumption = Assumption(200, "fetches a second the issuer answers")
    series: Assumption = Assumption(5_000_000, "series one Prometheus holds")
    methods: Assumption = Assumption(20, "methods has the service that are called")
    audit_bytes: Assumption = Assumption(50_000_000, "bytes a second of audit records are taken in where they go")
    policy_rate: Assumption = Assumption(100_000_000, "bytes a second come from where policies are distributed")


@dataclass(frozen=True, slots=True)
class Measured:
    """What the model takes from measurements."""

    cpu_us: float  # a call
    rest_bytes: float
    full_bytes: float  # after 200,000 principals have passed
    verified_us: float  # a token that is new
    trips_far: float  # round trips to the store a call
    trips_near: float
    audit_bytes: float  # a call
    log_bytes: float
    series: float  # a replica with one method called
    series_of_a_method: float

    @classmethod
    def of(cls, kept: Mapping[str, Mapping[str, Any]]) -> Measured:
        """Take them from what is kept."""
        found = {name: kept[name]["results"] for name in NEEDED}
        callers, footprint = found["quota"]["callers"], found["footprint"]
        return cls(
            cpu_us=statistics.median(column(found["servers"]["samples"][OURS.name], "cpu_us")),
            rest_bytes=found["memory"]["rest_bytes"],
            full_bytes=max(max(passing["bytes"]) for passing in found["memory"]["passing"].values()),
            verified_us=found["identity"]["ES256"]["verified, cold"],
            trips_far=_trips(callers["modest"]),
            trips_near=_trips(callers["greedy"]),
            audit_bytes=footprint["audit_bytes_per_call"],
            log_bytes=footprint["log_bytes_per_call"],
            series=footprint["series"],
            series_of_a_method=footprint["series_of_a_method"],
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """What so many replicas ask of something that they share."""

    what: str
    unit: str
    asked: float
    there: float

    @property
    def share(self) -> float:
        """Return how much of what is there they ask for."""
        return self.asked / self.there


def _trips(caller: Mapping[str, Any]) -> float:
    return float(caller["round_trips"] / sum(caller["ended"].values()))


def calls_of_a_replica(measured: Measured, assumed: Assumptions) -> float:
    """Return how many calls a second are planned for one."""
    return assumed.utilization.value / measured.cpu_us * 1e6


def demands(replicas: int, measured: Measured, assumed: Assumptions) -> list[Demand]:
    """Return what so many replicas, at the load that is planned for them, ask of all that they share."""
    load = replicas * calls_of_a_replica(measured, assumed)
    callers = int(assumed.callers.value)
    by_caller = simulation.rates(load, callers, assumed.skew.value)
    asks, _ = simulation.store_asks(by_caller, replicas, int(assumed.quota.value))
    series = replicas * (measured.series + (assumed.methods.value - 1) * measured.series_of_a_method)
    new_tokens = callers / assumed.token_seconds.value
    return [
        Demand("store: quotas", "scripts/s", asks, assumed.store_asks.value),
        Demand(
            "policy to all replicas", "bytes/s",
            replicas * assumed.policy_bytes.value / assumed.policy_seconds.value, assumed.policy_rate.value,
        ),
        Demand(
            "JWKS, as time goes by", "fetches/s",
            simulation.busiest_second(replicas, REFRESH_SECONDS), assumed.jwks_fetches.value,
        ),
        Demand(
            "JWKS, a new key", "fetches/s",
            simulation.busiest_second_of_new_key(replicas, new_tokens), assumed.jwks_fetches.value,
        ),
        Demand("metrics", "series", series, assumed.series.value),
        Demand("audit records", "bytes/s", load * measured.audit_bytes, assumed.audit_bytes.value),
    ]  # fmt: skip


def per_million(measured: Measured) -> Figures:
    """Return what a million calls need."""
    million = 1e6
    rows = [
        ("CPU-seconds", f"{measured.cpu_us * million / 1e6:,.0f}"),
        ("round trips to the store, callers far from their limit", f"{measured.trips_far * million:,.0f}"),
        ("round trips to the store, callers at their limit", f"{measured.trips_near * million:,.0f}"),
        ("audit records, MB", f"{measured.audit_bytes * million / 1e6:,.0f}"),
        ("log, MB", f"{measured.log_bytes * million / 1e6:,.0f}"),
    ]
    return Figures(("a million calls", ""), rows)


def for_loads(measured: Measured, assumed: Assumptions) -> Figures:
    """Return how many replicas a load needs, and what they hold."""
    rows = []
    for load in LOADS:
        replicas = math.ceil(load / calls_of_a_replica(measured, assumed))
        memory = replicas * measured.full_bytes / 1e9
        verified = assumed.callers.value / assumed.token_seconds.value * replicas * measured.verified_us / 1e6
        rows.append(
            (
                f"{load:,}",
                f"{replicas:,}",
                f"{memory:,.1f}",
                f"{verified:,.2f}",
                f"{load * measured.audit_bytes * DAY_SECONDS / 1e9:,.0f}",
            )
        )
    header = ("calls a second", "replicas", "memory, GB", "cores that verify new tokens", "audit, GB a day")
    return Figures(header, rows)


def for_fleets(measured: Measured, assumed: Assumptions) -> Figures:
    """Return how much of each thing that is shared is asked for, by how many replicas there are."""
    by_fleet = {replicas: demands(replicas, measured, assumed) for replicas in FLEETS}
    first = {replicas: max(found, key=lambda each: each.share).what for replicas, found in by_fleet.items()}
    rows = []
    for number, demand in enumerate(by_fleet[FLEETS[0]]):
        cells = []
        for replicas in FLEETS:
            found = by_fleet[replicas][number]
            text = f"{_short(found.asked)} ({found.share:.0%})"
            cells.append(f"**{text}**" if first[replicas] == found.what else text)
        rows.append((f"{demand.what}, {demand.unit}", *cells, _short(demand.there)))
    return Figures(("asked for", *(f"{replicas:,} replicas" for replicas in FLEETS), "assumed to be there"), rows)


def page(kept: Mapping[str, Mapping[str, Any]], assumed: Assumptions | None = None) -> str:
    """Return the page."""
    assumed = assumed or Assumptions()
    measured = Measured.of(kept)
    listed = [getattr(assumed, field.name) for field in fields(assumed)]
    values = {
        "per_million": per_million(measured).markdown(),
        "loads": for_loads(measured, assumed).markdown(),
        "fleets": for_fleets(measured, assumed).markdown(),
        "calls_of_a_replica": f"{calls_of_a_replica(measured, assumed):,.0f}",
        "rest": f"{measured.rest_bytes / 1e6:,.0f}",
        "full": f"{measured.full_bytes / 1e6:,.0f}",
        "assumptions": "\n".join(f"- {each.value:,g} {each.text}." for each in listed),
        "first": first_to_saturate(measured, assumed),
        "machine": kept["servers"]["conditions"]["machine"],
    }
    return re.sub(r"<<(\w+)>>", lambda found: values[found[1]], TEXT.read_text(encoding="utf-8"))


def first_to_saturate(measured: Measured, assumed: Assumptions) -> str:
    """Return a sentence for each size of a fleet."""
    told = []
    for replicas in FLEETS:
        most = max(demands(replicas, measured, assumed), key=lambda each: each.share)
        much = "is more than is there" if most.share > 1 else f"is {most.share:.0%} of what is there"
        told.append(f"- With {replicas:,} replicas it is **{most.what}**: what they ask for {much}.")
    return "\n".join(told)


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:,.3g} {letter}"
    return f"{number:,.3g}"


def write() -> str:
    """Write the page, and return its name; or what is missing for it."""
    kept = results.load()
    if missing := [name for name in NEEDED if name not in kept]:
        return f"{PAGE.name} needs more to be measured: {', '.join(missing)}"
    PAGE.write_text(page(kept), encoding="utf-8")
    return f"written: {PAGE.relative_to(ROOT)}"


if __name__ == "__main__":
    print(write())
