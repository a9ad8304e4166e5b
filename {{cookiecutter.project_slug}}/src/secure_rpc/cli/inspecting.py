"""`token inspect`: what a token says, held against the configuration, check by check; the token is not printed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from secure_rpc import errors
from secure_rpc.identity import deny_list
from secure_rpc.identity import token as tokens
from secure_rpc.identity.deny_list import DenyList
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.revocation import Revoked
from secure_rpc.identity.tokens import TokenVerifier
from secure_rpc.settings import Settings

MAX_SHOWN_CHARACTERS = 120

out = Console(highlight=False, soft_wrap=True)


class Check(NamedTuple):
    """One thing that was looked at."""

    what: str
    said: str
    good: bool
    wanted: str = ""


async def inspect(settings: Settings, text: str) -> bool:
    """Print what a token says and whether it would be accepted; return whether it would.

    Raises:
        ConfigurationError: the deny-list of the settings is not sound.
    """
    revoked = _revoked(settings)
    verifier = TokenVerifier(settings.authentication.issuers)
    try:
        token = await verifier.verify(text)
        revoked.check_user(token.issuer.issuer, token.subject, str(token.claims.get("jti", "")))
        verdict = ""
    except errors.StatusError as error:
        token, verdict = None, error.recorded_reason
    finally:
        await verifier.close()
    checks = list(_checks(settings.authentication.issuers, text))
    table = Table("", "looked at", "the token says", "wanted")
    for check in checks:
        mark = "[green]ok[/green]" if check.good else "[red]no[/red]"
        table.add_row(mark, check.what, _short(check.said), "" if check.good else _short(check.wanted))
    out.print(table)
    if token is None:
        out.print(f"[red]would be refused[/red]: {verdict}")
        return False
    thumbprint = token.certificate_thumbprint
    bound = f", bound to the certificate {_short(thumbprint)}" if thumbprint else ""
    out.print(
        f"[green]would be accepted[/green]: {_short(token.subject)} of {_short(token.issuer.issuer)}, "
        f"tenants {_list(token.tenants)}, groups {_list(token.groups)}, roles {_list(token.roles)}{bound}",
        markup=True,
    )
    if settings.state is not None:
        out.print("  unless it is on the list of revocations that all replicas share, which is not looked at here")
    return True


def _revoked(settings: Settings) -> Revoked:
    """Return what the deny-list of the settings says; what is not there yet revokes nothing."""
    file = settings.revocation.deny_list_file
    listed = deny_list.read(file) if file is not None and file.exists() else ()
    return Revoked(DenyList(each.entry() for each in listed))


def _checks(issuers: tuple[Issuer, ...], text: str) -> Iterator[Check]:
    size = f"{len(text)} bytes"
    yield Check("size", size, len(text) <= tokens.MAX_TOKEN_BYTES, f"at most {tokens.MAX_TOKEN_BYTES}")
    try:
        taken = tokens.take_apart(text)
    except errors.StatusError as error:
        yield Check("form", error.recorded_reason, good=False, wanted="a JWT of three parts")
        return
    if taken is None:
        can_ask = any(issuer.introspection for issuer in issuers)
        yield Check("form", "opaque", can_ask, "an issuer with introspection")
        return
    issuer = next((each for each in issuers if each.issuer == taken.claims.get("iss")), None)
    yield Check("iss", str(taken.claims.get("iss")), issuer is not None, ", ".join(each.issuer for each in issuers))
    yield from _claims(taken.claims)
    if issuer is None:
        return
    header = taken.header
    yield Check("alg", str(header.get("alg")), header.get("alg") in issuer.algorithms, ", ".join(issuer.algorithms))
    kind = str(header.get("typ", "")).lower().removeprefix("application/")
    yield Check("typ", str(header.get("typ")), kind in issuer.types, ", ".join(issuer.types))
    audience = taken.claims.get("aud", [])
    audiences = [audience] if isinstance(audience, str) else audience
    good = isinstance(audiences, list) and any(name in issuer.audiences for name in audiences)
    yield Check("aud", str(audience), good, ", ".join(issuer.audiences))
    yield from _times(taken.claims, issuer)
    for name in issuer.required_claims:
        yield Check(name, "is there" if name in taken.claims else "is missing", name in taken.claims, "required")


def _times(claims: dict[str, Any], issuer: Issuer) -> Iterator[Check]:
    now = time.time()
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    lasts = isinstance(expires, int | float) and now - issuer.leeway_seconds < expires
    yield Check("exp", _time(expires), lasts, "not past")
    begun = isinstance(begins, int | float) and begins <= now + issuer.leeway_seconds
    yield Check("nbf", _time(begins) if begins else "not set", begun, "not ahead")


def _claims(claims: dict[str, Any]) -> Iterator[Check]:
    for name in ("sub", "client_id", "scope"):
        if name in claims:
            yield Check(name, str(claims[name]), good=True)


def _time(value: object) -> str:
    try:
        return f"{datetime.fromtimestamp(float(value), UTC):%Y-%m-%d %H:%M:%S} UTC"  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return repr(value)


def _short(text: str) -> str:
    """Return text that does nothing to a terminal but stand there."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return escape(printable[:MAX_SHOWN_CHARACTERS])


def _list(names: Iterable[str]) -> str:
    return ", ".join(_short(name) for name in sorted(names)) or "none"


def read_token() -> str:
    """Return the token on standard input: not an argument, which others on the machine could see."""
    return sys.stdin.readline().strip().removeprefix("Bearer ")
