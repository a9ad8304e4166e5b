"""What manifests say and what settings say: where the two disagree, in words."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

PROBES = {"livenessProbe": "/healthz", "startupProbe": "/healthz", "readinessProbe": "/readyz"}
STOPPED_SECONDS = 5.0  # after the grace, what still runs is killed (docs/processes.md)
MAY_BE_MISSING = {"rollout.yaml"}  # named by a setting, there only while a candidate is tried
PORTS = {"grpc": "address", "probes": "probe_address", "admin": "admin_address"}


class Manifests:
    """The manifests of an overlay, by kind and name."""

    def __init__(self, documents: list[Json]) -> None:
        self.documents = documents
        (self.deployment,) = self.of("Deployment")
        self.pod: Json = self.deployment["spec"]["template"]["spec"]
        (self.container,) = self.pod["containers"]
        self.annotations: dict[str, str] = self.deployment["spec"]["template"]["metadata"].get("annotations", {})
        self.ports: dict[str, int] = {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def of(self, kind: str) -> list[Json]:
        """Return all of a kind."""
        return [document for document in self.documents if document["kind"] == kind]

    def named(self, kind: str, name: str) -> Json:
        """Return one of a kind, {} where there is none."""
        return next((each for each in self.of(kind) if each["metadata"]["name"] == name), {})

    def environment(self) -> dict[str, str]:
        """Return what the container's environment says of settings."""
        return {each["name"]: each.get("value", "of the pod") for each in self.container.get("env", [])}

    def files(self, source: Json) -> set[str] | None:
        """Return the files that a volume brings, none for one that can be written to."""
        if "emptyDir" in source:
            return None
        if "projected" in source:
            parts = source["projected"]["sources"]
            return {item["path"] for part in parts for item in self._items(part) if item["key"] in self._keys(part)}
        return self._keys(source)

    def _items(self, part: Json) -> list[Json]:
        items: list[Json] = (part.get("secret") or part["configMap"])["items"]
        return items

    def _keys(self, source: Json) -> set[str]:
        """Return the keys of a Secret or a ConfigMap, as whatever makes it makes them."""
        if "csi" in source:
            return (
                {"tls.crt", "tls.key", "ca.crt"} if source["csi"]["driver"] == "spiffe.csi.cert-manager.io" else set()
            )
        if "secret" in source:
            name = source["secret"].get("secretName") or source["secret"]["name"]
            for each in self.of("Certificate"):
                if each["spec"]["secretName"] == name:
                    return {"tls.crt", "tls.key", "ca.crt"}
            for each in self.of("ExternalSecret"):
                if each["spec"]["target"]["name"] == name:
                    return {item["secretKey"] for item in each["spec"]["data"]}
            return set()
        name = source["configMap"]["name"]
        if bundle := self.named("Bundle", name):
            return {bundle["spec"]["target"]["configMap"]["key"]}
        return set(self.named("ConfigMap", name).get("data", {}))


def disagreements(documents: list[Json], settings: Json, files: dict[str, str], promises: Json) -> list[str]:
    """Return where manifests, settings and what is asked of Prometheus disagree.

    Args:
        documents: the manifests of an overlay.
        settings: the service's own, as it reads them with the container's environment.
        files: those settings that name one.
        promises: observability/objectives.yaml.

    """
    manifests = Manifests(documents)
    return [
        *_ports(manifests, settings),
        *_paths(manifests, files),
        *_times(manifests, settings),
        *_names(manifests, settings),
        *_numbers(manifests, settings, promises),
        *_store(manifests, settings),
        *_isolation(manifests),
    ]


def _ports(manifests: Manifests, settings: Json) -> Iterator[str]:
    for name, key in PORTS.items():
        host, _, port = settings["listen"][key].rpartition(":")
        if manifests.ports.get(name) != int(port):
            yield f"port {name}: the container has {manifests.ports.get(name)}, listen.{key} {port}"
        if host not in {"0.0.0.0", "[::]"}:  # noqa: S104  # in a pod of its own
            yield f"listen.{key} {host} is not reached from outside of the pod"
    for probe, path in PROBES.items():
        asked = manifests.container[probe]["httpGet"]
        if asked["path"] != path or asked["port"] != "probes":
            yield f"{probe} asks {asked}"
    yield from _ways_in(manifests)
    for server in manifests.of("Server"):
        if server["spec"]["port"] != manifests.ports["grpc"]:
            yield f"Server is for port {server['spec']['port']}"
    for name, ports in manifests.annotations.items():
        if "ports" in name.lower() and not {int(port) for port in ports.split(",")} <= set(manifests.ports.values()):
            yield f"{name} is {ports}"


def _ways_in(manifests: Manifests) -> Iterator[str]:
    labels = manifests.deployment["spec"]["selector"]["matchLabels"]
    for service in manifests.of("Service"):
        name = service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            if manifests.ports.get(port["targetPort"]) != port["port"]:
                yield f"port {port['name']} of Service {name} is {port['port']}"
        if service["spec"]["selector"] != labels:
            yield f"Service {name} selects other pods"
    for policy in manifests.of("NetworkPolicy"):
        if policy["spec"]["podSelector"].get("matchLabels") == labels:
            ports = [port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]]
            for port in ports:
                if isinstance(port, str) and port not in manifests.ports:
                    yield f"NetworkPolicy {policy['metadata']['name']} names the port {port}"


def _isolation(manifests: Manifests) -> Iterator[str]:
    """Yield where more than what is named may get to a pod of the namespace, or out of it."""
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    policies = {each["metadata"]["name"]: each["spec"] for each in manifests.of("NetworkPolicy")}
    if everything not in policies.values():
        yield "no network policy denies what none allows"
    for name, policy in policies.items():
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy.get(way, []):
                if not (rule.get(peers) and rule.get("ports")):
                    yield f"NetworkPolicy {name} lets {way} by to anywhere or any port"


def _paths(manifests: Manifests, named: dict[str, str]) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in manifests.pod["volumes"]}
    mounts = {PurePosixPath(mount["mountPath"]): mount for mount in manifests.container["volumeMounts"]}
    for mount in mounts.values():
        if "subPath" in mount:
            yield f"{mount['mountPath']} is mounted by subPath: no change ever gets there"
    arguments = manifests.container["args"]
    places = {"--config": arguments[arguments.index("--config") + 1], **named}
    for key, place in places.items():
        path = PurePosixPath(place)
        mount = mounts.get(path.parent)
        if mount is None:
            yield f"{key}: nothing is mounted at {path.parent}"
            continue
        files = manifests.files(volumes[mount["name"]])
        if files is None:
            if mount.get("readOnly"):
                yield f"{key}: {path.parent} cannot be written to"
        elif path.name not in files | MAY_BE_MISSING:
            yield f"{key}: {mount['name']} brings {sorted(files)}, not {path.name}"


def _times(manifests: Manifests, settings: Json) -> Iterator[str]:
    before = manifests.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    shutdown = settings["shutdown"]
    needed = before + shutdown["drain_seconds"] + shutdown["grace_seconds"]
    given = manifests.pod["terminationGracePeriodSeconds"]
    if given < needed + STOPPED_SECONDS:
        yield f"terminationGracePeriodSeconds {given}: the service may need {needed + STOPPED_SECONDS:g} s to end"
    for name, value in manifests.annotations.items():
        if name == "proxy.istio.io/config":
            (line,) = [line for line in value.splitlines() if line.startswith("terminationDrainDuration")]
            seconds = float(line.partition(": ")[2].removesuffix("s"))
        elif name.endswith("wait-before-exit-seconds"):
            seconds = float(value)
        else:
            continue
        if not needed <= seconds < given:
            yield f"{name}: the sidecar goes after {seconds:g} s, the service after {needed:g}"


def _names(manifests: Manifests, settings: Json) -> Iterator[str]:
    account, namespace = manifests.pod["serviceAccountName"], manifests.deployment["metadata"]["namespace"]
    trust_domain = settings["authentication"]["trust_domain"]
    if not manifests.named("ServiceAccount", account):
        yield f"there is no ServiceAccount {account}"
    if [each["metadata"]["name"] for each in manifests.of("Namespace")] != [namespace]:
        yield f"the Namespace is not {namespace}"
    if settings["service"]["name"] != manifests.deployment["metadata"]["name"]:
        yield f"service.name is {settings['service']['name']}"
    for each in manifests.of("Certificate"):
        for uri in each["spec"].get("uris", []):
            parts = urlsplit(uri)
            if parts.netloc != trust_domain or not parts.path.startswith(f"/ns/{namespace}/sa/"):
                yield f"Certificate {each['metadata']['name']} names {uri}"
    yield from _server_names(manifests, trust_domain)
    for issuer in settings["authentication"]["issuers"]:
        if not (issuer["jwks_url"] or "").startswith("https://"):
            yield f"the keys of {issuer['issuer']} are not fetched by HTTPS"


def _server_names(manifests: Manifests, trust_domain: str) -> Iterator[str]:
    account, namespace = manifests.pod["serviceAccountName"], manifests.deployment["metadata"]["namespace"]
    certificate = manifests.named("Certificate", "server")
    if certificate:
        if certificate["spec"]["uris"] != [f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}"]:
            yield f"the server's certificate names {certificate['spec']['uris']}"
        services = [each["metadata"]["name"] for each in manifests.of("Service")]
        called = [name for name in services if not name.endswith("-admin")]
        dns = {f"{name}{end}" for name in called for end in _endings(namespace)}
        if set(certificate["spec"]["dnsNames"]) != dns:
            yield f"the server's certificate names {certificate['spec']['dnsNames']}, Services are {services}"
    elif not any("csi" in volume for volume in manifests.pod["volumes"]):
        yield "there is no server's certificate"
    for each in manifests.of("EnvoyFilter"):
        uris = certificate["spec"]["uris"]
        if json.dumps(each).count(uris[0]) != 1 or f'"portNumber": {manifests.ports["grpc"]}' not in json.dumps(each):
            yield "the EnvoyFilter is for another workload or port"


def _endings(namespace: str) -> list[str]:
    return ["", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local"]


def _numbers(manifests: Manifests, settings: Json, promises: Json) -> Iterator[str]:
    (scaler,) = manifests.of("HorizontalPodAutoscaler")
    for metric in scaler["spec"]["metrics"]:
        if metric["type"] == "Pods":
            name, wanted = metric["pods"]["metric"]["name"], metric["pods"]["target"]["averageValue"]
            if name != "secure_rpc_calls_in_flight" or int(wanted) >= settings["load"]["max_concurrent_calls"]:
                yield f"scaled by {name} {wanted}, which load.max_concurrent_calls never lets it reach"
    for monitor in manifests.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        scraped = [each for each in manifests.of("Service") if wanted <= each["metadata"]["labels"].items()]
        (endpoint,) = monitor["spec"]["endpoints"]
        ports = [port["targetPort"] for each in scraped for port in each["spec"]["ports"]]
        if ports != ["admin"] or endpoint["port"] != "admin" or endpoint["path"] != "/metrics":
            yield f"the ServiceMonitor scrapes {endpoint['port']}{endpoint['path']} of {ports}"
        if (endpoint["scheme"] == "https") != settings["admin"]["tls"]:
            yield f"the ServiceMonitor scrapes by {endpoint['scheme']}, admin.tls is {settings['admin']['tls']}"
        certificate = manifests.named("Certificate", "server")
        if certificate and endpoint["tlsConfig"]["serverName"] not in certificate["spec"]["dnsNames"]:
            yield f"the ServiceMonitor expects {endpoint['tlsConfig']['serverName']}"
        jobs = {each["metadata"]["labels"].get(monitor["spec"].get("jobLabel")) for each in scraped}
        if jobs != {promises["job"]}:
            yield f"the job of the ServiceMonitor is {jobs}, alerts ask for {promises['job']}"
        namespaces = {urlsplit(each).path.split("/")[2] for each in settings["admin"]["allowed_workloads"]}
        if namespaces != _let_in(manifests, "admin"):
            yield f"admin.allowed_workloads are of {namespaces}, network policies let in {_let_in(manifests, 'admin')}"
    yield from _numbers_of_the_edge(manifests, promises)


def _numbers_of_the_edge(manifests: Manifests, promises: Json) -> Iterator[str]:
    for monitor in manifests.of("PodMonitor"):
        job = monitor["spec"]["selector"]["matchLabels"].get(monitor["spec"].get("jobLabel"))
        if job != promises["edge_job"]:
            yield f"the job of the PodMonitor is {job}, alerts ask for {promises['edge_job']}"


def _let_in(manifests: Manifests, port: str) -> set[str]:
    """Return the namespaces from which network policies let in to a port."""
    found = set()
    for policy in manifests.of("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            if {"port": port} in rule["ports"]:
                labels = [each["namespaceSelector"]["matchLabels"] for each in rule["from"]]
                found |= {each.get("kubernetes.io/metadata.name", "any") for each in labels}
    return found


def _store(manifests: Manifests, settings: Json) -> Iterator[str]:
    policy = manifests.named("NetworkPolicy", "to-redis")
    if (settings["state"] is None) != (not policy):
        yield "state and the network policy to-redis come together"
    elif policy:
        url = urlsplit(settings["state"]["redis_url"])
        (rule,) = policy["spec"]["egress"]
        namespace = rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        if url.scheme != "rediss" or (url.hostname or "").split(".")[1] != namespace:
            yield f"state.redis_url is {url.geturl()}, the way is open to {namespace}"
        if [port["port"] for port in rule["ports"]] != [url.port]:
            yield f"state.redis_url is {url.geturl()}, the way is open to {rule['ports']}"
