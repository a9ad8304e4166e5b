"""Checks of the policy and the contracts: who may do what, and whether anybody has looked."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from secure_rpc.call import Method
from secure_rpc.doctor.checks import Check, Finding, Level, none_of, not_applicable, unknown, verdict
from secure_rpc.doctor.facts import Facts
from secure_rpc.policy.document import Binding, permissions_of
from secure_rpc.sensitive import has_sensitive

POLICY = "docs/policy.md"
HEALTH = "/grpc.health.v1.Health/"
NO_POLICY = "the policy does not hold together"
# permissions end in a verb (things.verb); these change nothing
READING = ("read", "get", "list", "watch", "search")


def _sound(facts: Facts) -> Finding:
    if facts.policy is None:
        return verdict(good=False, said=facts.policy_problem)
    return verdict(good=True, said=f"version {facts.policy.version}, {len(facts.policy.policy.bindings)} bindings")


def _tested(facts: Facts) -> Finding:
    if facts.policy is None:
        return unknown(NO_POLICY)
    if facts.cases is None and not facts.cases_problem:
        return not_applicable("policy_test.yaml is not on this machine; look in the repository")
    if facts.cases is None:
        return verdict(good=False, said=facts.cases_problem)
    report = facts.cases
    wrong = [*(f"{each.trial} came otherwise" for each in report.failures), *(each.what for each in report.missing)]
    said = wrong[0] if wrong else f"{len(report.outcomes)} cases, of {report.methods} methods"
    return verdict(report.good, said + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""))


def _public(facts: Facts) -> Finding:
    return none_of(
        (each.path for each in facts.methods if each.contract.public and not each.path.startswith(HEALTH)),
        "the health service alone is",
        "public",
    )


def _of_bindings(found: Callable[[Binding, Facts], Iterable[str]], good: str, bad: str) -> Callable[[Facts], Finding]:
    """Return what looks at each binding of the policy.

    Args:
        found: gives what is wrong with one; an empty text stands for the binding itself.
        good: said where nothing is.
        bad: what those that are found have in common.
    """

    def look(facts: Facts) -> Finding:
        if facts.policy is None:
            return unknown(NO_POLICY)
        return none_of(
            (
                each or binding.name or f"bindings[{number}] {binding.role}"
                for number, binding in enumerate(facts.policy.policy.bindings)
                for each in found(binding, facts)
            ),
            good,
            bad,
        )

    return look


def _patterns(binding: Binding, _facts: Facts) -> Iterable[str]:
    return (f"{who.workload} as {binding.role}" for who in binding.principals if "*" in who.workload)


def _endless_users(binding: Binding, _facts: Facts) -> Iterable[str]:
    users = (who.subject for who in binding.principals if who.subject)
    return (f"{subject} as {binding.role}" for subject in users if binding.expires is None)


def _ended(binding: Binding, facts: Facts) -> Iterable[str]:
    return [""] if binding.expires is not None and binding.expires <= facts.now else []


def _everywhere(binding: Binding, _facts: Facts) -> Iterable[str]:
    return [""] if binding.tenants == "all" and binding.expires is None and not binding.condition else []


def _unused_roles(facts: Facts) -> Finding:
    if facts.policy is None:
        return unknown(NO_POLICY)
    policy = facts.policy.policy
    used = {binding.role for binding in policy.bindings}
    used |= {name for role in policy.roles.values() for name in role.includes}
    return none_of(set(policy.roles) - used, f"{len(policy.roles)} roles, each given to somebody", "given to nobody")


def _unreachable(facts: Facts) -> Finding:
    if facts.policy is None:
        return unknown(NO_POLICY)
    policy = facts.policy.policy
    given = {name for binding in policy.bindings for name in permissions_of(policy, binding.role)}
    return none_of(
        (each.path for each in facts.methods if each.contract.is_guarded and not _may(each, given)),
        "each method can be called by somebody",
        "nobody has the permission for",
    )


def _may(method: Method, given: set[str]) -> bool:
    contract = method.contract
    some = not contract.any_permissions or bool(given & set(contract.any_permissions))
    return some and given >= set(contract.permissions)


def _writes(facts: Facts) -> Finding:
    return none_of(
        (each.path for each in facts.methods if each.contract.is_guarded and _changes(each) and not _once(each)),
        "each method that changes something takes a call once",
        "a captured call can be made again",
    )


def _once(method: Method) -> bool:
    return method.contract.replay_protected or method.contract.signed


def _changes(method: Method) -> bool:
    """Tell whether a method may change something: neither its proto nor its permissions say that it only reads."""
    options = None if method.descriptor is None else method.descriptor.GetOptions()
    if options is not None and options.idempotency_level == options.NO_SIDE_EFFECTS:
        return False
    named = method.contract.permissions + method.contract.any_permissions
    return not all(name.rpartition(".")[2] in READING for name in named)


def _encrypted(facts: Facts) -> Finding:
    descriptors = [each.descriptor for each in facts.methods if each.descriptor is not None]
    named = {kind for each in descriptors for kind in (each.input_type, each.output_type)}
    sensitive = [each.full_name for each in named if has_sensitive(each)]
    if not sensitive:
        return not_applicable("no field of a message is marked as sensitive")
    required = facts.settings.integrity.encrypted_fields.value
    said = f"integrity.encrypted_fields is {required}, and {min(sensitive)} has some"
    return verdict(required == "required", said)


CHECKS = (
    Check(
        "policy-sound",
        Level.BEGINNER,
        "Policy, methods and settings fit together",
        "A policy with a misspelt permission gives less than was meant, or keeps the service from starting.",
        "as policy check does",
        "mend what it says; policy check tells file and line",
        POLICY,
        _sound,
    ),
    Check(
        "public-methods",
        Level.BEGINNER,
        "No method but health is open to everybody",
        "Whoever has any certificate that is trusted can call a public method, and no record says who.",
        "the contracts of all methods",
        "give the rpc a permission in its proto, in place of public: true",
        POLICY,
        _public,
    ),
    Check(
        "policy-tested",
        Level.INTERMEDIATE,
        "What the policy allows and denies is written down and tried",
        "A change of a role opens more than its author saw.",
        "as policy test does: every case comes as expected, every method and binding has some",
        "add the cases that policy test proposes to policy/policy_test.yaml",
        POLICY,
        _tested,
    ),
    Check(
        "replay",
        Level.INTERMEDIATE,
        "A captured call that changes something cannot be made again",
        "Who sees a call, at a proxy or in a dump, makes it twice: two orders, two payments.",
        "the contracts of all methods that neither their proto nor their permissions say to only read",
        "set replay_protected: true or signed: true in the rpc's access rule; or, where it changes nothing, "
        "idempotency_level = NO_SIDE_EFFECTS",
        "docs/replay.md",
        _writes,
    ),
    Check(
        "policy-wildcards",
        Level.INTERMEDIATE,
        "Workloads are named one by one",
        "Whoever can add a workload to the namespace has the role as well.",
        "no workload in the policy's bindings has a star",
        "name each workload in full in policy/policy.yaml",
        POLICY,
        _of_bindings(_patterns, "each workload is named in full", "patterns of workloads"),
    ),
    Check(
        "policy-unused-roles",
        Level.INTERMEDIATE,
        "Each role is given to somebody",
        "A role of nobody is a key under the mat: the next binding gives more than its author knows.",
        "the roles and bindings of the policy",
        "take the role out of policy/policy.yaml, or bind it; policy unused tells what is used of the others",
        POLICY,
        _unused_roles,
    ),
    Check(
        "policy-unreachable",
        Level.INTERMEDIATE,
        "Each method can be called by somebody",
        "A method of nobody is not seen to fail, and tempts to widen the policy in haste.",
        "the permissions of all methods, and those that bindings give",
        "give the permission to a role in policy/policy.yaml, or take the rpc out",
        POLICY,
        _unreachable,
    ),
    Check(
        "policy-ended",
        Level.INTERMEDIATE,
        "Bindings that have ended are gone",
        "What gives nothing is read as if it did, and lengthened by mistake.",
        "expires of each binding",
        "take the binding out of policy/policy.yaml",
        POLICY,
        _of_bindings(_ended, "no binding has come to its end", "ended, and still there"),
    ),
    Check(
        "policy-persons",
        Level.ADVANCED,
        "No single user has a role for ever",
        "People change posts; what was given to one by name is what nobody takes back.",
        "bindings that name a subject have expires",
        "set expires on the binding, or bind a group in its place",
        POLICY,
        _of_bindings(_endless_users, "no single user has a role for ever", "single users without an end"),
    ),
    Check(
        "policy-all-tenants",
        Level.ADVANCED,
        "Nobody has all tenants' data for ever",
        "One stolen credential of such a caller is everybody's data.",
        "bindings with tenants: all have expires or a condition",
        "set expires or condition on the binding, or name the tenants",
        POLICY,
        _of_bindings(
            _everywhere,
            "who may touch all tenants' data may so for a time, or under a condition",
            "for ever, and under no condition",
        ),
    ),
    Check(
        "fields-encrypted",
        Level.ADVANCED,
        "Sensitive fields are encrypted from end to end",
        "Proxies that end TLS, and their logs, read what travels in plain text.",
        "integrity.encrypted_fields of the settings, where a message has a sensitive field",
        "set integrity.keyring_file and integrity.encrypted_fields: required",
        "docs/integrity.md",
        _encrypted,
    ),
)
