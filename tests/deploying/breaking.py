"""What may come apart of manifests, settings and the files that these name; and the words by which it is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.deploying.agreement import Manifests

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.deploying.tools import Json


def container(documents: list[Json]) -> Json:
    found: Json = Manifests(documents).container
    return found


def the(documents: list[Json], kind: str, name: str = "order-service") -> Json:
    spec: Json = Manifests(documents).named(kind, name)["spec"]
    return spec


# of manifests, settings and their files; then the words by which it is noticed
BROKEN: dict[str, tuple[str, Callable[[list[Json], Json, dict[str, str]], Any], str]] = {
    "grpc port": ("prod", lambda _d, s, _f: s["listen"].update(address="0.0.0.0:50052"), "listen.address 50052"),
    "probe port": ("prod", lambda d, _s, _f: container(d)["ports"][1].update(containerPort=8081), "port probes"),
    "admin port": ("prod", lambda _d, s, _f: s["listen"].update(admin_address="127.0.0.1:9464"), "not reached"),
    "probe": ("prod", lambda d, _s, _f: container(d)["readinessProbe"]["httpGet"].update(path="/ready"), "/ready"),
    "service port": ("prod", lambda d, _s, _f: the(d, "Service")["ports"][0].update(port=443), "is 443"),
    "other pods": ("prod", lambda d, _s, _f: the(d, "Service")["selector"].update(app="x"), "selects other pods"),
    "open port": (
        "prod",
        lambda d, _s, _f: the(d, "NetworkPolicy")["ingress"][0]["ports"][0].update(port="rpc"),
        "names the port rpc",
    ),
    "no default": (
        "prod",
        lambda d, _s, _f: d.remove(next(each for each in d if each["metadata"]["name"] == "default-deny")),
        "denies what none allows",
    ),
    "open to all": (
        "prod",
        lambda d, _s, _f: the(d, "NetworkPolicy")["ingress"][0].pop("from"),
        "lets ingress by to anywhere",
    ),
    "policy path": (
        "prod",
        lambda _d, _s, f: f.update({"authorization.policy_file": "/etc/order-service/policy.yaml"}),
        "authorization.policy_file: nothing is mounted at /etc/order-service",
    ),
    "config path": (
        "prod",
        lambda d, _s, _f: container(d)["args"].__setitem__(2, "/etc/order-service/settings/prod.yaml"),
        "not prod.yaml",
    ),
    "subPath": ("prod", lambda d, _s, _f: container(d)["volumeMounts"][1].update(subPath="x"), "by subPath"),
    "audit": ("prod", lambda d, _s, _f: [m.update(readOnly=True) for m in container(d)["volumeMounts"]], "be written"),
    "key of a secret": (
        "prod",
        lambda d, _s, _f: the(d, "ExternalSecret", "redis")["data"][0].update(secretKey="pass"),
        "state.password_file: redis brings ['ca.crt', 'pass'], not password",
    ),
    "key of a bundle": (
        "prod",
        lambda d, _s, _f: the(d, "Bundle", "client-ca")["target"]["configMap"].update(key="ca.pem"),
        "tls.client_ca_file: tls brings ['tls.crt', 'tls.key'], not ca.crt",
    ),
    "secret of the certificate": (
        "prod",
        lambda d, _s, _f: the(d, "Certificate", "server").update(secretName="tls"),
        "tls.key_file: tls brings ['ca.crt'], not tls.key",
    ),
    "grace": ("prod", lambda _d, s, _f: s["shutdown"].update(grace_seconds=30.0), "may need 45 s"),
    "sidecar of istio": ("istio", lambda _d, s, _f: s["shutdown"].update(grace_seconds=26.0), "sidecar goes after 35"),
    "proxy of linkerd": (
        "linkerd",
        lambda _d, s, _f: s["shutdown"].update(grace_seconds=26.0),
        "sidecar goes after 35",
    ),
    "port of linkerd": ("linkerd", lambda d, _s, _f: the(d, "Server").update(port=50052), "Server is for port 50052"),
    "port that passes": (
        "istio-passthrough",
        lambda d, _s, _f: (
            Manifests(d)
            .deployment["spec"]["template"]["metadata"]["annotations"]
            .update({"traffic.sidecar.istio.io/excludeInboundPorts": "50052,9464"})
        ),
        "excludeInboundPorts is 50052,9464",
    ),
    "port of the filter": (
        "istio",
        lambda d, _s, _f: the(d, "EnvoyFilter")["configPatches"][0]["match"]["cluster"].update(portNumber=1),
        "EnvoyFilter is for another",
    ),
    "account": ("prod", lambda d, _s, _f: Manifests(d).pod.update(serviceAccountName="default"), "no ServiceAccount"),
    "trust domain": ("prod", lambda _d, s, _f: s["authentication"].update(trust_domain="other.org"), "names spiffe"),
    "namespace": ("prod", lambda d, _s, _f: Manifests(d).of("Namespace")[0]["metadata"].update(name="x"), "Namespace"),
    "name": ("prod", lambda _d, s, _f: s["service"].update(name="orders"), "service.name is orders"),
    "DNS": ("prod", lambda d, _s, _f: the(d, "Certificate", "server")["dnsNames"].pop(), "certificate names"),
    "keys of issuers": (
        "prod",
        lambda _d, s, _f: s["authentication"]["issuers"][0].update(jwks_url=None),
        "not fetched by HTTPS",
    ),
    "scaling": ("prod", lambda _d, s, _f: s["load"].update(max_concurrent_calls=200), "never lets it reach"),
    "scraped port": ("prod", lambda d, _s, _f: the(d, "ServiceMonitor")["endpoints"][0].update(port="x"), "scrapes x"),
    "scraped in plaintext": ("prod", lambda _d, s, _f: s["admin"].update(tls=False), "admin.tls is False"),
    "job": ("prod", lambda d, _s, _f: the(d, "ServiceMonitor").pop("jobLabel"), "the job of the ServiceMonitor"),
    "job of the edge": (
        "prod",
        lambda d, _s, _f: the(d, "PodMonitor", "order-service-edge").pop("jobLabel"),
        "the job of the PodMonitor is None",
    ),
    "who scrapes": (
        "prod",
        lambda _d, s, _f: s["admin"].update(allowed_workloads=["spiffe://example.org/ns/ops/sa/prometheus"]),
        "are of {'ops'}",
    ),
    "expected of the server": (
        "prod",
        lambda d, _s, _f: the(d, "ServiceMonitor")["endpoints"][0]["tlsConfig"].update(serverName="x"),
        "expects x",
    ),
    "store": ("prod", lambda _d, s, _f: s["state"].update(redis_url="rediss://redis.redis.svc:6380"), "way is open to"),
    "no store": ("prod", lambda _d, s, _f: s.update(state=None), "come together"),
}
