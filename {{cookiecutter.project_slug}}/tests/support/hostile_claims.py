"""Claims that an issuer's key has signed, and that say all the same that this token is not for us, or not now."""

from __future__ import annotations

import json
import time
from typing import Any

from support.hostile_tokens import HOUR, OTHER_ISSUER, Attack, Parts, b64, es256, part

NOW = int(time.time())


def claiming(**claims: Any) -> Attack:
    """Return what signs other claims; None leaves one out."""
    return lambda parts: parts.signed(claims=claims)


def claiming_json(name: str, literal: str) -> Attack:
    """Return what signs a claim whose value is written as JSON, where no Python value would give it."""

    def forge(parts: Parts) -> str:
        text = json.dumps({**parts.claims, name: None}).replace("null", literal)
        signing_input = f"{part(parts.header)}.{part(text)}"
        return f"{signing_input}.{b64(es256(parts.issuer.key, signing_input))}"

    return forge


CLAIMS: dict[str, tuple[Attack, str]] = {
    "iss missing": (claiming(iss=None), "TOKEN_ISSUER_UNKNOWN"),
    "iss empty": (claiming(iss=""), "TOKEN_ISSUER_UNKNOWN"),
    "iss of another": (claiming(iss=OTHER_ISSUER), "TOKEN_ISSUER_UNKNOWN"),
    "iss with a slash more": (claiming(iss="https://issuer.example.org/"), "TOKEN_ISSUER_UNKNOWN"),
    "iss in another case": (claiming(iss="https://Issuer.example.org"), "TOKEN_ISSUER_UNKNOWN"),
    "iss a number": (claiming(iss=1), "TOKEN_ISSUER_UNKNOWN"),
    "iss a list with ours": (claiming(iss=["https://issuer.example.org"]), "TOKEN_ISSUER_UNKNOWN"),
    "iss a map": (claiming(iss={"https://issuer.example.org": 1}), "TOKEN_ISSUER_UNKNOWN"),
    "aud missing": (claiming(aud=None), "TOKEN_CLAIM_MISSING"),
    "aud empty": (claiming(aud=""), "TOKEN_CLAIM_MISSING"),
    "aud of another": (claiming(aud="another"), "TOKEN_AUDIENCE_WRONG"),
    "aud in another case": (claiming(aud="Probe"), "TOKEN_AUDIENCE_WRONG"),
    "aud that begins with ours": (claiming(aud="probe.evil"), "TOKEN_AUDIENCE_WRONG"),
    "aud a list of others": (claiming(aud=["another", "third"]), "TOKEN_AUDIENCE_WRONG"),
    "aud an empty list": (claiming(aud=[]), "TOKEN_CLAIM_MISSING"),
    "aud a list with ours and a number": (claiming(aud=["probe", 1]), "TOKEN_AUDIENCE_WRONG"),
    "aud a number": (claiming(aud=1), "TOKEN_AUDIENCE_WRONG"),
    "aud a map": (claiming(aud={"probe": 1}), "TOKEN_AUDIENCE_WRONG"),
    "exp missing": (claiming(exp=None), "TOKEN_CLAIM_MISSING"),
    "exp past": (claiming(exp=NOW - 60), "TOKEN_EXPIRED"),
    "exp zero": (claiming(exp=0), "TOKEN_EXPIRED"),
    "exp negative": (claiming(exp=-NOW), "TOKEN_EXPIRED"),
    "exp text": (claiming(exp="never"), "TOKEN_INVALID"),
    "exp a number as text": (claiming(exp=str(NOW + HOUR)), "TOKEN_MALFORMED"),
    "exp a list": (claiming(exp=[NOW + HOUR]), "TOKEN_INVALID"),
    "exp true": (claiming(exp=True), "TOKEN_EXPIRED"),
    "exp infinite": (claiming_json("exp", "Infinity"), "TOKEN_INVALID"),
    "exp beyond floating point": (claiming_json("exp", "1e999"), "TOKEN_INVALID"),
    "exp of 400 digits": (claiming_json("exp", "9" * 400), "TOKEN_MALFORMED"),
    "exp not a number": (claiming_json("exp", "NaN"), "TOKEN_INVALID"),
    "nbf to come": (claiming(nbf=NOW + HOUR), "TOKEN_NOT_YET_VALID"),
    "nbf text": (claiming(nbf="now"), "TOKEN_INVALID"),
    "nbf infinite": (claiming_json("nbf", "Infinity"), "TOKEN_INVALID"),
    "iat missing": (claiming(iat=None), "TOKEN_CLAIM_MISSING"),
    "iat to come": (claiming(iat=NOW + HOUR), "TOKEN_NOT_YET_VALID"),
    "iat text": (claiming(iat="now"), "TOKEN_INVALID"),
    "iat infinite": (claiming_json("iat", "Infinity"), "TOKEN_INVALID"),
    "sub missing": (claiming(sub=None), "TOKEN_CLAIM_MISSING"),
    "sub empty": (claiming(sub=""), "TOKEN_CLAIM_MISSING"),
    "sub a number": (claiming(sub=1), "TOKEN_INVALID"),
    "sub a list": (claiming(sub=["alice"]), "TOKEN_INVALID"),
    "sub that no log can write": (claiming_json("sub", r'"alice\ud800"'), "TOKEN_MALFORMED"),
    "tenant that no log can write": (claiming_json("tenant", r'["acme\ud800"]'), "TOKEN_MALFORMED"),
    "tenant a number": (claiming(tenant=1), "TOKEN_MALFORMED"),
    "tenant a map": (claiming(tenant={"acme": 1}), "TOKEN_MALFORMED"),
    "tenant true": (claiming(tenant=True), "TOKEN_MALFORMED"),
    "tenant a list with a number": (claiming(tenant=["acme", 1]), "TOKEN_MALFORMED"),
    "tenant a list of lists": (claiming(tenant=[["acme"]]), "TOKEN_MALFORMED"),
    "tenant a list with nothing in it": (claiming(tenant=["acme", ""]), "TOKEN_MALFORMED"),
    "groups a number": (claiming(groups=1), "TOKEN_MALFORMED"),
    "groups a map": (claiming(groups={"callers": 1}), "TOKEN_MALFORMED"),
    "groups a list of maps": (claiming(groups=[{"callers": 1}]), "TOKEN_MALFORMED"),
    "groups a list with nothing in it": (claiming(groups=["callers", None]), "TOKEN_MALFORMED"),
}
