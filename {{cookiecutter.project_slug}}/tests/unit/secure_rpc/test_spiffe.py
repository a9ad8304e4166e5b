"""The grammar of SPIFFE IDs, rule by rule (SPIFFE-ID document, sections 2.1 to 2.3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_rpc import spiffe

PATH_RULE = "neither '.' nor '..'"
DOMAIN_RULE = "a trust domain has 1 to 255"
SCHEME_RULE = "begins with spiffe://"


@pytest.mark.parametrize(
    ("text", "trust_domain", "path"),
    [
        ("spiffe://example.org", "example.org", ""),
        ("spiffe://example.org/ns/shop/sa/orders", "example.org", "/ns/shop/sa/orders"),
        ("spiffe://a", "a", ""),
        ("spiffe://a_b-c.9/A.B-C_9", "a_b-c.9", "/A.B-C_9"),
        ("spiffe://example.org/...", "example.org", "/..."),
        ("spiffe://example.org/.hidden", "example.org", "/.hidden"),
        ("spiffe://1.2.3.4/a", "1.2.3.4", "/a"),
        ("spiffe://" + "d" * 255, "d" * 255, ""),
        ("spiffe://a/" + "p" * (2048 - 11), "a", "/" + "p" * (2048 - 11)),
    ],
)
def test_a_sound_id_is_taken_apart_and_put_together_again(text: str, trust_domain: str, path: str) -> None:
    parsed = spiffe.parse(text)
    assert (parsed.trust_domain, parsed.path, str(parsed)) == (trust_domain, path, text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", SCHEME_RULE),
        ("example.org/a", SCHEME_RULE),
        ("SPIFFE://example.org/a", SCHEME_RULE),
        ("spiffe:/example.org", SCHEME_RULE),
        ("https://example.org/a", SCHEME_RULE),
        (" spiffe://example.org", SCHEME_RULE),
        ("spiffe://", DOMAIN_RULE),
        ("spiffe:///a", DOMAIN_RULE),
        ("spiffe://Example.org/a", DOMAIN_RULE),
        ("spiffe://example.org:8443/a", DOMAIN_RULE),
        ("spiffe://user@example.org/a", DOMAIN_RULE),
        ("spiffe://example.org?a=b", DOMAIN_RULE),
        ("spiffe://example.org#a", DOMAIN_RULE),
        ("spiffe://ex%61mple.org/a", DOMAIN_RULE),
        ("spiffe://b\u00fccher.example", DOMAIN_RULE),
        ("spiffe://\u0435xample.org", DOMAIN_RULE),  # a Cyrillic letter
        ("spiffe://[::1]/a", DOMAIN_RULE),
        ("spiffe://example.org\n", DOMAIN_RULE),
        ("spiffe://example.org\x00.evil/a", DOMAIN_RULE),
        ("spiffe://" + "d" * 256, DOMAIN_RULE),
        ("spiffe://example.org/", PATH_RULE),
        ("spiffe://example.org/a/", PATH_RULE),
        ("spiffe://example.org//a", PATH_RULE),
        ("spiffe://example.org/a//b", PATH_RULE),
        ("spiffe://example.org/.", PATH_RULE),
        ("spiffe://example.org/a/../b", PATH_RULE),
        ("spiffe://example.org/a/./b", PATH_RULE),
        ("spiffe://example.org/a%2fb", PATH_RULE),
        ("spiffe://example.org/a?b=c", PATH_RULE),
        ("spiffe://example.org/a#b", PATH_RULE),
        ("spiffe://example.org/a b", PATH_RULE),
        ("spiffe://example.org/a\n", PATH_RULE),
        ("spiffe://example.org/a\x00b", PATH_RULE),
        ("spiffe://example.org/\u0661", PATH_RULE),  # a digit, but not of ASCII
        ("spiffe://a/" + "p" * (2048 - 10), "at most 2048 bytes"),
        ("spiffe://a/" + "\u00e9" * 1020, "at most 2048 bytes"),  # bytes, not characters
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_name(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        spiffe.parse(text)


@pytest.mark.parametrize("name", ["", "Example.org", "a/b", "a" * 256, "a\n", "spiffe://a"])
def test_a_trust_domain_alone_keeps_the_same_rules(name: str) -> None:
    with pytest.raises(ValueError, match=DOMAIN_RULE):
        spiffe.check_trust_domain(name)


@settings(deadline=None)
@given(st.text() | st.text("spife:/.%\x00aZ0-_\ud800").map("spiffe://a/".__add__) | st.text().map("spiffe://".__add__))
def test_whatever_the_text_it_is_an_id_or_a_value_error(text: str) -> None:
    try:
        parsed = spiffe.parse(text)
    except ValueError:
        return
    assert str(parsed) == text
    assert parsed.trust_domain.isascii()
    assert not {"", ".", ".."} & set(parsed.path.split("/")[1:])


@settings(deadline=None)
@given(
    st.from_regex(r"[a-z0-9._-]{1,40}", fullmatch=True),
    st.lists(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True), max_size=5),
)
def test_every_id_of_the_grammar_is_taken(trust_domain: str, segments: list[str]) -> None:
    text = "/".join(["spiffe:/", trust_domain, *segments])
    assert str(spiffe.parse(text)) == text
