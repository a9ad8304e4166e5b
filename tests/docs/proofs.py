"""What shows that each block of code in the documentation is right.

A page of this repository says it itself, by a comment above the block; the pages of a generated service, which carry no
such comments, have a row here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.docs_site.markdown import Block, Prose, parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LANGUAGES = {"sh", "console", "python", "yaml", "proto", "promql", "toml", "json"}
MARK = re.compile(r"^<!-- (tested|illustration|same as): (.+?) -->$")
# folders whose pages a test follows from the first block to the last
WHOLE = {"docs/tutorial": "tests/test_tutorial.py", "docs/guides": "tests/test_guides.py"}
QUOTES = "tests/integration/{{cookiecutter.package_name}}/test_docs.py"  # of the service: pages against docs/examples

FEDERATION = "tests/integration/{{cookiecutter.package_name}}/test_federation.py"


@dataclass(frozen=True, slots=True)
class Proof:
    """Why a block is right.

    Attributes:
        kind: `tested` by a test that reads the page, or has words of the block; `same as` a file that runs, or lines of
            it; `commands`, `settings`, `policy`, `cases`, `rollout`, `deny-list`: read here by the code that does so in
            a service; `run`: run here, in a service; `illustration`: not proved, with a reason.
        said: the test, with `::` and the words that it has where it does not read the page; the file; or the reason.

    """

    kind: str
    said: str = ""


# page of the service, a word of the block, its proof
SERVICE: tuple[tuple[str, str, Proof], ...] = (
    ("adding-a-stage", "stages = [", Proof("illustration", "the list of app.py, cut down to the line that is added")),
    ("audit", "openssl genpkey", Proof("run")),
    ("audit", "audit verify", Proof("tested", QUOTES)),
    ("audit", "audit show", Proof("tested", QUOTES)),
    ("audit", "audit prove", Proof("tested", QUOTES)),
    ("audit", "audit export", Proof("tested", QUOTES)),
    ("browser", "make browser", Proof("commands")),
    ("calling", "make call", Proof("commands")),
    ("calling", "connect(\n", Proof("tested", QUOTES)),
    ("calling", "async with changes", Proof("tested", QUOTES)),
    ("calling", "buf curl", Proof("tested", "tests/foreign/buf.py::curl")),
    ("certificates", "pki status", Proof("run")),
    ("certificates", "pki rotate-ca", Proof("run")),
    ("certificates", "revoked:", Proof("deny-list")),
    ("certificates", "pki revoke --spiffe-id", Proof("run")),
    ("certificates", "--shared", Proof("commands")),
    (
        "chain",
        "current_call()",
        Proof("illustration", "one line of a handler"),
    ),
    ("ci", "cosign verify", Proof("illustration", "needs a registry with a release of yours, and its signature")),
    ("doctor", "waived:", Proof("tested", QUOTES)),
    ("drills", "drill list", Proof("commands")),
    ("drills", "drill run store-outage", Proof("commands")),
    ("edge", "make edge ", Proof("commands")),
    ("edge", "curl", Proof("tested", "tests/test_edge_run.py")),
    ("edge", "edge build", Proof("run")),
    (
        "edge",
        "exchange: {",
        Proof("illustration", "a line of values.yaml; test_edge_exchange.py has the same"),
    ),
    ("edge", "credentials: [certificate, both]", Proof("illustration", "names files that only a cluster has")),
    ("edge", "audit show", Proof("commands")),
    ("edge", "kustomize edit", Proof("illustration", "needs a registry and a cluster")),
    ("edge", "nginx -p", Proof("tested", "tests/test_edge_nginx.py::nginx")),
    ("federation", "federated_trust_domains", Proof("settings")),
    ("federation", "bindings:", Proof("policy")),
    (
        "federation",
        "make federation",
        Proof("tested", FEDERATION),
    ),
    ("identity", "federated_trust_domains", Proof("settings")),
    ("identity", "token inspect", Proof("run")),
    ("identity", "apikey new", Proof("commands")),
    ("integrity", "rpc Pay", Proof("illustration", "an rpc of another service; tests/proto has signed ones")),
    ("integrity", "connect(target", Proof("illustration", "two arguments of `connect`, which docs/calling.md lists")),
    ("integrity", "public_key:", Proof("illustration", "the keys are left out")),
    ("integrity", "card_number", Proof("illustration", "a field of another service; tests/proto has such fields")),
    ("load-testing", "make load", Proof("commands")),
    ("load-testing", "load --target", Proof("commands")),
    ("load-testing", "GetOrder:", Proof("illustration", "a line of a file of yours, for the command below it")),
    ("policy", "option (secure_rpc.v1.access)", Proof("illustration", "the example's own rpc, whose file is linked")),
    ("policy", "bindings:", Proof("policy")),
    ("policy", "condition:", Proof("policy")),
    ("policy", "quotas:", Proof("policy")),
    ("policy", "percent:", Proof("rollout")),
    ("policy", "cases:", Proof("cases")),
    ("policy", "$ ", Proof("tested", "tests/test_guides.py")),
    ("processes", "make life", Proof("illustration", "what one run printed; test_rotation_drill.py runs it")),
    ("processes", "admin_address", Proof("settings")),
    ("quotas", "quotas:", Proof("settings")),
    (
        "replay",
        "new_idempotency_key",
        Proof("illustration", "two lines of a client; test_idempotency.py has such calls"),
    ),
    ("scenarios", "", Proof("tested", "tests/scenarios/test_page.py")),
    ("slo", "avg_over_time", Proof("illustration", "a question for 30 days of a real service")),
    ("slo", "promtool", Proof("tested", "tests/test_observability.py::promtool")),
    ("state", "embedded: true", Proof("settings")),
    ("streams", "async def watch", Proof("tested", QUOTES)),
    ("streams", "kept_call", Proof("illustration", "three lines of a client; test_kept_call.py holds such calls")),
)


def marked(page: Path) -> Iterator[tuple[Block, Proof | None]]:
    """Yield each block of a page that is code, with the proof that a comment right above it names."""
    before = ""
    for _, part in parts(page.read_text(encoding="utf-8")):
        if isinstance(part, Prose):
            filled = [line for line in part.lines if line.strip()]
            before = filled[-1].strip() if filled else ""
        elif part.language in LANGUAGES:
            mark = MARK.match(before)
            yield part, Proof(*mark.groups()) if mark else None
            before = ""
