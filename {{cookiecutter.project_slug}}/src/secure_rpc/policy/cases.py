"""policy_test.yaml: what the policy must allow and what it must deny, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, BeforeValidator, Field, field_validator, model_validator

from secure_rpc.call import Method, Principal
from secure_rpc.configuration import (
    ConfigurationError,
    Location,
    YamlDocument,
    did_you_mean,
    parse_yaml,
    read_text,
)
from secure_rpc.policy import references
from secure_rpc.policy.document import OTHER_NAMES, Known, Part
from secure_rpc.policy.questions import Question, metadata_of, method_named, request_of

API_KEY_PROOF, TOKEN_PROOF, CERTIFICATE_PROOF = "api-key", "token", "certificate"


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_several, json_schema_input_type=str | tuple[str, ...])]
SomeNames = Annotated[Names, Field(min_length=1)]


class Somebody(Part):
    """A principal, as verified credentials would describe it."""

    issuer: str = ""
    """The `iss` of the token; `api-key` for one with an API key."""
    subject: str = ""
    """The user of that issuer."""
    groups: tuple[str, ...] = ()
    """That the token names."""
    tenants: tuple[str, ...] = ()
    """That the token names."""
    roles: tuple[str, ...] = ()
    """That the token names; those of the policy are another thing."""
    claims: dict[str, Any] = Field(default_factory=dict)
    """Of the token, for conditions that look at them."""
    workload: str = ""
    """The SPIFFE ID of the certificate."""
    proofs: tuple[Literal["certificate", "token", "bound-token", "api-key"], ...] = ()
    """What vouched for it, for conditions that look at it. A certificate where there is a workload, and a token or an
    API key where there is a user, if not said."""

    @model_validator(mode="after")
    def _is_somebody(self) -> Somebody:
        if bool(self.issuer) != bool(self.subject):
            raise ValueError('"issuer" and "subject" come together: a user is one of an issuer')
        if not self.subject and not self.workload:
            raise ValueError('name an "issuer" and a "subject", a "workload", or all three')
        if not self.subject and (self.groups or self.tenants or self.roles or self.claims):
            raise ValueError('"groups", "tenants", "roles" and "claims" stand in tokens; name "issuer" and "subject"')
        if "*" in self.workload:
            raise ValueError('"workload" is that of one caller, without a star')
        if self.workload and not self.workload.startswith(("spiffe://", *OTHER_NAMES)):
            raise ValueError('"workload" is a SPIFFE ID, or "dns:" or "cn:" and a name')
        if problem := references.workload_problem(self.workload):
            raise ValueError(f'"workload" {problem}')
        return self

    def principal(self) -> Principal:
        """Return it as the server knows callers."""
        user = API_KEY_PROOF if self.issuer == API_KEY_PROOF else TOKEN_PROOF
        usual = (*((CERTIFICATE_PROOF,) if self.workload else ()), *((user,) if self.subject else ()))
        return Principal(
            workload=self.workload,
            issuer=self.issuer,
            subject=self.subject,
            tenants=frozenset(self.tenants),
            groups=frozenset(self.groups),
            roles=frozenset(self.roles),
            proofs=self.proofs or usual,
            claims=self.claims,
        )


class Case(Part):
    """Calls that must all be allowed, or must all be denied: each principal, each method, each tenant."""

    principals: SomeNames
    """Who calls: names of those above, one or a list."""
    methods: SomeNames
    """What is called: names such as `GetOrder`, or paths, one or a list."""
    tenants: Names = ()
    """Whose data the request names: one or a list, for methods that have a tenant field."""
    request: dict[str, Any] | None = None
    """Fields of the request, as in its JSON form, for conditions that look at it."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Of the call, for conditions that look at it."""
    now: AwareDatetime | None = None
    """When the call is made, if not at the time of the table."""
    expect: Literal["allow", "deny"]
    """What the policy must say."""
    rule: str = ""
    """By which binding it must be allowed: its name, or `bindings[0] reader`."""

    @field_validator("rule")
    @classmethod
    def _stripped(cls, rule: str) -> str:
        return rule.strip()

    @model_validator(mode="after")
    def _rule_allows(self) -> Case:
        if self.rule and self.expect == "deny":
            raise ValueError('"rule" names the binding that allows; nothing is denied by one')
        return self


class CaseTable(Part):
    """What the policy must allow, and what it must deny."""

    version: Literal[1]
    """Of this format."""
    now: AwareDatetime
    """When the calls are made, such as 2026-01-01T12:00:00Z: bindings expire, and conditions look at the time."""
    principals: dict[str, Somebody]
    """Who calls, by a name for each."""
    cases: tuple[Case, ...] = ()
    """What must be so."""


class Trial(NamedTuple):
    """One call of a case."""

    number: int  # of the case, from 0
    place: str  # "policy_test.yaml:17"
    principal: str  # by its name in the table
    question: Question
    now_seconds: float  # Unix time
    allow: bool
    rule: str

    def __str__(self) -> str:
        """Return it as a person would say it."""
        tenant = f" for {self.question.tenant}" if self.question.tenant else ""
        return f"{self.principal} calls {self.question.method.path}{tenant}"


@dataclass(frozen=True, slots=True)
class CaseDocument:
    """A table of cases, and where it comes from."""

    table: CaseTable
    source: YamlDocument

    @property
    def now_seconds(self) -> float:
        """Return the Unix time at which its calls are made."""
        return self.table.now.timestamp()

    def principals(self) -> dict[str, Principal]:
        """Return those that it names, as the server knows callers."""
        return {name: somebody.principal() for name, somebody in self.table.principals.items()}

    def trials(self, methods: Iterable[Method], known: Known) -> list[Trial]:
        """Return each single call, all of them with what there is.

        Args:
            methods: that there are.
            known: issuers and trust domains that there are.

        Raises:
            ConfigurationError: file, line and remedy of each name that does not exist.
        """
        among, problems, trials = tuple(methods), list[str](), list[Trial]()
        for name, somebody in self.table.principals.items():
            for key, problem in references.unknown_names(somebody.issuer, somebody.workload, known):
                problems.append(f"{self.source.place(('principals', name, key))}: {problem}")
        callers = self.principals()
        for number, case in enumerate(self.table.cases):
            found = self._methods(number, case, among, problems)
            for name in dict.fromkeys(case.principals):
                if name not in callers:
                    place = self.source.place(("cases", number, "principals"))
                    problems.append(f'{place}: no principal is named "{name}"; {did_you_mean(name, callers)}')
            trials += self._trials(number, case, found, callers, problems)
        if problems:
            raise ConfigurationError(*dict.fromkeys(problems))
        return trials

    def _methods(self, number: int, case: Case, among: tuple[Method, ...], problems: list[str]) -> list[Method]:
        found: dict[str, Method] = {}
        for name in case.methods:
            try:
                method = method_named(name, among)
                found[method.path] = method
            except ValueError as error:
                problems.append(f"{self.source.place(('cases', number, 'methods'))}: {error}")
        if case.tenants and found and not any(method.contract.tenant_field for method in found.values()):
            place = self.source.place(("cases", number, "tenants"))
            problems.append(f"{place}: the requests of these methods name no tenant; remove it")
        return list(found.values())

    def _trials(
        self, number: int, case: Case, methods: list[Method], callers: Mapping[str, Principal], problems: list[str]
    ) -> Iterator[Trial]:
        now = case.now or self.table.now
        key: Location = ("cases", number) if case.request is None else ("cases", number, "request")
        for method in methods:
            for tenant in dict.fromkeys(case.tenants) if case.tenants and method.contract.tenant_field else [""]:
                try:
                    request = request_of(method, case.request, tenant)
                except ValueError as error:
                    problems.append(f"{self.source.place(key)}: {error}")
                    continue
                for name in dict.fromkeys(case.principals):
                    if name in callers:
                        question = Question(callers[name], method, request, metadata_of(case.metadata))
                        place = self.source.place(("cases", number))
                        allow = case.expect == "allow"
                        yield Trial(number, place, name, question, now.timestamp(), allow, case.rule)


def load(path: Path) -> CaseDocument:
    """Read a table.

    Raises:
        ConfigurationError: file, line and remedy of each thing that is wrong.
    """
    return parse(path, read_text(path))


def parse(path: Path, text: str) -> CaseDocument:
    """Return the table that a text holds.

    Args:
        path: where the text comes from.
        text: YAML.

    Raises:
        ConfigurationError: file, line and remedy of each thing that is wrong.
    """
    source = parse_yaml(path, text)
    return CaseDocument(source.validated(CaseTable), source)
