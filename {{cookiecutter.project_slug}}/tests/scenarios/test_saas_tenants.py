"""Software for many companies: each sees its own data, uses up its own quota, and is gone when it leaves.

Who is there: acme, globex and initech, each with a login service of its own; one service with the data of all of them;
somebody at globex who runs its login service and would like to read acme's data; an operator.
What they want: what one company does is no business of the others. When globex leaves, all its people are out at once.
What may go wrong: a login service names a company that is not its own; a stream begins with one's own data and turns
to another's; the flood of one is the outage of all; who is off-boarded keeps the streams that were open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.identity.deny_list import Revocation, revoke
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.parties import Party, party, refusals
from support.sessions import said
from support.target import AUDIENCE, ISSUER, Target, run_target
from support.world import ending

TENANTS = ("acme", "globex", "initech")
ISSUERS = {"acme": ISSUER, "globex": "https://login.globex.example", "initech": "https://login.initech.example"}
PATIENCE_SECONDS = 20
QUOTA = 5
DENIED = ("PERMISSION_DENIED", "TENANT_DENIED")
# each login service is believed about one company: `tenants: own` would believe whatever its tokens name
BINDINGS = "".join(
    f"""
  - name: people of {tenant}
    role: member
    principals: [{{ issuer: "{ISSUERS[tenant]}", group: members }}]
    tenants: [{tenant}]
"""
    for tenant in TENANTS
)
POLICY = f"""
version: 1
roles:
  member: {{ permissions: [probe.call] }}
bindings:
{BINDINGS}"""


class Platform:
    """The service, and the login services of its customers."""

    def __init__(self, target: Target, logins: dict[str, TokenIssuer]) -> None:
        self.target = target
        self.logins = {"acme": target.service.issuer, **logins}

    @asynccontextmanager
    async def person(self, tenant: str, name: str = "pat", *, claims: str = "") -> AsyncIterator[Party]:
        """Log somebody in at a company's own service, which may claim that it is another's."""
        login = Caller(subject=name, tenants=(claims or tenant,), groups=("members",))
        async with party(self.target, tenant, lambda: self.logins[tenant].token(login)) as made:
            yield made


@asynccontextmanager
async def platform_with(application: Application, folder: Path, **settings: Any) -> AsyncIterator[Platform]:
    (folder / "dev").mkdir()
    logins = {tenant: TokenIssuer(ISSUERS[tenant], AUDIENCE) for tenant in TENANTS[1:]}
    for tenant, login in logins.items():
        login.save(folder / f"{tenant}.key", folder / "dev" / f"{tenant}.json")
    keys = {"acme": "jwks.json", "globex": "globex.json", "initech": "initech.json"}
    issuers = [
        {"issuer": ISSUERS[tenant], "jwks_file": folder / "dev" / keys[tenant], "audiences": [AUDIENCE]}
        for tenant in TENANTS
    ]
    overrides = {"authentication": {"issuers": issuers}, **settings}
    async with run_target(application, folder, overrides, policy=POLICY) as target:
        yield Platform(target, logins)


@pytest.fixture
async def platform(application: Application, tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform_with(application, tmp_path) as made:
        yield made


async def test_everybody_sees_the_data_of_the_own_company_and_of_no_other(platform: Platform) -> None:
    seen = {}
    for mine, theirs, shape in product(TENANTS, TENANTS, ("TenantUnary", "TenantBidi")):
        async with platform.person(mine) as person:
            seen[mine, theirs, shape] = said(await person.ask(shape, f"data of {theirs}", tenant=theirs))
    assert seen == {
        (mine, theirs, shape): ("OK", "") if mine == theirs else DENIED
        for mine, theirs, shape in product(TENANTS, TENANTS, ("TenantUnary", "TenantBidi"))
    }
    assert platform.target.begun == 2 * len(TENANTS)
    assert refusals(platform.target, "TENANT_DENIED") == 2 * len(TENANTS) * (len(TENANTS) - 1)
    denied = [each for each in await platform.target.service.audit_records() if each["reason"] == "TENANT_DENIED"]
    assert all(each["issuer"] != ISSUERS[each["tenant"]] for each in denied)  # who asked for whose data


async def test_a_login_service_that_names_another_company_gets_its_people_nowhere(platform: Platform) -> None:
    async with platform.person("globex", claims="acme") as spy:
        assert said(await spy.ask("TenantUnary", "data of acme", tenant="acme")) == DENIED
    async with platform.person("globex") as turning, asyncio.timeout(PATIENCE_SECONDS):
        stream = turning.call("TenantBidi", open_=True)
        await stream.write(pb.Ask(act="mine", tenant="globex"))
        assert (await stream.read()).text == "mine"
        await stream.write(pb.Ask(act="yours", tenant="acme"))
        told = await ending(stream)
        assert (told.messages, said(told)) == ([], DENIED)
    assert (await platform.target.record_of(told))["tenant"] == "acme"
    assert platform.target.begun == 1


async def test_the_flood_of_one_company_is_not_the_outage_of_the_others(
    application: Application, tmp_path: Path
) -> None:
    quotas = {"default": {"calls": QUOTA, "period_seconds": 6000}}
    async with platform_with(application, tmp_path, quotas=quotas) as platform, AsyncExitStack() as stack:
        acme, globex, initech = [
            await stack.enter_async_context(platform.person(tenant, "same-name")) for tenant in TENANTS
        ]
        flood = [said(await globex.ask("TenantUnary", tenant="globex")) for _ in range(2 * QUOTA)]
        assert flood == [("OK", "")] * QUOTA + [("RESOURCE_EXHAUSTED", "QUOTA_EXHAUSTED")] * QUOTA
        for person, tenant in ((acme, "acme"), (initech, "initech")):
            for _ in range(QUOTA):
                assert said(await person.ask("TenantUnary", tenant=tenant)) == ("OK", "")
        assert refusals(platform.target, "QUOTA_EXHAUSTED") == QUOTA


async def test_a_company_that_leaves_is_out_at_once_streams_too_and_the_others_stay(platform: Platform) -> None:
    listed = platform.target.service.server.settings.revocation.deny_list_file
    assert listed is not None
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_SECONDS):
        people, streams = {}, {}
        for tenant, name in product(("acme", "globex"), ("pat", "kim")):
            people[tenant, name] = await stack.enter_async_context(platform.person(tenant, name))
            streams[tenant, name] = people[tenant, name].call("TenantBidi", open_=True)
            await streams[tenant, name].write(pb.Ask(act="data", tenant=tenant))
            assert (await streams[tenant, name].read()).text == "data"

        revoke(listed, Revocation(subject="*", issuer=ISSUERS["globex"], reason="the contract has ended"))
        for name in ("pat", "kim"):
            assert said(await ending(streams["globex", name])) == ("UNAUTHENTICATED", "CREDENTIAL_REVOKED")
            told = await people["globex", name].ask("TenantUnary", tenant="globex")
            assert said(told) == ("UNAUTHENTICATED", "CREDENTIAL_REVOKED")
            assert (await platform.target.record_of(told))["reason"] == "ISSUER_REVOKED"
            await streams["acme", name].write(pb.Ask(act="more", tenant="acme"))
            assert (await streams["acme", name].read()).text == "more"
    assert platform.target.service.metric("secure_rpc_streams_ended_total", reason="revoked") == 2
    told_of = [each for each in await platform.target.service.audit_lines() if "revo" in each["event"]]
    assert "https://login.globex.example" in str(told_of)
