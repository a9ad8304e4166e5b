"""Checks of who is believed: credentials, issuers, tokens, API keys, revocation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from secure_rpc.configuration import ConfigurationError
from secure_rpc.doctor.checks import Check, Finding, Level, none_of, not_applicable, unknown, verdict
from secure_rpc.doctor.facts import Facts
from secure_rpc.identity import api_key
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.principal import Credential

IDENTITY, SETTINGS, CERTIFICATES = "docs/identity.md", "docs/settings.md", "docs/certificates.md"
MAX_LEEWAY_SECONDS = 60.0
MAX_STALE_SECONDS = 3600.0
MAX_EXCHANGED_SECONDS = 900.0
MAX_INTROSPECTION_SECONDS = 60.0
MAX_KEY_LIFE = timedelta(days=90)
SHARED_AUDIENCES = {"*", "account", "api", "default", "public"}  # that an issuer gives to tokens for anybody
NO_ISSUERS = "no tokens are taken: authentication.issuers is empty"


def _two_proofs(facts: Facts) -> Finding:
    weak = [each.value for each in facts.settings.authentication.credentials if each is Credential.TOKEN]
    return none_of(weak, "no call gets by with a token alone", "enough by itself")


def _of_issuers(found: Callable[[Issuer], Iterable[str]], good: str, bad: str) -> Callable[[Facts], Finding]:
    """Return what looks at each issuer whose tokens are taken for calls.

    Args:
        found: gives what is wrong with one.
        good: said where nothing is.
        bad: what those that are found have in common.
    """

    def look(facts: Facts) -> Finding:
        issuers = facts.settings.authentication.issuers
        if not issuers:
            return not_applicable(NO_ISSUERS)
        return none_of((each for issuer in issuers for each in found(issuer)), good, bad)

    return look


def _keys_ca(facts: Facts) -> Finding:
    issuers = [each for each in facts.settings.authentication.issuers if each.jwks_url or each.introspection]
    if not issuers:
        return not_applicable("no issuer is asked for anything over the network")
    return none_of(
        (each.issuer for each in issuers if each.fetch.ca_file is None),
        "each issuer's server is vouched for by CAs that are named",
        "vouched for by any CA of the system",
    )


def _without_https(of: Issuer) -> Iterable[str]:
    return [of.issuer] if of.jwks_file is not None or not of.issuer.startswith("https://") else []


def _shared_audiences(of: Issuer) -> Iterable[str]:
    shared = (name for name in of.audiences if name.lower() in SHARED_AUDIENCES or name == of.issuer)
    return (f"{name} of {of.issuer}" for name in shared)


def _other_types(of: Issuer) -> Iterable[str]:
    return (f"{kind} of {of.issuer}" for kind in of.types if kind != "at+jwt")


def _much_leeway(of: Issuer) -> Iterable[str]:
    return [f"{of.leeway_seconds:g} s of {of.issuer}"] if of.leeway_seconds > MAX_LEEWAY_SECONDS else []


def _old_keys(of: Issuer) -> Iterable[str]:
    seconds = of.keys.stale_limit_seconds
    return [f"{seconds:g} s of {of.issuer}"] if seconds > MAX_STALE_SECONDS else []


def _unbound(of: Issuer) -> Iterable[str]:
    return [] if of.certificate_bound else [of.issuer]


def _token_lives(facts: Facts) -> Finding:
    authentication = facts.settings.authentication
    long = []
    if authentication.exchange is not None and authentication.exchange.lifetime_seconds > MAX_EXCHANGED_SECONDS:
        long.append(f"authentication.exchange.lifetime_seconds {authentication.exchange.lifetime_seconds:g}")
    long += [
        f"introspection.cache_seconds {each.introspection.cache_seconds:g} of {each.issuer}"
        for each in authentication.issuers
        if each.introspection is not None and each.introspection.cache_seconds > MAX_INTROSPECTION_SECONDS
    ]
    if authentication.exchange is None and not any(each.introspection for each in authentication.issuers):
        return not_applicable("no tokens are given out or asked about; how long JWTs last is the issuer's to say")
    return none_of(long, "tokens of our own last 15 minutes at most, answers about others' one minute", "too long")


def _api_keys(facts: Facts) -> Finding:
    file = facts.settings.authentication.api_keys_file
    if file is None:
        return not_applicable("no API keys are taken")
    if not file.exists():
        return not_applicable(f"{file} is not on this machine; look where the service runs")
    try:
        keys = api_key.load(file).items()
    except ConfigurationError as error:
        return unknown("; ".join(error.problems))
    return none_of(
        (f"{name} ({each.expires:%Y-%m-%d})" for name, each in keys if each.expires - facts.now > MAX_KEY_LIFE),
        f"{len(keys)} API keys end within {MAX_KEY_LIFE.days} days",
        f"lasts more than {MAX_KEY_LIFE.days} days",
    )


def _deny_list(facts: Facts) -> Finding:
    file = facts.settings.revocation.deny_list_file
    return verdict(file is not None, "revocation.deny_list_file is " + (str(file) if file else "not set"))


def _crls(facts: Facts) -> Finding:
    files = facts.settings.revocation.crl_files
    return verdict(bool(files), f"revocation.crl_files names {len(files)}")


def _stale(facts: Facts) -> Finding:
    revocation = facts.settings.revocation
    switches = {
        "refuse_when_crl_stale": revocation.refuse_when_crl_stale,
        "refuse_when_shared_stale": revocation.refuse_when_shared_stale,
    }
    return none_of(
        (f"revocation.{name}" for name, on in switches.items() if not on),
        "a caller of whom it is not known whether it was revoked is refused",
        "false",
    )


CHECKS = (
    Check(
        "two-proofs",
        Level.BEGINNER,
        "A stolen token alone opens nothing",
        "Tokens leak, into logs, caches and other people's services; a private key does not travel.",
        "authentication.credentials of the settings has no token alone",
        "set authentication.credentials: both",
        IDENTITY,
        _two_proofs,
    ),
    Check(
        "issuer-keys",
        Level.BEGINNER,
        "Keys of issuers come from the issuers, by https",
        "A file of keys is not replaced when a key is stolen, and whoever writes it makes tokens for anybody.",
        "authentication.issuers of the settings: jwks_url or introspection, and an issuer that is an https URL",
        "set jwks_url: https://... of the issuer in place of jwks_file",
        IDENTITY,
        _of_issuers(
            _without_https,
            "the keys of each issuer come from the issuer, by https",
            "from a file, or of an issuer that is no https URL",
        ),
    ),
    Check(
        "audiences",
        Level.BEGINNER,
        "Tokens are for this service alone",
        "A token that was made for another service, and shown to it, could be used here.",
        "no audience of authentication.issuers is one that is shared",
        "set audiences to the name of this service alone",
        IDENTITY,
        _of_issuers(
            _shared_audiences, "each audience is of this service", "audiences that tokens for others have, too"
        ),
    ),
    Check(
        "deny-list",
        Level.BEGINNER,
        "A stolen credential can be taken back at once",
        "Without it, who has stolen a key or a token keeps it until it ends by itself.",
        "revocation.deny_list_file of the settings",
        "set revocation.deny_list_file, and write to it by pki revoke",
        CERTIFICATES,
        _deny_list,
    ),
    Check(
        "token-types",
        Level.INTERMEDIATE,
        "Access tokens alone are taken",
        "An ID token is shown to every web page that a user signs in to; it must open nothing.",
        "types of authentication.issuers",
        "set types: [at+jwt]",
        IDENTITY,
        _of_issuers(_other_types, "access tokens alone are taken", "types that are no access token (RFC 9068)"),
    ),
    Check(
        "token-leeway",
        Level.INTERMEDIATE,
        "A token counts no longer than it says",
        "Leeway is for clocks; much of it lengthens the life of each stolen token.",
        f"leeway_seconds of authentication.issuers is {MAX_LEEWAY_SECONDS:g} at most",
        "set leeway_seconds: 30",
        IDENTITY,
        _of_issuers(_much_leeway, "clocks may differ by a minute at most", "leeway_seconds"),
    ),
    Check(
        "issuer-keys-age",
        Level.INTERMEDIATE,
        "A key that its issuer has withdrawn is soon forgotten",
        "While old keys are used, a stolen one still signs.",
        f"keys.stale_limit_seconds of authentication.issuers is {MAX_STALE_SECONDS:g} at most",
        "set keys.stale_limit_seconds: 3600",
        IDENTITY,
        _of_issuers(
            _old_keys, "no key is used for more than an hour without being confirmed", "keys.stale_limit_seconds"
        ),
    ),
    Check(
        "token-lives",
        Level.INTERMEDIATE,
        "What is believed of a token is short-lived",
        "For as long as a token, or an answer about it, is kept, a revocation goes unnoticed.",
        "authentication.exchange.lifetime_seconds and introspection.cache_seconds of the settings",
        f"set authentication.exchange.lifetime_seconds: 300, at most {MAX_EXCHANGED_SECONDS:g}, and "
        "introspection.cache_seconds: 30",
        IDENTITY,
        _token_lives,
    ),
    Check(
        "api-keys",
        Level.INTERMEDIATE,
        "API keys end within 90 days",
        "An API key is a password in a file; old ones are in backups, tickets and the heads of people who left.",
        "expires of each key in authentication.api_keys_file",
        "make new keys by apikey new with a shorter life, and remove the old ones",
        IDENTITY,
        _api_keys,
    ),
    Check(
        "revocation-stale",
        Level.INTERMEDIATE,
        "Who may have been revoked is not let in",
        "Whoever can keep a list from coming would undo every revocation on it.",
        "revocation.refuse_when_crl_stale and revocation.refuse_when_shared_stale of the settings",
        "set revocation.refuse_when_crl_stale: true and revocation.refuse_when_shared_stale: true",
        CERTIFICATES,
        _stale,
    ),
    Check(
        "crls",
        Level.ADVANCED,
        "What the CA revokes counts here, too",
        "The CA's people revoke a certificate, and this service alone goes on believing it.",
        "revocation.crl_files of the settings",
        "set revocation.crl_files to the lists of each CA, and have something fetch them",
        CERTIFICATES,
        _crls,
    ),
    Check(
        "tokens-bound",
        Level.ADVANCED,
        "Each token is bound to its holder's certificate",
        "A workload that callers hand their tokens to could use them elsewhere in their names.",
        "certificate_bound of authentication.issuers (RFC 8705)",
        "set certificate_bound: true, where the issuer binds its tokens",
        IDENTITY,
        _of_issuers(
            _unbound, "each token counts for the certificate it was given to", "tokens that are bound to nobody"
        ),
    ),
    Check(
        "issuer-ca",
        Level.ADVANCED,
        "The issuer's server is vouched for by CAs that are named",
        "Any CA of the system could vouch for somebody else who hands out keys in the issuer's name.",
        "fetch.ca_file of authentication.issuers",
        "set fetch.ca_file to the CAs of the issuer's server",
        IDENTITY,
        _keys_ca,
    ),
)
