"""Clients that are not ours call a running service, each kind of method, allowed and refused."""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests import npm
from tests.foreign.buf import Buf
from tests.foreign.clients import Call, Connection, Place
from tests.foreign.node import PROGRAM, Node
from tests.foreign.running import Running
from tests.lacking import needs
from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Make
    from tests.foreign.clients import Answer, Client, Json

pytestmark = pytest.mark.slow

SERVICE = "order_service.v1.OrderService"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
BULK_CALLS, BULK_SECONDS = 10, 60  # longer than a development machine's second: no test is to depend on its pace
GZIP = Connection(options={"grpc.default_compression_algorithm": 2})


@pytest.fixture(scope="module")
def running(template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Iterator[Running]:
    """Return a service that was generated, set up, and started by its command; it ends well at the end."""
    folder = bake(tmp_path_factory.mktemp("running"), {}, template)
    made = make(folder, "setup", "build/image.binpb")
    assert made.returncode == 0, made.stdout
    started = Running(folder, "order-service", {"SECURE_RPC_QUOTAS__BULK__PERIOD_SECONDS": str(BULK_SECONDS)})
    try:
        yield started
    finally:
        code = started.stop()
    assert code == 0
    assert ": whole, " in started.run("audit", "verify")


@pytest.fixture(scope="module")
def tokens(running: Running) -> dict[str, str]:
    """Return what each caller's metadata begin with: alice administers, bob reads in acme, carol writes in globex."""
    return {name: f"Bearer {running.run('token', 'new', name)}" for name in ("alice", "bob", "carol")}


@pytest.fixture(scope="module")
def place(running: Running) -> Place:
    return Place(SERVICE, running.port, running.folder)


@pytest.fixture(scope="module")
def buf(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Buf:
    return Buf(place, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def node(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Return the client in Node, its packages installed as the lock has them."""
    needs("node", "npm", without="no client in Node calls the service")
    return Node(place, tmp_path_factory.mktemp("home"), npm.installed(PROGRAM, ROOT / "build" / "foreign"))


@pytest.fixture(params=["buf", "node"])
def client(request: pytest.FixtureRequest) -> Client:
    made: Client = request.getfixturevalue(request.param)
    return made


def proof() -> dict[str, str]:
    """Return what a call that must not be made twice carries."""
    return {"request-nonce": secrets.token_urlsafe(16), "request-time": f"{time.time():.3f}"}


def order(tenant: str, **fields: str) -> Json:
    return {"tenant": tenant, **fields}


def create(token: str, tenant: str, title: str) -> Call:
    return Call("CreateOrder", (order(tenant, title=title),), {"authorization": token, **proof()})


def created(answer: Answer) -> Json:
    """Return the order that a call has made."""
    assert answer.code == "OK", answer
    (response,) = answer.responses
    made: Json = response["order"]
    return made


# --- what is allowed ---------------------------------------------------------------------------------------


def test_what_one_call_makes_another_gets(client: Client, tokens: dict[str, str]) -> None:
    made = created(client(create(tokens["alice"], "acme", "tea, größer, 注文")))
    assert (made["tenant"], made["title"]) == ("acme", "tea, größer, 注文")
    got = client(Call("GetOrder", (order("acme", id=made["id"]),), {"authorization": tokens["bob"]}))
    assert (got.code, got.responses) == ("OK", [{"order": made}])


def test_a_watcher_sees_what_there_is_and_then_what_is_new(client: Client, tokens: dict[str, str]) -> None:
    tenant = f"watched-by-{type(client).__name__}"
    alice = {"authorization": tokens["alice"]}
    before = created(client(create(tokens["alice"], tenant, "before")))
    with closing(client.watch(Call("WatchOrders", (order(tenant),), alice))) as responses:
        assert next(responses) == {"order": before, "sequence": "1"}
        after = created(client(create(tokens["alice"], tenant, "after")))
        assert next(responses) == {"order": after, "sequence": "2"}


def test_many_are_taken_in_one_stream_and_answered_in_another(client: Client, tokens: dict[str, str]) -> None:
    tenant = f"filled-by-{type(client).__name__}"
    alice = {"authorization": tokens["alice"]}
    first = created(client(create(tokens["alice"], tenant, "first")))
    many = tuple(order(tenant, title=title) for title in ("milk", "bread"))
    taken = client(Call("ImportOrders", many, alice))
    assert (taken.code, taken.responses) == ("OK", [{"imported": "2"}])
    names = [str(int(first["id"]) + step) for step in range(3)]
    answered = client(Call("SyncOrders", tuple(order(tenant, id=name) for name in (*names, "none")), alice))
    assert answered.code == "OK"
    assert [response["id"] for response in answered.responses] == [*names, "none"]
    titles = [response.get("order", {}).get("title") for response in answered.responses]
    assert titles == ["first", "milk", "bread", None]


def test_a_compressed_request_is_read(node: Node, tokens: dict[str, str]) -> None:
    title = "tea " * 50
    assert created(node(create(tokens["alice"], "acme", title), GZIP))["title"] == title


# --- what is refused ---------------------------------------------------------------------------------------

ONE = (order("acme", id="1"),)
TEA = (order("acme", title="tea"),)
VIOLATION = {
    "google.rpc.BadRequest": {"fieldViolations": [{"field": "id", "description": "must be at least 1 characters"}]}
}
# who calls, the call; status, message, reason, further details
REFUSED: dict[str, tuple[str, Call, str, str, str, dict[str, Json]]] = {
    "without a token": (
        "", Call("GetOrder", ONE),
        "UNAUTHENTICATED", "a token is required", "TOKEN_MISSING", {},
    ),
    "with a token that is none": (
        "", Call("GetOrder", ONE, {"authorization": "Bearer open-sesame"}),
        "UNAUTHENTICATED", "the token is not accepted", "TOKEN_MALFORMED", {},
    ),
    "with a password": (
        "", Call("GetOrder", ONE, {"authorization": "Basic YWxpY2U6YWxpY2U="}),
        "UNAUTHENTICATED", 'send "authorization: Bearer <token>"', "TOKEN_SCHEME_UNKNOWN", {},
    ),
    "without the permission": (
        "bob", Call("CreateOrder", TEA),
        "PERMISSION_DENIED", "permission denied", "PERMISSION_MISSING", {},
    ),
    "a stream, without the permission": (
        "bob", Call("ImportOrders", TEA * 3),
        "PERMISSION_DENIED", "permission denied", "PERMISSION_MISSING", {},
    ),
    "another tenant's": (
        "bob", Call("GetOrder", (order("globex", id="1"),)),
        "PERMISSION_DENIED", "the tenant is not yours", "TENANT_DENIED", {},
    ),
    "to watch another tenant": (
        "carol", Call("WatchOrders", (order("acme"),)),
        "PERMISSION_DENIED", "the tenant is not yours", "TENANT_DENIED", {},
    ),
    "of nobody": (
        "alice", Call("GetOrder", ({"id": "1"},)),
        "INVALID_ARGUMENT", "the tenant is missing", "TENANT_MISSING",
        {"google.rpc.BadRequest": {"fieldViolations": [{"field": "tenant", "description": "name the tenant"}]}},
    ),
    "against a rule of the proto": (
        "alice", Call("GetOrder", (order("acme"),)),
        "INVALID_ARGUMENT", "1 rule(s) broken, first: id: must be at least 1 characters", "REQUEST_INVALID", VIOLATION,
    ),
    "without nonce and time": (
        "alice", Call("CreateOrder", TEA),
        "INVALID_ARGUMENT", "send request-nonce (16 to 64 of A-Z a-z 0-9 _ -) and request-time (Unix seconds)",
        "REPLAY_PROOF_MISSING", {},
    ),
    "with a time long past": (
        "alice", Call("CreateOrder", TEA, {**proof(), "request-time": "1000000000"}),
        "FAILED_PRECONDITION", "the call was stamped 300 s from now, or more", "REPLAY_PROOF_STALE", {},
    ),
    "what there is not": (
        "alice", Call("GetOrder", (order("acme", id="größe"),)),
        "NOT_FOUND", "there is none of that id", "NOT_FOUND", {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_says_why(client: Client, running: Running, tokens: dict[str, str], case: str) -> None:
    caller, call, code, message, reason, details = REFUSED[case]
    if caller:
        call = replace(call, metadata={"authorization": tokens[caller], **call.metadata})
    answer = client(call)
    assert (answer.code, answer.message, answer.reason, answer.responses) == (code, message, reason, [])
    info = answer.details["google.rpc.ErrorInfo"]
    assert info["domain"] == "order-service"
    assert info.get("metadata") == ({"id": "größe"} if code == "NOT_FOUND" else None)
    assert answer.details == {"google.rpc.ErrorInfo": info, **details}
    if answer.correlation_id is not None:
        assert answer.correlation_id
        logged = running.line(call_id=answer.correlation_id)
        assert (logged["code"], logged["reason"], logged["principal"]) == (code, reason, caller)


def test_a_replayed_call_is_refused(client: Client, tokens: dict[str, str]) -> None:
    call = create(tokens["alice"], "acme", "tea")
    created(client(call))
    answer = client(call)
    assert (answer.code, answer.message, answer.reason) == ("ALREADY_EXISTS", "this call was made before", "REPLAYED")


def test_a_call_of_one_client_cannot_be_replayed_by_another(buf: Buf, node: Node, tokens: dict[str, str]) -> None:
    call = create(tokens["alice"], "acme", "tea")
    created(buf(call))
    assert node(call).reason == "REPLAYED"


def test_a_stream_with_one_bad_message_leaves_nothing(client: Client, tokens: dict[str, str]) -> None:
    tenant = f"spared-by-{type(client).__name__}"
    alice = {"authorization": tokens["alice"]}
    answer = client(Call("ImportOrders", (order(tenant, title="milk"), order(tenant, title="x" * 201)), alice))
    assert (answer.code, answer.reason, answer.responses) == ("INVALID_ARGUMENT", "REQUEST_INVALID", [])
    (violation,) = answer.details["google.rpc.BadRequest"]["fieldViolations"]
    assert violation == {"field": "title", "description": "must be at most 200 characters"}
    made = created(client(create(tokens["alice"], tenant, "bread")))
    with closing(client.watch(Call("WatchOrders", (order(tenant),), alice))) as responses:
        assert next(responses) == {"order": made, "sequence": "1"}


def test_a_stream_ends_where_it_touches_another_tenant(client: Client, tokens: dict[str, str]) -> None:
    requests = order("acme", id="none"), order("globex", id="none"), order("acme", id="none")
    answer = client(Call("SyncOrders", requests, {"authorization": tokens["bob"]}))
    assert (answer.code, answer.reason) == ("PERMISSION_DENIED", "TENANT_DENIED")
    assert answer.responses == [{"id": "none"}]


def test_a_stream_is_refused_before_it_ends(node: Node, tokens: dict[str, str]) -> None:
    answer = node(Call("ImportOrders", TEA, {"authorization": tokens["bob"]}, left_open=True))
    assert (answer.code, answer.reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING")


def test_what_is_no_request_is_refused(node: Node, tokens: dict[str, str]) -> None:
    answer = node(Call("GetOrder", metadata={"authorization": tokens["alice"]}, raw="\x0a\x7fcut"))
    assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "REQUEST_MALFORMED")


@pytest.mark.parametrize(("caller", "code"), [("alice", "UNIMPLEMENTED"), ("", "UNAUTHENTICATED")])
def test_a_stranger_does_not_learn_which_methods_there_are(
    node: Node, tokens: dict[str, str], caller: str, code: str
) -> None:
    metadata = {"authorization": tokens[caller]} if caller else {}
    assert node(Call("DropOrders", metadata=metadata, raw="")).code == code


def test_who_has_used_the_quota_up_learns_when_to_come_again(node: Node, tokens: dict[str, str]) -> None:
    call = Call("ImportOrders", (order("globex", title="tea"),), {"authorization": tokens["carol"]})
    answers = node.all(*[call] * (BULK_CALLS + 1))
    assert [answer.code for answer in answers] == ["OK"] * BULK_CALLS + ["RESOURCE_EXHAUSTED"]
    refused = answers[-1]
    allowed = f"{BULK_CALLS} calls in {BULK_SECONDS} s"
    assert (refused.message, refused.reason) == (f"the quota is used up: {allowed}", "QUOTA_EXHAUSTED")
    violation = {"subject": "quota-class:bulk", "description": allowed}
    assert refused.details["google.rpc.QuotaFailure"] == {"violations": [violation]}
    delay = refused.details["google.rpc.RetryInfo"]["retryDelay"]
    assert 0 < int(delay.get("seconds", 0)) + delay.get("nanos", 0) / 1e9 <= BULK_SECONDS / BULK_CALLS


# --- who gets a connection, and the schema -----------------------------------------------------------------


@pytest.fixture
def unseen(running: Running, buf: Buf, tokens: dict[str, str]) -> Iterator[None]:
    """See to it that no call of the test gets to the service."""

    def mark() -> int:
        name = f"mark-{secrets.token_hex(8)}"
        call = Call("GetOrder", (order(name, id="1"),), {"authorization": tokens["bob"]})
        assert buf(call).reason == "TENANT_DENIED"
        running.line(event="call", tenant=name)
        return len(running.calls())

    before = mark()
    yield
    assert mark() == before + 1


@pytest.mark.usefixtures("unseen")
def test_without_a_certificate_there_is_no_connection(client: Client, tokens: dict[str, str]) -> None:
    answer = client(Call("GetOrder", ONE, {"authorization": tokens["alice"]}), Connection(certificate=False))
    # a client of TLS 1.3 learns only after the handshake that it was refused: Go may be writing already
    assert (answer.code in {"UNAVAILABLE", "CANCELLED"}, answer.details, answer.responses) == (True, {}, [])


@pytest.mark.usefixtures("unseen")
def test_with_tls_1_2_there_is_no_connection(node: Node, tokens: dict[str, str]) -> None:
    answer = node(Call("GetOrder", ONE, {"authorization": tokens["alice"]}), Connection(newest_tls="TLSv1.2"))
    assert (answer.code, answer.details, answer.responses) == ("UNAVAILABLE", {}, [])
    assert answer.message.startswith("No connection established")


def test_reflection_gives_the_schema_to_who_may_have_it(buf: Buf, tokens: dict[str, str]) -> None:
    alice = {"authorization": tokens["alice"]}
    offered = {f"{SERVICE}/{name}" for name in ("CreateOrder", "GetOrder", "ImportOrders", "SyncOrders", "WatchOrders")}
    assert offered <= set(buf.methods(alice))
    made = created(buf(create(tokens["alice"], "acme", "tea"), reflection=True))
    got = buf(Call("GetOrder", (order("acme", id=made["id"]),), alice), reflection=True)
    assert got.responses == [{"order": made}]


def test_reflection_is_refused_to_who_may_not_have_it(buf: Buf, running: Running, tokens: dict[str, str]) -> None:
    answer = buf(Call("GetOrder", ONE, {"authorization": tokens["bob"]}), reflection=True)
    assert (answer.code, answer.responses) == ("", [])
    assert "failed to find service" in answer.message
    refused = running.line(event="call", method=REFLECTION, code="PERMISSION_DENIED")
    assert (refused["principal"], refused["reason"]) == ("bob", "PERMISSION_MISSING")
