"""Two trust domains become partners: what each lets in of the other, before and after, and what it never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from secure_rpc.client_channel import RotatingChannel
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.dev.issuer import Caller, TokenIssuer, find_caller, load_callers
from secure_rpc.dev.rotation import Step, rotate
from secure_rpc.drills.domains import GUESTS, NO_CONNECTION, SERVED, WORKLOAD, Domain, ending
from secure_rpc.drills.ground import LOOK_SECONDS, PATIENCE_SECONDS, own_settings
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.rotation import CERTIFICATES
from secure_rpc.settings import load
from secure_rpc.v1 import access_pb2

HEADER = ("chapter", "calls", "answered as they should be", "not")
UNKNOWN_ISSUER, UNKNOWN_KEY = "UNAUTHENTICATED TOKEN_ISSUER_UNKNOWN", "UNAUTHENTICATED TOKEN_KEY_UNKNOWN"
WRONG_WORKLOAD = "UNAUTHENTICATED TOKEN_INVALID"  # the issuer's tokens are good with its own domain's workloads alone
WRONG_CA, NOT_ALLOWED = "UNAUTHENTICATED TRUST_DOMAIN_UNKNOWN", "PERMISSION_DENIED PERMISSION_MISSING"


@dataclass(frozen=True, slots=True)
class Line:
    """A call of the story."""

    chapter: str
    told: str
    answer: str
    expected: str

    @property
    def is_right(self) -> bool:
        """Tell whether it was answered as it should be."""
        return self.answer == self.expected


async def run(plan: Plan) -> Outcome:
    """Tell the story of two domains, in a folder that is gone afterwards.

    Raises:
        ConfigurationError: the settings, the callers or the policy are not those of development.
        TimeoutError: a new bundle is not taken up.
    """
    with TemporaryDirectory(prefix="federation-", ignore_cleanup_errors=True) as name, own_settings():
        ours = load(plan.config).authentication.trust_domain
        home = Domain(plan, Path(name) / "home", ours)
        partner = Domain(plan, Path(name) / "partner", f"partner.{ours}")
        story = Story(plan, home, partner)
        await story.tell()
    return outcome(story.lines)


def outcome(lines: list[Line]) -> Outcome:
    """Return what the calls amount to."""
    problems = [
        f"{each.chapter}: {each.told}: {each.answer}, not {each.expected}" for each in lines if not each.is_right
    ]
    chapters = {each.chapter: [one for one in lines if one.chapter == each.chapter] for each in lines}
    rows = [
        (name, str(len(calls)), str(right := sum(each.is_right for each in calls)), str(len(calls) - right))
        for name, calls in chapters.items()
    ]
    data = [
        {"chapter": each.chapter, "call": each.told, "answer": each.answer, "right": each.is_right} for each in lines
    ]
    return Outcome(HEADER, rows, problems, {"calls": data})


@dataclass(slots=True)
class Story:
    """What happens, and what is to be seen of it.

    Args:
        plan: says what is called.
        home: our domain.
        partner: the other one.
    """

    plan: Plan
    home: Domain
    partner: Domain
    lines: list[Line] = field(default_factory=list)
    _chapter: str = ""

    async def tell(self) -> None:
        """Tell all of it."""
        async with self._both():
            self._begin("strangers: two domains that know nothing of each other")
            for here, there in self._each_way():
                await self._strangers(here, there)
        for here, there in self._each_way():
            here.befriend(there, _access(self.method).permissions)
        async with self._both():
            self._begin("partners: each has taken the other's bundle and issuer keys, and given its guests a role")
            for here, there in self._each_way():
                await self._partners(here, there)
            self._begin("forgeries: what a partner's CA and issuer cannot do")
            for here, there in self._each_way():
                await self._forgeries(here, there)
            self._begin("rotation: the partner's CA is followed by another, and its guests go on calling")
            await self._rotation()

    @property
    def method(self) -> MethodDescriptor:
        """Return what guests may call.

        Raises:
            ConfigurationError: there is no such method.
        """
        method = self.plan.unary()
        if not _access(method).permissions:
            raise ConfigurationError(f"{method.name} asks for no permission; name another by --method that does")
        return method

    async def _strangers(self, here: Domain, there: Domain) -> None:
        ours, theirs, at = self._caller(here, here), self._guest(there, here), f"-> {here.name}"
        await self._line(f"own caller {at}", self._ask(here, here, ours), SERVED)
        await self._line(f"guest of {there.name} {at}", self._ask(here, there, theirs), NO_CONNECTION)
        await self._line(f"own workload, token of {there.name} {at}", self._ask(here, here, theirs), UNKNOWN_ISSUER)

    async def _partners(self, here: Domain, there: Domain) -> None:
        ours, theirs = self._caller(here, here), self._guest(there, here)
        at = f"-> {here.name}"
        await self._line(f"guest of {there.name} {at}", self._ask(here, there, theirs), SERVED)
        if (denied := self._denied()) is not None:
            call = here.answer(there.workload, theirs, denied, self.plan.request_for(denied))
            await self._line(f"guest of {there.name} {at}, {denied.name}", call, NOT_ALLOWED)
        same = self._caller(there, here)
        await self._line(f"{there.name}, a group named as ours {at}", self._ask(here, there, same), NOT_ALLOWED)
        await self._line(f"own workload, token of {there.name} {at}", self._ask(here, here, theirs), WRONG_WORKLOAD)
        await self._line(f"workload of {there.name}, own token {at}", self._ask(here, there, ours), WRONG_WORKLOAD)
        await self._line(f"own caller {at}", self._ask(here, here, ours), SERVED)

    async def _forgeries(self, here: Domain, there: Domain) -> None:
        at = f"-> {here.name}"
        in_our_name = TokenIssuer(here.issuer_name, here.audience, there.issuer.key).token(self._who())
        call = here.answer(there.names(here.name), self._caller(here, here), self.method, self._request())
        await self._line(f"CA of {there.name} names a workload of {here.name} {at}", call, WRONG_CA)
        call = here.answer(there.workload, in_our_name, self.method, self._request())
        await self._line(f"issuer of {there.name} signs in the name of {here.issuer_name} {at}", call, UNKNOWN_KEY)
        nobody = Authority.create("a CA of nobody").issue(client_request(WORKLOAD, there.name))
        call = here.answer(nobody, self._guest(there, here), self.method, self._request())
        await self._line(f"CA of nobody names a workload of {there.name} {at}", call, NO_CONNECTION)

    async def _rotation(self) -> None:
        home, partner, files = self.home, self.partner, self.partner.files
        guest, at = self._guest(partner, home), f"-> {home.name}"
        kept = home.channel((files.client_certificate, files.client_key), guest, self.method)

        async def go_on(told: str) -> None:
            call = ending(kept, self.method, self._request())
            await self._line(f"{told}: the guest's channel goes on {at}", call, SERVED)

        async with kept:
            await go_on("before")
            old = partner.workload
            await self._step(Step.ADD)
            following = Authority.load(files.next_intermediate_certificate, files.next_intermediate_key)
            early = following.issue(client_request(WORKLOAD, partner.name))
            call = home.answer(early, guest, self.method, self._request())
            await self._line(f"new CA, its bundle not given yet {at}", call, NO_CONNECTION)
            await self._give_bundle()
            call = home.answer(early, guest, self.method, self._request())
            await self._line(f"new CA, both in the bundle {at}", call, SERVED)
            await go_on("add")
            await self._step(Step.SWITCH)
            await _until_shown(kept, partner)
            await go_on("switch")
            await self._step(Step.REMOVE)
            await self._give_bundle()
            await go_on("remove")
            call = home.answer(old, guest, self.method, self._request())
            await self._line(f"certificate of the old CA, which is gone {at}", call, NO_CONNECTION)

    async def _step(self, step: Step) -> None:
        if self.partner.ground is not None:
            async with self.partner.ground.taken_up(CERTIFICATES):
                rotate(self.partner.settings, self.partner.files, step)

    async def _give_bundle(self) -> None:
        if self.home.ground is not None:
            async with self.home.ground.taken_up(CERTIFICATES):
                self.home.take_bundle(self.partner)

    async def _line(self, told: str, call: Awaitable[str], expected: str) -> None:
        self.lines.append(Line(self._chapter, told, await call, expected))
        last = self.lines[-1]
        self.plan.say(f"  {last.told}: {last.answer}{'' if last.is_right else f', but it should be {expected}'}")

    def _begin(self, chapter: str) -> None:
        self._chapter = chapter.partition(":")[0]
        self.plan.say(chapter)

    def _each_way(self) -> tuple[tuple[Domain, Domain], tuple[Domain, Domain]]:
        return (self.home, self.partner), (self.partner, self.home)

    @asynccontextmanager
    async def _both(self) -> AsyncIterator[None]:
        async with self.home.serving(), self.partner.serving():
            yield

    def _who(self) -> Caller:
        return find_caller(load_callers(self.plan.callers), self.plan.caller)

    def _caller(self, of: Domain, at: Domain) -> str:
        """Return a token of the plan's caller, by the issuer of one domain for the service of another."""
        return of.issuer.token(self._who(), aud=at.audience)

    def _guest(self, of: Domain, at: Domain) -> str:
        guest = Caller(subject="visitor", tenants=self._who().tenants, groups=(GUESTS,))
        return of.issuer.token(guest, aud=at.audience)

    async def _ask(self, at: Domain, by: Domain, token: str) -> str:
        return await at.answer(by.workload, token, self.method, self._request())

    def _request(self) -> Message:
        return self.plan.request_for(self.method)

    def _denied(self) -> MethodDescriptor | None:
        """Return a method that asks for more than guests are given, and takes one request; none where there is none."""
        given = set(_access(self.method).permissions)
        one = [each for each in self.plan.every_method if not (each.client_streaming or each.server_streaming)]
        return next((each for each in one if set(_access(each).permissions) - given and not _access(each).signed), None)


def _access(method: MethodDescriptor) -> access_pb2.Access:
    found: access_pb2.Access = method.GetOptions().Extensions[access_pb2.access]
    return found


async def _until_shown(channel: RotatingChannel, by: Domain) -> None:
    """Return when a channel shows the certificate that its domain has now.

    Raises:
        TimeoutError: it does not.
    """
    async with asyncio.timeout(PATIENCE_SECONDS):
        while channel.newest.certificate.chain_pem != by.workload.certificate_pem:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(LOOK_SECONDS)
