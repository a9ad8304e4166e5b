"""Checks of what is known afterwards: the audit log, logs, traces, alerts."""

from __future__ import annotations

from urllib.parse import urlsplit

from secure_rpc.audit.settings import Durability
from secure_rpc.configuration import ConfigurationError
from secure_rpc.doctor.checks import Check, Finding, Level, none_of, not_applicable, verdict
from secure_rpc.doctor.facts import Facts
from secure_rpc.observability import building
from secure_rpc.observability.objectives import FILE, FOLDER, Promises
from secure_rpc.observability.objectives import load as load_promises
from secure_rpc.observability.rules import names
from secure_rpc.telemetry.logging import LogFormat

AUDIT, OBSERVABILITY, SLO = "docs/audit.md", "docs/observability.md", "docs/slo.md"
RUNBOOKS = "runbooks"
ANCHORS_LEVEL = "info"  # of the log lines that say where a chain has come to


def _unwritable(facts: Facts) -> Finding:
    refuses = facts.settings.audit.refuse_when_unwritable
    return verdict(refuses, f"audit.refuse_when_unwritable is {str(refuses).lower()}")


def _signed(facts: Facts) -> Finding:
    file = facts.settings.audit.checkpoint_key_file
    return verdict(file is not None, "audit.checkpoint_key_file is " + (str(file) if file else "not set"))


def _retained(facts: Facts) -> Finding:
    audit = facts.settings.audit
    decided = audit.retain_segments > 0 or audit.retain_seconds > 0
    return verdict(
        decided, f"audit.retain_seconds is {audit.retain_seconds:g}, audit.retain_segments is {audit.retain_segments}"
    )


def _kept(facts: Facts) -> Finding:
    if facts.manifests is None:
        return not_applicable(facts.no_manifests_because)
    file = facts.settings.audit.file
    volume = facts.manifests.volume_at(file)
    if not volume:
        return verdict(good=False, said=f"no volume is mounted where {file} is written")
    kind = next((key for key in volume if key != "name"), "nothing")
    return verdict("emptyDir" not in volume, f"{file} is in the volume {volume['name']}, of the kind {kind}")


def _durable(facts: Facts) -> Finding:
    durability = facts.settings.audit.durability
    return verdict(durability is Durability.DURABLE, f"audit.durability is {durability.value}")


def _sealed(facts: Facts) -> Finding:
    file = facts.settings.audit.recipient_file
    return verdict(file is not None, "audit.recipient_file is " + (str(file) if file else "not set"))


def _format(facts: Facts) -> Finding:
    form = facts.settings.logging.format
    return verdict(form is LogFormat.JSON, f"logging.format is {form.value}")


def _level(facts: Facts) -> Finding:
    level = facts.settings.logging.level
    return verdict(level == ANCHORS_LEVEL, f"logging.level is {level}")


def _tracing(facts: Facts) -> Finding:
    endpoint = facts.settings.tracing.otlp_endpoint
    if not endpoint:
        return not_applicable("no traces are sent: tracing.otlp_endpoint is empty")
    parts = urlsplit(endpoint)
    good = parts.scheme == "https" or not facts.settings.tracing.allow_plaintext
    return verdict(good, f"traces go to {parts.hostname} by {parts.scheme}")


def promises_of(facts: Facts) -> Promises | Finding:
    """Return what the service promises, or why there is nothing to hold it against."""
    file = facts.root / FOLDER / FILE
    if not file.exists():
        return not_applicable(f"{FOLDER / FILE} is not on this machine; look in the repository")
    try:
        return load_promises(file)
    except ConfigurationError as error:
        return verdict(good=False, said="; ".join(error.problems))


def _alerts(facts: Facts) -> Finding:
    promises = promises_of(facts)
    if isinstance(promises, Finding):
        return promises
    if promises.job != facts.settings.service.name:
        return verdict(good=False, said=f"job is {promises.job}, the service is {facts.settings.service.name}")
    folder = facts.root / FOLDER
    return none_of(
        (each.relative_to(folder).as_posix() for each in building.stale(promises, folder)),
        f"{len(names(promises))} alerts, as {FILE} says",
        f"not as {FILE} says",
    )


def _runbooks(facts: Facts) -> Finding:
    promises = promises_of(facts)
    if isinstance(promises, Finding):
        return promises
    folder = facts.root / RUNBOOKS
    return none_of(
        (each for each in names(promises) if not (folder / f"{each}.md").is_file()),
        f"each alert has its page in {RUNBOOKS}/",
        f"no page in {RUNBOOKS}/",
    )


CHECKS = (
    Check(
        "audit-refuses",
        Level.BEGINNER,
        "No call passes without its record",
        "Who can fill the disk could then act unseen.",
        "audit.refuse_when_unwritable of the settings",
        "set audit.refuse_when_unwritable: true",
        AUDIT,
        _unwritable,
    ),
    Check(
        "log-format",
        Level.BEGINNER,
        "Logs are for machines",
        "Lines for people cannot be searched by caller or reason, and one that spans several lines hides others.",
        "logging.format of the settings",
        "set logging.format: json",
        OBSERVABILITY,
        _format,
    ),
    Check(
        "log-level",
        Level.INTERMEDIATE,
        "Logs say what is needed, and no more",
        "Above info the anchors of the audit log are lost, by which a cut log is found out; debug drowns them.",
        "logging.level of the settings",
        "set logging.level: info",
        OBSERVABILITY,
        _level,
    ),
    Check(
        "audit-kept",
        Level.INTERMEDIATE,
        "The audit log outlives its pod",
        "An emptyDir goes with the pod: the records of the last hour are gone with the node that was attacked.",
        "the volume in deploy/ at which audit.file is written",
        "mount a persistentVolumeClaim at the folder of audit.file, or waive this where audit export carries records "
        "off as they come",
        AUDIT,
        _kept,
    ),
    Check(
        "audit-signed",
        Level.INTERMEDIATE,
        "The audit log is signed",
        "Who can write the file can write the whole chain anew; without the key, not its signatures.",
        "audit.checkpoint_key_file of the settings",
        "set audit.checkpoint_key_file to an Ed25519 key that is mounted",
        AUDIT,
        _signed,
    ),
    Check(
        "audit-retention",
        Level.INTERMEDIATE,
        "It is decided how long records are kept",
        "Kept for ever they fill the disk, and calls are refused; and the law says how long names may be kept.",
        "audit.retain_seconds or audit.retain_segments of the settings",
        "set audit.retain_seconds to what your rules say, such as 7776000 for 90 days",
        AUDIT,
        _retained,
    ),
    Check(
        "tracing-tls",
        Level.INTERMEDIATE,
        "Traces leave by TLS",
        "Traces tell who calls what, when, for which tenant.",
        "tracing.otlp_endpoint and tracing.allow_plaintext of the settings",
        "set tracing.otlp_endpoint: https://... and tracing.allow_plaintext: false",
        OBSERVABILITY,
        _tracing,
    ),
    Check(
        "alerts-built",
        Level.INTERMEDIATE,
        "Alerts are as was promised, and of this service",
        "An alert on another name, or of an older promise, does not fire.",
        "as observe check does, and job of observability/objectives.yaml is service.name",
        "run make observability; set job in observability/objectives.yaml to the service's name",
        SLO,
        _alerts,
    ),
    Check(
        "runbooks",
        Level.INTERMEDIATE,
        "Each alert says what to do",
        "Who is woken at night and finds no page begins to guess.",
        "a page of each alert's name in runbooks/",
        "write runbooks/NAME.md for each alert that has none",
        SLO,
        _runbooks,
    ),
    Check(
        "audit-durable",
        Level.ADVANCED,
        "A reply leaves when its record is on disk",
        "A crash at the right moment loses the records of the last calls.",
        "audit.durability of the settings",
        "set audit.durability: durable",
        AUDIT,
        _durable,
    ),
    Check(
        "audit-sealed",
        Level.ADVANCED,
        "Closed audit files can be read by their owner alone",
        "The log names every caller and what they touched; backups of it are read by many.",
        "audit.recipient_file of the settings",
        "set audit.recipient_file to an X25519 public key whose private one is elsewhere",
        AUDIT,
        _sealed,
    ),
)
