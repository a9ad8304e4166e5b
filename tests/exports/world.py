"""Callers, methods and a policy, what its engine decides, and what it becomes for Envoy; run by a service's own Python.

`prepare` writes all of it into a folder, `call` calls an Envoy that stands there.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from secure_rpc.tls import floor

floor.establish()

import grpc  # noqa: E402
from secure_rpc.call import Contract, Method, Patience, Principal  # noqa: E402
from secure_rpc.dev.authority import Authority, Request, client_request, server_request  # noqa: E402
from secure_rpc.dev.issuer import Caller, TokenIssuer  # noqa: E402
from secure_rpc.policy.conditions import Conditions  # noqa: E402
from secure_rpc.policy.document import load  # noqa: E402
from secure_rpc.policy.engine import Engine  # noqa: E402
from secure_rpc.policy.export import common, envoy, istio, linkerd  # noqa: E402
from secure_rpc.policy.export.rendering import render  # noqa: E402

Json = dict[str, Any]

SECONDS = 30.0
FIRST, SECOND = "https://issuer.example.org", "https://login.example.org/"  # the second names claims its own way
AUDIENCE = "order-service"
CLUSTER = "spiffe://example.org/ns"
TARGET = common.Target("orders", {"app": "orders"}, "shop")

CONTRACTS = {
    "/shop.v1.Orders/Get": Contract(permissions=("orders.read",)),
    "/shop.v1.Orders/List": Contract(permissions=("orders.read",)),
    "/shop.v1.Orders/Create": Contract(permissions=("orders.write",), replay_protected=True),
    "/shop.v1.Orders/Move": Contract(permissions=("orders.read", "orders.write")),
    "/shop.v1.Orders/Count": Contract(any_permissions=("orders.read", "reports.read")),
    "/shop.v1.Orders/Audit": Contract(permissions=("orders.read",), any_permissions=("reports.read", "orders.write")),
    "/shop.v1.Orders/Refund": Contract(permissions=("refunds.write",)),
    "/shop.v1.Orders/Sync": Contract(permissions=("stock.sync",)),
    "/shop.v1.Orders/Reserve": Contract(permissions=("stock.sync", "stock.write")),
    "/shop.v1.Orders/Pay": Contract(permissions=("payments.write",)),
    "/shop.v1.Orders/Archive": Contract(permissions=("archive.write",)),
    "/shop.v1.Orders/Purge": Contract(permissions=("orders.purge",)),
    "/grpc.health.v1.Health/Check": Contract(public=True),
}

POLICY = {
    "version": 1,
    "roles": {
        "reader": {"permissions": ["orders.read"]},
        "writer": {"permissions": ["orders.write"]},
        "reporter": {"permissions": ["reports.read"]},
        "manager": {"includes": ["reader", "writer"]},
        "refunder": {"permissions": ["refunds.write"]},
        "syncer": {"permissions": ["stock.sync"]},
        "stocker": {"permissions": ["stock.write"]},
        "payer": {"permissions": ["payments.write"]},
        "archivist": {"permissions": ["archive.write"]},
        "purger": {"permissions": ["orders.purge"]},
    },
    "bindings": [
        {"role": "manager", "principals": [{"issuer": FIRST, "subject": "alice"}], "tenants": "all"},
        {"role": "reader", "principals": [{"issuer": FIRST, "group": "readers"}]},
        {"role": "writer", "principals": [{"issuer": FIRST, "group": "writers"}], "tenants": ["acme"]},
        {"role": "reporter", "principals": [{"issuer": FIRST, "group": "reporters"}], "tenants": "all"},
        {
            "role": "reader",
            "principals": [
                {"issuer": SECOND, "subject": "orders"},
                {"issuer": SECOND, "group": "clerks"},
                {"issuer": FIRST, "subject": 'o\'Neil "*" größer, x/y'},
            ],
            "tenants": "all",
        },
        {
            "role": "refunder",
            "principals": [{"issuer": FIRST, "group": "reporters"}],
            "tenants": "all",
            "condition": '"globex" in principal.tenants',
        },
        {
            "role": "syncer",
            "principals": [
                {"workload": f"{CLUSTER}/stock/sa/sync"},
                {"workload": f"{CLUSTER}/*/sa/robot-*"},
                {"workload": "dns:legacy.example.org"},
                {"workload": "cn:old, but good"},
            ],
            "tenants": "all",
        },
        {"role": "stocker", "principals": [{"workload": f"{CLUSTER}/eu/sa/*"}], "tenants": "all"},
        {
            "role": "payer",
            "principals": [
                {"issuer": FIRST, "subject": "alice", "workload": f"{CLUSTER}/edge/sa/gateway"},
                {"issuer": "api-key", "subject": "till"},
            ],
            "tenants": "all",
            "expires": "2999-01-01",
        },
        {
            "role": "archivist",
            "principals": [{"issuer": FIRST, "subject": "alice"}, {"workload": f"{CLUSTER}/stock/sa/sync"}],
            "tenants": "all",
            "expires": "2020-01-01",
        },
    ],
}


class Someone(NamedTuple):
    """A caller: a certificate, and what else comes with its calls."""

    workload: str = f"{CLUSTER}/web/sa/front"
    issuer: str = ""
    subject: str = ""
    groups: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ("acme",)
    scheme: str = "Bearer"
    api_key: str = ""
    single_group: bool = False  # said as a text, not as a list

    @property
    def principal(self) -> Principal:
        """Return who the service takes it for."""
        issuer, subject = ("api-key", self.api_key) if self.api_key else (self.issuer, self.subject)
        tenants = frozenset(self.tenants if subject else ())
        return Principal(self.workload, issuer, subject, tenants, frozenset(self.groups))


SYNC, GATEWAY = f"{CLUSTER}/stock/sa/sync", f"{CLUSTER}/edge/sa/gateway"
CALLERS = {
    "a workload that nobody knows": Someone(),
    "alice": Someone(issuer=FIRST, subject="alice"),
    "alice, with the scheme in small letters": Someone(issuer=FIRST, subject="alice", scheme="bearer"),
    "alice, through the gateway": Someone(GATEWAY, issuer=FIRST, subject="alice"),
    "alice of the other issuer": Someone(GATEWAY, issuer=SECOND, subject="alice"),
    "the gateway alone": Someone(GATEWAY),
    "a reader": Someone(issuer=FIRST, subject="bob", groups=("others", "readers")),
    "a reader whose token has one group": Someone(issuer=FIRST, subject="b", groups=("readers",), single_group=True),
    "a writer": Someone(issuer=FIRST, subject="carol", groups=("writers",)),
    "a reader and writer": Someone(issuer=FIRST, subject="dan", groups=("writers", "readers")),
    "a reader and reporter": Someone(issuer=FIRST, subject="eve", groups=("reporters", "readers")),
    "a reporter of globex": Someone(issuer=FIRST, subject="fay", groups=("reporters",), tenants=("globex",)),
    "a group of the other issuer": Someone(issuer=SECOND, subject="gus", groups=("readers",)),
    "the other issuer's client": Someone(issuer=SECOND, subject="orders"),
    "the other issuer's clerk": Someone(issuer=SECOND, subject="hal", groups=("clerks",)),
    "the other issuer's client, by the first": Someone(issuer=FIRST, subject="orders"),
    "a subject with signs": Someone(issuer=FIRST, subject='o\'Neil "*" größer, x/y'),
    "a subject without them": Someone(issuer=FIRST, subject='o\'Neil "anybody" größer, x/y'),
    "the stock": Someone(SYNC),
    "a user through the stock": Someone(SYNC, issuer=FIRST, subject="ida"),
    "alice through the stock": Someone(SYNC, issuer=FIRST, subject="alice"),
    "a robot": Someone(f"{CLUSTER}/us/sa/robot-1"),
    "a robot of eu": Someone(f"{CLUSTER}/eu/sa/robot-1"),
    "a workload of eu": Someone(f"{CLUSTER}/eu/sa/web"),
    "a robot below": Someone(f"{CLUSTER}/eu/deep/sa/robot-1"),
    "a robot with more behind it": Someone(f"{CLUSTER}/eu/sa/robot-1/more"),
    "a robot of nothing": Someone(f"{CLUSTER}/eu/sa/robot-"),
    "a robot of another trust domain": Someone("spiffe://example.com/ns/eu/sa/robot-1"),
    "a name in DNS": Someone("dns:legacy.example.org"),
    "another name in DNS": Someone("dns:new.example.org"),
    "a common name": Someone("cn:old, but good"),
    "another common name": Someone("cn:old, but bad"),
    "the till": Someone(api_key="till"),
    "another API key": Someone(api_key="other"),
    "an API key through the stock": Someone(SYNC, api_key="other"),
}


def issuers(folder: Path, jwks_url: str, *, opaque: bool = False) -> list[common.TokenIssuer]:
    """Return the two issuers as the service knows them: keys of the one in a file, of the other by HTTPS."""
    first = folder / "first.json"
    return [
        common.TokenIssuer(FIRST, (AUDIENCE,), jwks_file=str(first), jwks=first.read_text(), opaque_tokens=opaque),
        common.TokenIssuer(
            SECOND,
            ("elsewhere", AUDIENCE),
            jwks_url=jwks_url,
            subject_claim="client_id",
            groups_claim="realm_access.roles",
            ca_file=str(folder / "ca.pem"),
        ),
    ]


def credentials(folder: Path) -> None:
    """Write certificates of all workloads, keys of issuers, and a token for each caller who has one."""
    authority = Authority.create("a CA")
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    authority.issue(server_request("localhost", "example.org")).write(folder / "server.pem", folder / "server.key")
    for number, workload in enumerate(sorted({someone.workload for someone in CALLERS.values()})):
        kind, _, name = workload.partition(":")
        asked = {
            "spiffe": client_request("client", "example.org"),
            "dns": Request("client", dns_names=[name]),
            "cn": Request(name),
        }[kind]
        if kind == "spiffe":
            asked = Request("client", uris=[workload])
        authority.issue(asked).write(folder / f"{number}.pem", folder / f"{number}.key")
    signers = {name: TokenIssuer(name, AUDIENCE) for name in (FIRST, SECOND)}
    for name, file in ((FIRST, "first"), (SECOND, "second")):
        signers[name].save(folder / f"{file}.key", folder / f"{file}.json")
    tokens = {name: token(signers[each.issuer], each) for name, each in CALLERS.items() if each.issuer}
    other = TokenIssuer(FIRST, AUDIENCE)
    tokens["forged"] = token(other, CALLERS["alice"])
    tokens["for another"] = token(signers[FIRST], CALLERS["alice"], aud="stock")
    tokens["old"] = token(signers[FIRST], CALLERS["alice"], exp=int(time.time()) - 3600)
    (folder / "tokens.json").write_text(json.dumps(tokens))


def token(signer: TokenIssuer, who: Someone, **claims: object) -> str:
    """Return a token; the second issuer's says the same in its own words."""
    groups = who.groups[0] if who.single_group else list(who.groups)
    if signer.issuer == SECOND:
        caller = Caller(subject="somebody", tenants=who.tenants, groups=())
        return signer.token(caller, client_id=who.subject, realm_access={"roles": groups}, groups=["readers"], **claims)
    caller = Caller(subject=who.subject, tenants=who.tenants, groups=())
    return signer.token(caller, groups=groups, **claims)


def prepare(folder: Path, jwks_url: str) -> Json:
    """Write the world, and return what the engine decides, what is exported, and what that does not say."""
    credentials(folder)
    (folder / "policy.yaml").write_text(json.dumps(POLICY))  # JSON is YAML
    document = load(folder / "policy.yaml")
    methods = [Method(path, Patience(1), contract=contract) for path, contract in CONTRACTS.items()]
    engine = Engine.of(document, Conditions(methods))
    decided = {
        name: {
            method.path: method.contract.public or engine.decide(someone.principal, method).allowed
            for method in methods
        }
        for name, someone in CALLERS.items()
    }
    made: Json = {"decided": decided, "lost": {}}
    for name, opaque in (("envoy", False), ("opaque", True)):
        access = common.access_of(
            document, CONTRACTS, issuers(folder, jwks_url, opaque=opaque), now_seconds=time.time(), api_keys=True
        )
        export = envoy.export(access)
        (folder / f"{name}.yaml").write_text(render(export, access, "policy.yaml"))
        made["lost"][name] = [str(item) for item in export.inexpressible]
    for name, opaque in (("istio", False), ("istio-opaque", True)):
        access = common.access_of(
            document, CONTRACTS, issuers(folder, jwks_url, opaque=opaque), now_seconds=time.time(), api_keys=True
        )
        (folder / f"{name}.yaml").write_text(render(istio.export(access, TARGET), access, "policy.yaml"))
    (folder / "linkerd.yaml").write_text(render(linkerd.export(access, TARGET), access, "policy.yaml"))
    return made


async def call(folder: Path, port: int, jobs: list[list[str]]) -> list[str]:
    """Make calls, and return how each ended; a job is a caller, a method, and a header to send in place of its own."""
    certificates = sorted({someone.workload for someone in CALLERS.values()})
    tokens = json.loads((folder / "tokens.json").read_text())
    channels: dict[int, grpc.aio.Channel] = {}
    answers = []
    for name, method, authorization in jobs:
        someone = CALLERS[name]
        number = certificates.index(someone.workload)
        if number not in channels:
            files = [folder / "ca.pem", folder / f"{number}.key", folder / f"{number}.pem"]
            shown = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
            channels[number] = grpc.aio.secure_channel(f"localhost:{port}", shown)
        metadata = [("x-api-key", someone.api_key)] if someone.api_key else []
        if authorization:
            metadata.append(("authorization", authorization.format(**tokens)))
        elif name in tokens:
            metadata.append(("authorization", f"{someone.scheme} {tokens[name]}"))
        answers.append(await answer(channels[number], method, metadata))
    for channel in channels.values():
        await channel.close()
    return answers


async def answer(channel: grpc.aio.Channel, method: str, metadata: list[tuple[str, str]]) -> str:
    """Return how a call ended; one that Envoy let through has come to its stand-in for the service."""
    ask: Any = channel.unary_unary(method)
    try:
        await ask(b"", metadata=metadata, timeout=SECONDS, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        return "passed" if error.details() == "passed" else error.code().name
    return "OK"


def main() -> None:
    """Do what standard input says, and print the answer."""
    job = json.load(sys.stdin)
    folder = Path(job["folder"])
    if job["do"] == "prepare":
        print(json.dumps(prepare(folder, job["jwks_url"])))
    else:
        print(json.dumps(asyncio.run(call(folder, job["port"], job["jobs"]))))


if __name__ == "__main__":
    main()
