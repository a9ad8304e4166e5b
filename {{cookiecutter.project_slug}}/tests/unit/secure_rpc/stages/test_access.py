"""Who is not authenticated is not authorized, by whatever transport it came and whatever order the chain has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.principal import Credential, Identities
from secure_rpc.identity.tokens import TokenVerifier
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.document import load
from secure_rpc.stages.authentication import Authentication
from secure_rpc.stages.authorization import Authorization

from support.policies import active

MakeCall: TypeAlias = Callable[..., Call]
MakeMethod: TypeAlias = Callable[..., Method]


@pytest.fixture
def engine(tmp_path: Path) -> ActivePolicy:
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\nroles:\n  reader: {permissions: [things.read]}\n", encoding="utf-8")
    return active(load(file))


@pytest.fixture(scope="module")
def tls() -> dict[str, list[bytes]]:
    pem = Authority.create("test CA").issue(Request("a", uris=["spiffe://example.org/a"])).certificate_pem
    return {"x509_pem_cert": [pem], "ssl_tls_version": [b"TLSv1.3"]}


def authentication(*, tls_1_3_only: bool = True) -> Authentication:
    reader = certificate_reader("example.org")
    identities = Identities(reader, TokenVerifier(()), None, {Credential.CERTIFICATE})
    return Authentication(identities, tls_1_3_only=tls_1_3_only)


async def reason(middleware: Any, call: Call) -> str:
    async def proceed(_call: Call) -> None:
        pass

    try:
        await middleware(call, proceed)
    except errors.StatusError as error:
        return error.reason
    return ""


async def test_without_a_principal_nobody_is_authorized(
    engine: ActivePolicy, method: MakeMethod, call: MakeCall
) -> None:
    middleware = Authorization(engine).bind(method(permissions=("things.read",)))
    assert await reason(middleware, call()) == "IDENTITY_MISSING"


def test_only_public_methods_and_those_that_do_not_exist_go_without_authorization(
    engine: ActivePolicy, method: MakeMethod
) -> None:
    stage = Authorization(engine)
    assert stage.bind(method(public=True)) is None
    assert stage.bind(method("")) is None
    assert stage.bind(method()) is not None


@pytest.mark.parametrize("version", [b"TLSv1.2", b"", b"TLSv1.3x"])
@pytest.mark.parametrize("public", [True, False])
async def test_an_older_tls_is_refused_whatever_the_transport_let_in(
    method: MakeMethod, call: MakeCall, tls: dict[str, list[bytes]], version: bytes, *, public: bool
) -> None:
    old = call(tls={**tls, "ssl_tls_version": [version]})
    assert await reason(authentication().bind(method(public=public)), old) == "TLS_VERSION_REFUSED"
    assert await reason(authentication(tls_1_3_only=False).bind(method(public=public)), old) == ""


async def test_a_public_method_asks_for_a_sound_certificate_and_makes_no_principal(
    method: MakeMethod, call: MakeCall, tls: dict[str, list[bytes]]
) -> None:
    middleware = authentication().bind(method(public=True))
    made = call(tls=tls)
    assert await reason(middleware, made) == ""
    assert made.principal is None
    assert await reason(middleware, call(tls={"ssl_tls_version": [b"TLSv1.3"]})) == "CERTIFICATE_MISSING"


async def test_a_methods_caller_is_known_to_the_audit_also_where_it_is_refused(
    method: MakeMethod, call: MakeCall, tls: dict[str, list[bytes]]
) -> None:
    middleware = authentication().bind(method())
    refused = call(metadata=(("authorization", "Bearer a.b.c"),), tls=tls)
    assert await reason(middleware, refused) == "TOKEN_MALFORMED"
    assert (refused.principal, refused.workload) == (None, "spiffe://example.org/a")
