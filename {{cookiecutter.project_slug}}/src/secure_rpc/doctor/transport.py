"""Checks of the transport: TLS, certificates, ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography import x509

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.setup import FOLDER
from secure_rpc.doctor.checks import Check, Finding, Level, none_of, not_applicable, verdict
from secure_rpc.doctor.facts import Facts
from secure_rpc.sections import ServingLoop
from secure_rpc.tls.credentials import load
from secure_rpc.tls.floor import TlsVersion
from secure_rpc.tls.renewal import renewal_due
from secure_rpc.trust import server_files

CERTIFICATES, SETTINGS = "docs/certificates.md", "docs/settings.md"
MAX_CONNECTION_SECONDS = 3600.0
PRODUCTION = ("production", "prod", "staging")


def _environment(facts: Facts) -> Finding:
    name = facts.settings.service.environment
    return verdict(name in PRODUCTION, f'service.environment is "{name}"')


def _development_files(facts: Facts) -> Finding:
    named = _paths_of(facts.settings.model_dump())
    return none_of(
        (key for key, path in named if FOLDER.name in path.parts),
        f"no setting names a file in {FOLDER}",
        f"in {FOLDER}",
    )


def _paths_of(value: Any, key: str = "") -> Iterator[tuple[str, Path]]:
    if isinstance(value, Path):
        yield key, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, each in inner:
        yield from _paths_of(each, f"{key}.{name}" if key else str(name))


def _floor(facts: Facts) -> Finding:
    least = facts.settings.tls.minimum_version
    return verdict(least is TlsVersion.TLS_1_3, f"tls.minimum_version is {least.value}")


def _loop(facts: Facts) -> Finding:
    loop = facts.settings.serving_loop
    return verdict(loop is ServingLoop.PUMPED, f"serving_loop is {loop.value}")


def _reflection(facts: Facts) -> Finding:
    enabled = facts.settings.reflection.enabled
    return verdict(not enabled, f"reflection.enabled is {str(enabled).lower()}")


def _connections(facts: Facts) -> Finding:
    age, ticket = facts.settings.limits.connection_age_seconds, facts.settings.tls.ticket_lifetime_seconds
    return verdict(
        max(age, ticket) <= MAX_CONNECTION_SECONDS,
        f"limits.connection_age_seconds is {age:g}, tls.ticket_lifetime_seconds is {ticket:g}",
    )


def _scrapers(facts: Facts) -> Finding:
    admin = facts.settings.admin
    if not admin.tls:
        return not_applicable("the admin port is on loopback, in plaintext; settings allow it nowhere else")
    own = f"spiffe://{facts.settings.authentication.trust_domain}/"
    return none_of(
        (each for each in admin.allowed_workloads if not each.startswith(own)),
        f"{len(admin.allowed_workloads)} of our own trust domain may scrape",
        "of other trust domains",
    )


def _sound(facts: Facts) -> Finding:
    if reason := _elsewhere(facts):
        return not_applicable(reason)
    try:
        found = load(server_files(facts.settings), facts.now.timestamp)
    except ConfigurationError as error:
        return verdict(good=False, said="; ".join(error.problems))
    return verdict(good=True, said=f"{len(found.chain)} certificates, {len(found.authorities)} client CAs")


def _lasts(facts: Facts) -> Finding:
    if reason := _elsewhere(facts):
        return not_applicable(reason)
    files = facts.settings.tls
    try:
        found = [
            each
            for file in (files.certificate_file, files.client_ca_file)
            for each in x509.load_pem_x509_certificates(file.read_bytes())
        ]
    except (OSError, ValueError) as error:
        return verdict(good=False, said=f"a certificate cannot be read: {error}")
    return none_of(
        (f"{each.subject.rfc4514_string()} ({each.not_valid_after_utc:%Y-%m-%d})" for each in found
         if renewal_due(each) <= facts.now),
        f"{len(found)} certificates last",
        "to be renewed",
    )  # fmt: skip


def _elsewhere(facts: Facts) -> str:
    files = facts.settings.tls
    missing = [each for each in (files.certificate_file, files.key_file, files.client_ca_file) if not each.exists()]
    if not missing:
        return ""
    return f"{missing[0]} is not on this machine; look where the service runs, or at a running one by --running"


CHECKS = (
    Check(
        "environment",
        Level.BEGINNER,
        "The settings say that this is production",
        "Logs, records and alerts of production that call themselves development are looked at by nobody.",
        f"service.environment is one of {', '.join(PRODUCTION)}",
        "set service.environment: production",
        SETTINGS,
        _environment,
    ),
    Check(
        "development-files",
        Level.BEGINNER,
        "No file of development is used",
        "The keys in .dev were made on a laptop, for tokens and certificates that anybody there can make.",
        f"no path in the settings goes through {FOLDER}",
        "name the files that are mounted in production, such as tls.certificate_file: /var/run/secrets/tls/tls.crt",
        "docs/deploying.md",
        _development_files,
    ),
    Check(
        "tls-floor",
        Level.BEGINNER,
        "Nothing older than TLS 1.3 is spoken",
        "TLS 1.2 has cipher suites and renegotiations that attacks are known on.",
        "tls.minimum_version of the settings",
        "set tls.minimum_version: TLSv1.3",
        SETTINGS,
        _floor,
    ),
    Check(
        "reflection",
        Level.BEGINNER,
        "Callers cannot ask for the protos",
        "Reflection hands whoever gets in a map of all that can be tried.",
        "reflection.enabled of the settings",
        "set reflection.enabled: false",
        SETTINGS,
        _reflection,
    ),
    Check(
        "certificates-sound",
        Level.BEGINNER,
        "Certificate, key and CAs fit together",
        "A server with a key that does not fit, or a chain that leads nowhere, refuses everybody.",
        "the files are read and judged as the server does at start",
        "mount a leaf with its intermediates, its key, and the CAs of the clients: tls.certificate_file, tls.key_file, "
        "tls.client_ca_file",
        CERTIFICATES,
        _sound,
    ),
    Check(
        "certificates-last",
        Level.INTERMEDIATE,
        "No certificate is about to end",
        "An expired certificate stops every call at once, mostly at night.",
        "14 days, or a third of a certificate's life, are left of each one in the files",
        "renew it before that, as cert-manager does by renewBefore, and pki init for development",
        CERTIFICATES,
        _lasts,
    ),
    Check(
        "connections-end",
        Level.INTERMEDIATE,
        "Connections and TLS sessions end within the hour",
        "Who was let in once stays in: a certificate is looked at when a connection begins.",
        "limits.connection_age_seconds and tls.ticket_lifetime_seconds of the settings",
        "set limits.connection_age_seconds: 1800 and tls.ticket_lifetime_seconds: 3600",
        CERTIFICATES,
        _connections,
    ),
    Check(
        "serving-loop",
        Level.INTERMEDIATE,
        "One hostile call cannot end the process",
        "grpc.aio's own loop ends on a path that is no UTF-8, which anybody with a certificate can send.",
        "serving_loop of the settings",
        "set serving_loop: pumped",
        "docs/chain.md",
        _loop,
    ),
    Check(
        "admin-scrapers",
        Level.INTERMEDIATE,
        "Only workloads of our own trust domain read the numbers",
        "Metrics tell who calls, how much, and what is refused.",
        "admin.allowed_workloads of the settings",
        "name workloads of authentication.trust_domain alone in admin.allowed_workloads",
        "docs/processes.md",
        _scrapers,
    ),
)
