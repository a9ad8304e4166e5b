"""The cases of policy_test.yaml, tried; and what no case speaks of: methods and bindings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from secure_rpc.call import Method
from secure_rpc.policy.cases import CaseDocument, Trial
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.document import Known, PolicyDocument
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.entries import Entry, entries_of
from secure_rpc.policy.questions import Answer, Question, ask, display_names, request_of
from secure_rpc.policy.reach import Callers, time_in_words, wanted_by


class Outcome(NamedTuple):
    """What came of a trial."""

    trial: Trial
    answer: Answer

    @property
    def passed(self) -> bool:
        """Tell whether it came as expected."""
        if self.answer.allowed is not self.trial.allow:
            return False
        return not self.trial.rule or self.trial.rule == self.answer.rule


class Missing(NamedTuple):
    """Something that no case speaks of."""

    what: str
    add: str  # what to do about it


class Report(NamedTuple):
    """What came of a table."""

    outcomes: tuple[Outcome, ...]
    missing: tuple[Missing, ...]
    methods: int  # that are to be covered
    bindings: int

    @property
    def failures(self) -> list[Outcome]:
        """Return the trials that did not come as expected."""
        return [outcome for outcome in self.outcomes if not outcome.passed]

    @property
    def good(self) -> bool:
        """Tell whether the policy does what the table says, and the table speaks of all of it."""
        return not self.failures and not self.missing


class Subject(NamedTuple):
    """What is tried."""

    document: PolicyDocument
    conditions: Conditions
    methods: Sequence[Method]  # that the server has
    others: Sequence[Method] = ()  # that it has with other settings: cases may name them, and need not


def run(subject: Subject, cases: CaseDocument, known: Known) -> Report:
    """Try all cases.

    Args:
        subject: the policy, and what it is for.
        cases: the table.
        known: issuers and trust domains that there are.

    Raises:
        ConfigurationError: the table speaks of what does not exist.
    """
    trials = cases.trials([*subject.methods, *subject.others], known)
    entries = list(entries_of(subject.document))
    engines = _Engines(subject, entries)
    outcomes = tuple(Outcome(trial, ask(engines.at(trial.now_seconds), trial.question)) for trial in trials)
    guarded = [method for method in subject.methods if method.contract.is_guarded]
    missing = [
        *_methods_missing(guarded, outcomes, _Proposals(cases, engines.at(cases.now_seconds), guarded)),
        *_bindings_missing(engines, outcomes, cases.now_seconds),
    ]
    return Report(outcomes, tuple(missing), len(guarded), len(subject.document.policy.bindings))


class _Engines:
    """Engines of some entries of a policy, at a time that stands still."""

    def __init__(self, subject: Subject, entries: Sequence[Entry]) -> None:
        self._subject = subject
        self._whole: dict[float, Engine] = {}
        self._alone: dict[tuple[str, float], Engine] = {}
        self.entries = entries

    def at(self, now_seconds: float) -> Engine:
        """Return the engine of the whole policy."""
        if now_seconds not in self._whole:
            self._whole[now_seconds] = self.of(self.entries, now_seconds)
        return self._whole[now_seconds]

    def alone(self, rule: str, now_seconds: float) -> Engine:
        """Return the engine of one binding."""
        key = rule, now_seconds
        if key not in self._alone:
            self._alone[key] = self.of(self.by_rule[rule], now_seconds)
        return self._alone[key]

    def of(self, entries: Iterable[Entry], now_seconds: float) -> Engine:
        """Return the engine of some entries."""
        subject = self._subject
        engine = Engine(subject.document.version, subject.conditions, clock=lambda: now_seconds)
        engine.add(entries)
        return engine

    @cached_property
    def by_rule(self) -> Mapping[str, list[Entry]]:
        """Return the entries of each binding."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            found[entry.rule].append(entry)
        return found


def _methods_missing(
    methods: Sequence[Method], outcomes: Sequence[Outcome], proposals: _Proposals
) -> Iterator[Missing]:
    seen = {(outcome.trial.question.method.path, outcome.trial.allow) for outcome in outcomes}
    names = display_names(methods)
    for method in methods:
        for allow in (True, False):
            if (method.path, allow) not in seen:
                what = f"{names[method.path]}: no case expects {'allow' if allow else 'deny'}"
                yield Missing(what, proposals.case(method, names[method.path], allow=allow))


class _Proposals:
    """Cases that could be added, with principals of the table."""

    def __init__(self, cases: CaseDocument, engine: Engine, methods: Sequence[Method]) -> None:
        self._engine = engine
        self._principals = cases.principals()
        named = {tenant for case in cases.table.cases for tenant in case.tenants}
        owned = {tenant for principal in self._principals.values() for tenant in principal.tenants}
        self._tenants = sorted(named | owned) or ["TENANT"]
        self._methods = methods

    def case(self, method: Method, name: str, *, allow: bool) -> str:
        expect = "allow" if allow else "deny"
        for who, principal in self._principals.items():
            for tenant in self._tenants if method.contract.tenant_field else [""]:
                question = Question(principal, method, request_of(method, None, tenant))
                if ask(self._engine, question).allowed is allow:
                    tenants = f", tenants: {tenant}" if tenant else ""
                    case = f"principals: {who}, methods: {name}{tenants}, expect: {expect}"
                    return "add - { " + case + " }"
        does = "that may call it" if allow else "that may not call it"
        return f"add a principal {does}, and a case that expects {expect}; `policy who-can {name}` tells who may"


def _bindings_missing(engines: _Engines, outcomes: Sequence[Outcome], now_seconds: float) -> Iterator[Missing]:
    allowed = [outcome for outcome in outcomes if outcome.answer.allowed and outcome.trial.allow]
    reached = {outcome.answer.rule for outcome in allowed}
    for rule, entries in engines.by_rule.items():
        if rule in reached or any(_counts(engines, rule, outcome.trial) for outcome in allowed):
            continue
        what = f"{rule}: no case that expects allow is allowed by it"
        first = entries[0]
        if first.expires_at_seconds <= now_seconds:
            ended = time_in_words(first.expires_at_seconds)
            yield Missing(
                f"{first.place}: {what}", f"it has ended on {ended}: give a case an earlier now, or remove it"
            )
            continue
        who = Callers(first.issuer, first.subject, frozenset({first.group} - {""}), frozenset({first.workload} - {""}))
        condition = f", where {first.condition}" if first.condition else ""
        yield Missing(f"{first.place}: {what}", f"add a case of {who}{condition} that expects allow")


def _counts(engines: _Engines, rule: str, trial: Trial) -> bool:
    """Tell whether the binding allows the call, though another may give the same.

    By itself; or, where a method asks for several permissions, as the only one of all bindings to give one of them.
    """
    now, question = trial.now_seconds, trial.question
    alone = engines.alone(rule, now)
    grants = alone.grants_of(question.principal)
    if not grants.always and not grants.conditional:
        return False
    if ask(alone, question).allowed:
        return True
    wanted = wanted_by(question.method.contract)
    if len(wanted) == 1:
        return False
    for one in wanted:
        entries = [
            entry if entry.rule == rule else entry._replace(permissions=entry.permissions - one)
            for entry in engines.entries
        ]
        if ask(engines.of(entries, now), question).allowed:
            return True
    return False
