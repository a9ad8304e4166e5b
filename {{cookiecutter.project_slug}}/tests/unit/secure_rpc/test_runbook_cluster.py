"""What the runbooks ask of a cluster is there: objects, containers, ports and labels are those of deploy/."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.runbooks import Block, all_blocks

DEPLOY = Path("deploy")
# what the platform team brings; docs/deploying.md names each
OF_THE_PLATFORM = {
    ("monitoring", "service", "prometheus-operated"),
    ("", "clusterissuer", "workloads"),
    ("", "clustersecretstore", "platform"),
    ("cert-manager", "secret", "workloads-ca"),
}
PLURALS = {"policies": "policy", "certificaterequests": "certificaterequest"}
SHORT = {"hpa": "horizontalpodautoscaler", "pdb": "poddisruptionbudget"}
MADE_BY_OTHERS = {"pod", "event", "certificaterequest", "endpointslice", "replicaset", "node", "namespace", "pdb"}
NAME = "app.kubernetes.io/name"
VALUED = {
    "-n", "-l", "-o", "-c", "-p", "-f", "-k", "--since", "--tail", "--type", "--timeout", "--from-file", "--dry-run",
    "--replicas", "--to-revision", "--sort-by", "--field-selector", "--subresource", "--patch-file", "--for", "--cert",
    "--key",
}  # fmt: skip
VERBS = {
    "get", "describe", "logs", "exec", "patch", "apply", "create", "delete", "port-forward", "rollout", "scale", "wait",
    "top", "diff", "annotate", "config", "set",
}  # fmt: skip
KUBECTL = re.compile(r"(?:^|[|;(]|&&)\s*kubectl (.*?)(?=\s(?:\||>>?|&&?|;|<)|\)|$)", re.MULTILINE)
LABEL = "none given"
BLOCKS = [block for block in all_blocks() if block.kind == "sh cluster"]


@dataclass
class Deployed:
    """All that deploy/ makes: overlays and components together."""

    objects: set[tuple[str, str]] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    ports: dict[str, set[str]] = field(default_factory=dict)
    containers: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    found = Deployed()
    values = yaml.safe_load((DEPLOY / "base/values.yaml").read_text(encoding="utf-8"))["data"]
    for path in sorted(DEPLOY.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if isinstance(document, dict) and {"kind", "metadata", "spec"} <= set(document):  # patches and maps aside
                add(found, document)
    found.objects.add(("configmap", "revocation"))
    for name in ("config", "policy"):  # from which deploy/ takes settings and policy
        [made] = yaml.safe_load(Path(name, "kustomization.yaml").read_text(encoding="utf-8"))["configMapGenerator"]
        found.objects.add(("configmap", made["name"]))
    found.kinds |= {kind for kind, _ in found.objects}
    numbers = {values["grpc-port"], values["probe-port"], values["admin-port"]}
    found.ports["deployment"] = numbers
    edge = yaml.safe_load((DEPLOY / "edge/kustomization.yaml").read_text(encoding="utf-8"))["labels"][0]["pairs"]
    found.labels = {f"{NAME}={values['service']}", f"{NAME}={edge[NAME]}"}
    found.objects.add(("serviceaccount", values["account"]))
    return found


def add(found: Deployed, document: dict[str, Any]) -> None:
    kind, name = document["kind"].lower(), document["metadata"]["name"]
    found.kinds.add(kind)
    found.objects.add((kind, name))
    if kind == "certificate" and "secretName" in document["spec"]:
        found.objects.add(("secret", document["spec"]["secretName"]))
    if kind == "externalsecret":
        found.objects.add(("secret", document["spec"]["target"]["name"]))
    if kind == "bundle":
        found.objects.add(("configmap", name))
    if kind == "deployment":
        template = document["spec"].get("template", {}).get("spec", {})
        found.containers |= {each["name"] for each in template.get("containers", [])}


def kubectl(block: Block) -> Iterator[list[str]]:
    """Yield the arguments of each kubectl in a block."""
    text = block.text.replace("\\\n", " ")
    for found in KUBECTL.finditer(text):
        yield shlex.split(found[1], comments=True)


def read(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return what stands alone, and the options with their values."""
    alone: list[str] = []
    options: dict[str, str] = {}
    left = iter(arguments)
    for each in left:
        if each == "--":
            break
        name, equals, value = each.partition("=")
        if each.startswith("-") and name in VALUED and not equals:
            options[name] = next(left)
        elif each.startswith("-"):
            options[name] = value
        else:
            alone.append(each)
    return alone, options


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    values = yaml.safe_load((DEPLOY / "base/values.yaml").read_text(encoding="utf-8"))["data"]
    return {"$SERVICE": values["service"], "$NAMESPACE": values["namespace"]}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_what_a_block_names_is_deployed(block: Block, deployed: Deployed, names: dict[str, str]) -> None:
    for arguments in kubectl(block):
        filled = [each.replace("$SERVICE", names["$SERVICE"]) for each in arguments]
        alone, options = read([each.replace("$NAMESPACE", names["$NAMESPACE"]) for each in filled])
        verb, *rest = alone
        assert verb in VERBS, f"{block.place}: {arguments}"
        assert verb != "wait" or options.get("--timeout"), f"{block.place}: nothing waits for ever"
        assert options.get("-l", LABEL) in deployed.labels | {LABEL}, f"{block.place}: {options['-l']}"
        assert "-k" not in options or Path(options["-k"], "kustomization.yaml").is_file(), (
            f"{block.place}: {options['-k']}"
        )
        assert options.get("-c", "service") in deployed.containers, f"{block.place}: {options['-c']}"
        for target in targets(verb, rest):
            check(target, options.get("-n", ""), block, deployed, names)
    for name in re.findall(r"\bcmctl renew (\S+)", block.text):
        assert ("certificate", name) in deployed.objects, f"{block.place}: {name}"


def targets(verb: str, rest: list[str]) -> list[str]:
    """Return what a command names, by kind and name, of what stands behind its verb."""
    if verb == "rollout":
        assert rest[0] in {"restart", "undo", "status", "history"}, rest
        return rest[1:]
    if verb == "create":  # configmap NAME, secret tls NAME
        assert rest[0] in {"configmap", "secret"}, rest
        return [f"{rest[0]}/{rest[-1]}"]
    if verb == "config":
        return []
    if verb == "set":
        assert rest[0] == "env", rest
        return rest[1:2]
    return rest[:1] if verb == "annotate" else rest


def check(target: str, namespace: str, block: Block, deployed: Deployed, names: dict[str, str]) -> None:
    """Hold one thing that a command names against what is deployed."""
    if re.fullmatch(r"\d+:\d+", target):
        assert target.partition(":")[2] in deployed.ports["deployment"] | {"9090"}, f"{block.place}: {target}"
        return
    for one in target.split(","):
        kind, _, name = one.partition("/")
        singular = SHORT.get(kind, PLURALS.get(kind, kind.removesuffix("s")))
        if not name:
            assert singular in MADE_BY_OTHERS | deployed.kinds, f"{block.place}: {one}"
            continue
        known = (singular, name) in deployed.objects and namespace in {names["$NAMESPACE"], ""}
        assert known or (namespace, singular, name) in OF_THE_PLATFORM, f"{block.place}: {one} in {namespace or 'none'}"
        cluster_wide = singular in {"clusterissuer", "clustersecretstore", "bundle", "namespace", "node"}
        assert bool(namespace) != cluster_wide, f"{block.place}: {one}: say -n, or not"


def test_there_are_blocks_and_each_asks_the_cluster() -> None:
    assert len(BLOCKS) > 40
    for block in BLOCKS:
        own = re.search(r"\b(in_pod|each_pod|pods|cmctl|kubectl|evidence|make manifests|curl)\b", block.text)
        assert own, f"{block.place}: asks no cluster"


@pytest.mark.parametrize(
    "wrong",
    [
        'kubectl -n "$NAMESPACE" get certificate/servr',
        'kubectl -n "$NAMESPACE" logs -l app=x -c service',
        'kubectl -n "$NAMESPACE" logs "deployment/$SERVICE" -c main',
        'kubectl -n "$NAMESPACE" port-forward "deployment/$SERVICE" 8080:9999',
        "kubectl -n elsewhere get secret/redis",
        "kubectl get secret/redis",
        'cmctl renew servr -n "$NAMESPACE"',
        'kubectl -n "$NAMESPACE" get thingies',
        'kubectl -n "$NAMESPACE" obliterate secret/redis',
    ],
)
def test_a_wrong_name_is_found(wrong: str, deployed: Deployed, names: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        test_what_a_block_names_is_deployed(Block("page", 1, "sh cluster", wrong + "\n"), deployed, names)
