"""Checks of what a cluster would run, and of what the service is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from secure_rpc import wall
from secure_rpc.doctor.checks import Check, Finding, Level, none_of, not_applicable, verdict
from secure_rpc.doctor.facts import Facts
from secure_rpc.doctor.manifests import Manifest
from secure_rpc.doctor.waivers import CHECK as WAIVERS
from secure_rpc.doctor.waivers import FILE as WAIVER_FILE
from secure_rpc.doctor.waivers import LONGEST

DEPLOYING = "docs/deploying.md"
SETTLE_SECONDS = 5.0  # between the end of the grace and the kill
LONGEST_CERTIFICATE = timedelta(days=90)
PLACEHOLDER = "registry.invalid/"
_REQUIREMENT = re.compile(r"^[A-Za-z0-9][^\\\n]*(?:\\\n.*)*", re.MULTILINE)
_HOURS = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def _drain(facts: Facts) -> Finding:
    if facts.manifests is None:
        return not_applicable(facts.no_manifests_because)
    shutdown, container = facts.settings.shutdown, facts.manifests.container
    before = ((container.get("lifecycle") or {}).get("preStop") or {}).get("sleep", {}).get("seconds", 0)
    needed = before + shutdown.drain_seconds + shutdown.grace_seconds + SETTLE_SECONDS
    given = facts.manifests.pod.get("terminationGracePeriodSeconds", 30)
    return verdict(
        given >= needed,
        f"terminationGracePeriodSeconds is {given}; preStop, drain, grace and some to settle take {needed:g}",
    )


def _pods(facts: Facts) -> Finding:
    if facts.manifests is None:
        return not_applicable(facts.no_manifests_because)
    return none_of(_loose(facts.manifests.pod, facts.manifests.container), "as restricted pods are", "not set")


def _loose(pod: Manifest, container: Manifest) -> Iterator[str]:
    whole, own = pod.get("securityContext") or {}, container.get("securityContext") or {}
    if not own.get("runAsNonRoot", whole.get("runAsNonRoot")):
        yield "runAsNonRoot: true"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation: false"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem: true"
    if "ALL" not in ((own.get("capabilities") or {}).get("drop") or []):
        yield "capabilities.drop: [ALL]"
    if (own.get("seccompProfile") or whole.get("seccompProfile") or {}).get("type") not in {
        "RuntimeDefault",
        "Localhost",
    }:
        yield "seccompProfile.type: RuntimeDefault"
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken: false"


def _networks(facts: Facts) -> Finding:
    if facts.manifests is None:
        return not_applicable(facts.no_manifests_because)
    denied: set[str] = set()
    for policy in facts.manifests.of_kind("NetworkPolicy"):
        spec = policy.get("spec") or {}
        if not spec.get("podSelector") and not spec.get("ingress") and not spec.get("egress"):
            denied |= set(spec.get("policyTypes") or [])
    return none_of(
        {"Ingress", "Egress"} - denied, "nothing goes in or out but what policies allow", "not denied to all pods"
    )


def _replicas(facts: Facts) -> Finding:
    if facts.manifests is None:
        return not_applicable(facts.no_manifests_because)
    count, budgets = facts.manifests.replicas, len(facts.manifests.of_kind("PodDisruptionBudget"))
    return verdict(count > 1 and budgets > 0, f"{count} pods at least, {budgets} disruption budget")


def _renewed(facts: Facts) -> Finding:
    if facts.manifests is None:
        return not_applicable(facts.no_manifests_because)
    leaves = [each for each in facts.manifests.of_kind("Certificate") if not (each.get("spec") or {}).get("isCA")]
    if not leaves:
        return not_applicable("no Certificate is among the manifests: something else makes them")
    wrong = []
    for each in leaves:
        spec, name = each["spec"], each["metadata"]["name"]
        if (spec.get("privateKey") or {}).get("rotationPolicy") != "Always":
            wrong.append(f"{name}: rotationPolicy")
        if not spec.get("renewBefore") and not spec.get("renewBeforePercentage"):
            wrong.append(f"{name}: renewBefore")
        if _duration(spec.get("duration", "")) > LONGEST_CERTIFICATE:
            wrong.append(f"{name}: duration {spec['duration']}")
    return none_of(wrong, f"{len(leaves)} certificates, each renewed in time with a new key", "not as it should be")


def _duration(text: str) -> timedelta:
    found = _HOURS.fullmatch(text)
    hours, minutes, seconds = (int(each or 0) for each in found.groups()) if found else (0, 0, 0)
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _image(facts: Facts) -> Finding:
    if facts.manifests is None:
        return not_applicable(facts.no_manifests_because)
    image = facts.manifests.container.get("image", "")
    said = facts.manifests.images.get(image, {})
    name = said.get("newName", image)
    if name.startswith(PLACEHOLDER):
        return not_applicable(f"the image is {name}, a placeholder: the pipeline sets name and digest when it deploys")
    full = f"{name}@{said['digest']}" if said.get("digest") else f"{name}:{said.get('newTag', 'latest')}"
    return verdict("@sha256:" in full, f"the image is {full}")


def _wall(facts: Facts) -> Finding:
    if not (facts.root / wall.OWNED[0]).is_dir():
        return not_applicable("the platform's files are not on this machine; look in the repository")
    changed = wall.differences(facts.root)
    return none_of(changed, "as the template made them", f"{len(changed)} files")


def _hashed(facts: Facts) -> Finding:
    file = facts.root / "requirements" / "runtime.txt"
    if not file.exists():
        return not_applicable("requirements/ is not on this machine; look in the repository")
    found = _REQUIREMENT.findall(file.read_text(encoding="utf-8"))
    return none_of(
        (each.split()[0] for each in found if "--hash=sha256:" not in each or "==" not in each),
        f"{len(found)} requirements, each with its hashes",
        "without version or hash",
    )


def _waived(facts: Facts) -> Finding:
    today = facts.now.date()
    over = [f"{each.id} ended {each.until}" for each in facts.waivers if each.until < today]
    over += [f"{each.id} lasts till {each.until}" for each in facts.waivers if each.until > today + LONGEST]
    return none_of(over, f"{len(facts.waivers)} exceptions, each with a day on which it ends", "not for now")


CHECKS = (
    Check(
        "drain",
        Level.BEGINNER,
        "A pod has the time to end its calls",
        "A pod that is killed while it drains cuts calls at each roll-out.",
        "shutdown of the settings against preStop and terminationGracePeriodSeconds in deploy/",
        "set terminationGracePeriodSeconds to preStop + shutdown.drain_seconds + shutdown.grace_seconds + 5 at least",
        "docs/processes.md",
        _drain,
    ),
    Check(
        "pod-security",
        Level.BEGINNER,
        "Pods may do nothing but serve",
        "Who breaks into the process can write files, gain rights, or ask the cluster in its name.",
        "the pod's and the container's securityContext in deploy/",
        "set what is missing in deploy/base/deployment.yaml",
        DEPLOYING,
        _pods,
    ),
    Check(
        "requirements-hashed",
        Level.BEGINNER,
        "What is installed is what was looked at",
        "Whoever can publish a release of a dependency runs code here.",
        "each line of requirements/runtime.txt has a version and hashes",
        "run make lock",
        DEPLOYING,
        _hashed,
    ),
    Check(
        "network-policies",
        Level.INTERMEDIATE,
        "Pods reach, and are reached by, nothing that is not named",
        "Who breaks into a neighbour, or into this process, goes on from there.",
        "a NetworkPolicy in deploy/ that denies all pods ingress and egress",
        "keep default-deny in deploy/base/network-policies.yaml",
        DEPLOYING,
        _networks,
    ),
    Check(
        "replicas",
        Level.INTERMEDIATE,
        "One pod can go without anybody noticing",
        "A node that is drained, or dies, is an outage.",
        "minReplicas and the PodDisruptionBudget in deploy/",
        "set minReplicas: 2 or more, and keep the PodDisruptionBudget, in deploy/base/scaling.yaml",
        DEPLOYING,
        _replicas,
    ),
    Check(
        "certificates-renewed",
        Level.INTERMEDIATE,
        "Certificates are renewed by a machine, in time, with a new key",
        "What a person has to renew is forgotten; a key that stays is one that can be stolen for years.",
        "duration, renewBefore and rotationPolicy of each Certificate in deploy/",
        "set duration: 720h0m0s, renewBefore: 168h0m0s and rotationPolicy: Always in deploy/base/certificates.yaml",
        "docs/certificates.md",
        _renewed,
    ),
    Check(
        "image-digest",
        Level.INTERMEDIATE,
        "The image is named by its digest",
        "A tag can be moved to another image by whoever may push.",
        "images of the overlay in deploy/",
        "set the digest: kustomize edit set image NAME=REGISTRY/NAME@sha256:...",
        DEPLOYING,
        _image,
    ),
    Check(
        "wall",
        Level.INTERMEDIATE,
        "The platform's files are as the template made them",
        "A change there is undone by the next update, or opens what its tests do not know of.",
        "as make lint does: the digests of src/secure_rpc/wall.sha256",
        "take the change back, or make it in the template",
        "docs/doctor.md",
        _wall,
    ),
    Check(
        WAIVERS,
        Level.INTERMEDIATE,
        "Each exception has an end, and none is over",
        "An exception without an end is the rule.",
        f"until of each entry in {WAIVER_FILE}, at most {LONGEST.days} days ahead",
        f"mend what is waived, or set another until in {WAIVER_FILE}",
        "docs/doctor.md",
        _waived,
    ),
)
