"""Checks of a running service: what it says now, not what its files say it should."""

from __future__ import annotations

from datetime import UTC, datetime

from secure_rpc.doctor.checks import Check, Finding, Level, none_of, not_applicable, unknown, verdict
from secure_rpc.doctor.facts import Facts
from secure_rpc.doctor.records import promises_of
from secure_rpc.doctor.running import Running
from secure_rpc.observability.objectives import Thresholds

NOT_ASKED = "no running service was named; --running HOST:PORT names its admin port"
MAX_SKEW_SECONDS = 5.0
SETTLE_SECONDS = 60.0  # in which a change of a file is taken up
NEEDED = ("secure_rpc_build_info", "secure_rpc_workers_ready", "secure_rpc_calls_in_flight")


def _ready(facts: Facts) -> Finding:
    running = facts.running
    if running is None:
        return not_applicable(NOT_ASKED)
    return verdict(running.ready, running.ready_said or "ready")


def _clock(facts: Facts) -> Finding:
    running = facts.running
    if running is None:
        return not_applicable(NOT_ASKED)
    if running.skew_seconds is None:
        return unknown("it does not say what time it has")
    said = f"{abs(running.skew_seconds):.0f} s from the clock of this machine"
    return verdict(abs(running.skew_seconds) <= MAX_SKEW_SECONDS, said)


def _metrics(facts: Facts) -> Finding:
    running = facts.running
    if running is None:
        return not_applicable(NOT_ASKED)
    if not running.metrics:
        return unknown(running.metrics_said or "there are none")
    return none_of(
        (name for name in NEEDED if name not in running.metrics), f"{len(running.metrics)} numbers", "missing"
    )


def _workers(facts: Facts) -> Finding:
    running = facts.running
    if (finding := _no_numbers(running)) is not None or running is None:
        return finding or not_applicable(NOT_ASKED)
    ready = sum(running.values("secure_rpc_workers_ready"))
    wanted = facts.settings.workers
    return verdict(ready >= wanted, f"{ready:g} of {wanted} take calls")


def _certificates(facts: Facts) -> Finding:
    running = facts.running
    if (finding := _no_numbers(running)) is not None or running is None:
        return finding or not_applicable(NOT_ASKED)
    name, now = "secure_rpc_certificate_not_after_timestamp_seconds", facts.now.timestamp()
    found = running.metrics.get(name, ())
    if not found:
        return unknown(f"{name} has no value")
    promises = promises_of(facts)
    thresholds = Thresholds() if isinstance(promises, Finding) else promises.thresholds
    hours = thresholds.certificate_ticket_hours
    return none_of(
        (
            f"{next(iter(each.labels.values()), '')} ({datetime.fromtimestamp(each.value, UTC):%Y-%m-%d %H:%M})"
            for each in found
            if each.value - now < hours * 3600
        ),
        f"{len(found)} last more than {hours:g} hours",
        "to be renewed",
    )


def _tls(facts: Facts) -> Finding:
    running = facts.running
    if running is None:
        return not_applicable(NOT_ASKED)
    if running.takes_tls_1_2 is None or running.takes_nobody is None:
        return unknown(f"nobody answers on {running.where.target}; --target names the gRPC port")
    seen = {"TLS 1.2": running.takes_tls_1_2, "a client without certificate": running.takes_nobody}
    return none_of(
        (name for name, lets_in in seen.items() if lets_in), "refused: TLS 1.2, and clients without", "let in"
    )


def _keys(facts: Facts) -> Finding:
    running = facts.running
    if (finding := _no_numbers(running)) is not None or running is None:
        return finding or not_applicable(NOT_ASKED)
    limits = {each.issuer: each.keys.stale_limit_seconds for each in facts.settings.authentication.issuers}
    found = running.metrics.get("secure_rpc_issuer_keys_age_seconds", ())
    if not found:
        return not_applicable("no keys of issuers were needed so far")
    return none_of(
        (
            f"{each.labels.get('issuer', '')} ({each.value:.0f} s)"
            for each in found
            if each.value > limits.get(each.labels.get("issuer", ""), 0.0)
        ),
        f"the keys of {len(found)} issuers are fresh",
        "too old to be used",
    )


def _lists(facts: Facts) -> Finding:
    running = facts.running
    if (finding := _no_numbers(running)) is not None or running is None:
        return finding or not_applicable(NOT_ASKED)
    found = running.metrics.get("secure_rpc_crl_next_update_timestamp_seconds", ())
    ages = running.values("secure_rpc_revocations_age_seconds")
    if not found and not ages:
        return not_applicable("no CRLs, and no shared revocations, are in use")
    limit = facts.settings.revocation.max_staleness_seconds
    late = [f"the CRL of {each.labels.get('issuer', '')}" for each in found if each.value <= facts.now.timestamp()]
    late += [f"shared revocations ({age:.0f} s)" for age in ages if age > limit]
    return none_of(late, "all of them are in time", "overdue")


def _policy(facts: Facts) -> Finding:
    running = facts.running
    if (finding := _no_numbers(running)) is not None or running is None:
        return finding or not_applicable(NOT_ASKED)
    file = facts.settings.authorization.policy_file
    loaded = running.values("secure_rpc_policy_loaded_timestamp_seconds")
    if not file.exists() or not loaded:
        return not_applicable(f"{file} is not on this machine; look where the service runs")
    late = file.stat().st_mtime - min(loaded)
    said = f"{file} was taken up" if late <= SETTLE_SECONDS else f"{file} has changed, and the one before is in force"
    return verdict(late <= SETTLE_SECONDS, said)


def _audit(facts: Facts) -> Finding:
    running = facts.running
    if running is None:
        return not_applicable(NOT_ASKED)
    failures = sum(running.values("secure_rpc_audit_write_failures_total"))
    if failures:
        return verdict(good=False, said=f"{failures:g} records could not be written")
    if not running.logs:
        return not_applicable(f"{facts.settings.audit.file} is not on this machine; run audit verify where it is")
    return none_of(
        (f"{each.path.name}: {each.problem}" for each in running.logs if not each.whole),
        f"{sum(each.lines for each in running.logs)} lines, none changed, none missing",
        "not whole",
    )


def _no_numbers(running: Running | None) -> Finding | None:
    if running is None:
        return not_applicable(NOT_ASKED)
    if not running.metrics:
        return unknown(running.metrics_said or "there are no numbers")
    return None


CHECKS = (
    Check(
        "running-ready",
        Level.BEGINNER,
        "The service takes calls",
        "What is not ready is sent nothing, and what is broken may be so for long.",
        "/readyz of the running service",
        "do what it says; docs/processes.md explains each reason",
        "docs/processes.md",
        _ready,
    ),
    Check(
        "running-tls",
        Level.BEGINNER,
        "The gRPC port refuses TLS 1.2, and clients without certificate",
        "What the settings say is not what is served, if the environment or a proxy says otherwise.",
        "two handshakes with the running service, neither of which may succeed",
        "set tls.minimum_version: TLSv1.3, unset GRPC_SSL_CIPHER_SUITES, and let nothing end TLS before the service",
        "docs/certificates.md",
        _tls,
    ),
    Check(
        "running-certificates",
        Level.BEGINNER,
        "The certificates in use last longer than alerts wait for",
        "A certificate that was renewed, but not taken up, ends all calls as an expired one does.",
        "secure_rpc_certificate_not_after_timestamp_seconds of the running service, and thresholds."
        "certificate_ticket_hours of observability/objectives.yaml",
        "renew the certificate; where the file is new already, see that the whole folder is mounted, no subPath",
        "docs/certificates.md",
        _certificates,
    ),
    Check(
        "running-workers",
        Level.INTERMEDIATE,
        "All workers take calls",
        "A worker that crashes again and again leaves the others with its share.",
        "secure_rpc_workers_ready of the running service, and workers of the settings",
        "look into the log for why it ends; set workers to what the machine has cores for",
        "docs/processes.md",
        _workers,
    ),
    Check(
        "running-clock",
        Level.INTERMEDIATE,
        "Its clock is right",
        "By a wrong clock, tokens that have ended count, and calls are refused as captured.",
        f"the date that the running service says is within {MAX_SKEW_SECONDS:g} s of this machine's",
        "have NTP set the clock of the node",
        "docs/replay.md",
        _clock,
    ),
    Check(
        "running-metrics",
        Level.INTERMEDIATE,
        "Its numbers can be read",
        "Without numbers no alert fires.",
        "/metrics of the running service",
        "name the admin port, and by --ca, --certificate and --key one of admin.allowed_workloads",
        "docs/observability.md",
        _metrics,
    ),
    Check(
        "running-issuer-keys",
        Level.INTERMEDIATE,
        "The keys of issuers are fresh",
        "When they are too old, no token is taken any more, and one with a withdrawn key was until then.",
        "secure_rpc_issuer_keys_age_seconds of the running service",
        "see why the issuer cannot be reached: jwks_url, fetch.ca_file, network policies",
        "docs/identity.md",
        _keys,
    ),
    Check(
        "running-revocations",
        Level.INTERMEDIATE,
        "Revocations are in time",
        "An overdue list lacks what was revoked since; or nobody is let in any more.",
        "secure_rpc_crl_next_update_timestamp_seconds and secure_rpc_revocations_age_seconds of the running service",
        "have the list fetched; see that the store can be reached",
        "docs/certificates.md",
        _lists,
    ),
    Check(
        "running-policy",
        Level.INTERMEDIATE,
        "The policy in force is the one in the file",
        "A policy that is refused leaves the old one in force: what was to be taken away is still given.",
        "secure_rpc_policy_loaded_timestamp_seconds of the running service, and when authorization.policy_file changed",
        "run policy check, mend the file and the line that it names",
        "docs/policy.md",
        _policy,
    ),
    Check(
        "running-audit",
        Level.INTERMEDIATE,
        "The audit log is whole",
        "A record that was changed, cut off or never written is what an attacker wants.",
        "secure_rpc_audit_write_failures_total, and as audit verify does where the log is on this machine",
        "keep the files, see docs/audit.md, and treat it as an incident: checklists/incident.md",
        "docs/audit.md",
        _audit,
    ),
)
