"""A policy is read whole, or each thing that is wrong with it is told by file, line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy import document
from secure_rpc.policy.document import Known, load, permissions_of
from secure_rpc.policy.entries import entries_of

SOUND = """\
version: 1
roles:
  reader:
    permissions: [things.read]
  writer:
    includes: [reader]
    permissions: [things.write]
bindings:
  - role: writer
    principals:
      - {issuer: https://issuer.example.org, group: writers}
      - {workload: spiffe://example.org/ns/shop/*}
    tenants: all
"""
KNOWN = Known({"things.read", "things.write"}, ["https://issuer.example.org"], ["example.org"])


def write(folder: Path, text: str) -> Path:
    file = folder / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path, text: str) -> list[str]:
    """Return what is wrong, without the folder."""
    with pytest.raises(ConfigurationError) as caught:
        load(write(folder, text))
    return [told.removeprefix(f"{folder}/") for told in caught.value.problems]


def test_a_sound_policy_is_read(tmp_path: Path) -> None:
    found = load(write(tmp_path, SOUND))
    [binding] = found.policy.bindings
    assert (binding.role, binding.tenants) == ("writer", "all")
    assert [who.group or who.workload for who in binding.principals] == ["writers", "spiffe://example.org/ns/shop/*"]
    assert permissions_of(found.policy, "writer") == {"things.read", "things.write"}
    assert permissions_of(found.policy, "reader") == {"things.read"}


def test_the_version_follows_from_the_bytes(tmp_path: Path) -> None:
    first, same = load(write(tmp_path, SOUND)).version, load(write(tmp_path, SOUND)).version
    assert first == same
    assert len(first) == 12
    assert load(write(tmp_path, SOUND + "# a comment\n")).version != first


def test_tenants_are_the_callers_own_where_nothing_is_said(tmp_path: Path) -> None:
    found = load(write(tmp_path, SOUND.replace("    tenants: all\n", "")))
    assert found.policy.bindings[0].tenants == "own"


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("version: 1", "version: 2", 'policy.yaml:1: "version" is 2: Input should be 1'),
        ("version: 1\n", "", 'policy.yaml:1: "version" is missing; add it'),
        ("roles:", "rolls:", 'policy.yaml:2: "rolls" is not known; did you mean "roles"?'),
        (
            "    permissions: [things.read]",
            "    permisions: [things.read]",
            'policy.yaml:4: "roles.reader.permisions" is not known; did you mean "permissions"?',
        ),
        (
            "includes: [reader]",
            "include: [reader]",
            'policy.yaml:6: "roles.writer.include" is not known; did you mean "includes"?',
        ),
        (
            "includes: [reader]",
            "includes: reader",
            "policy.yaml:6: \"roles.writer.includes\" is 'reader': Input should be a valid tuple",
        ),
        (
            "includes: [reader]",
            "includes: [raeder]",
            'policy.yaml:6: the role "raeder" is not defined; did you mean "reader"?',
        ),
        (
            "- role: writer",
            "- role: wirter",
            'policy.yaml:9: the role "wirter" is not defined; did you mean "writer"?',
        ),
        (
            "- role: writer\n    principals",
            "- principals",
            'policy.yaml:9: "bindings.0.role" is missing; add it',
        ),
        (
            "    principals:",
            "    principal:",
            'policy.yaml:10: "bindings.0.principal" is not known; did you mean "principals"?',
        ),
        (
            "group: writers",
            "groups: writers",
            'policy.yaml:11: "bindings.0.principals.0.groups" is not known; did you mean "group"?',
        ),
        (
            "{workload: spiffe://example.org/ns/shop/*}",
            "{}",
            'policy.yaml:12: "bindings.0.principals.1" is {}: name a "subject", a "group" or a "workload"',
        ),
        (
            "issuer: https://issuer.example.org, ",
            "",
            (
                "policy.yaml:11: \"bindings.0.principals.0\" is {'group': 'writers'}: "
                '"subject" and "group" need "issuer": another issuer may give the same name to another'
            ),
        ),
        (
            "{workload: spiffe://example.org/ns/shop/*}",
            "{issuer: i, workload: spiffe://e/a}",
            (
                "policy.yaml:12: \"bindings.0.principals.1\" is {'issuer': 'i', 'workload': 'spiffe://e/a'}: "
                '"issuer" needs a "subject" or a "group": a workload alone speaks of calls without token'
            ),
        ),
        (
            "workload: spiffe://example.org/ns/shop/*",
            "workload: example.org/ns",
            (
                "policy.yaml:12: \"bindings.0.principals.1\" is {'workload': 'example.org/ns'}: "
                '"workload" is a SPIFFE ID, such as spiffe://example.org/ns/shop/sa/orders, '
                'or "dns:" or "cn:" and a name, where the settings accept such certificates'
            ),
        ),
        (
            "workload: spiffe://example.org/ns/shop/*",
            "workload: spiffe://*.org/ns",
            (
                "policy.yaml:12: \"bindings.0.principals.1\" is {'workload': 'spiffe://*.org/ns'}: "
                '"workload" names its trust domain in full; "*" may stand in the path'
            ),
        ),
        (
            "tenants: all",
            "tenats: all",
            'policy.yaml:13: "bindings.0.tenats" is not known; did you mean "tenants"?',
        ),
    ],
)
def test_a_slip_is_told_with_its_line_and_a_remedy(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    assert SOUND.count(right) == 1
    assert told in problems(tmp_path, SOUND.replace(right, wrong))


@pytest.mark.parametrize("wrong", ["everything", "[]", "[1]", "{}", "null"])
def test_tenants_that_are_no_tenants_are_refused(tmp_path: Path, wrong: str) -> None:
    found = problems(tmp_path, SOUND.replace("tenants: all", f"tenants: {wrong}"))
    assert all(told.startswith('policy.yaml:13: "bindings.0.tenants') for told in found)


def test_a_binding_of_nobody_is_refused(tmp_path: Path) -> None:
    text = SOUND.partition("      - {issuer")[0].replace("principals:", "principals: []")
    [told] = problems(tmp_path, text)
    assert told.startswith('policy.yaml:10: "bindings.0.principals" is []: ')


def test_every_slip_is_told_at_once(tmp_path: Path) -> None:
    text = SOUND.replace("version: 1", "version: 3").replace("tenants", "tennants").replace("includes", "inclues")
    assert [told.partition(": ")[0] for told in problems(tmp_path, text)] == [f"policy.yaml:{n}" for n in (1, 6, 13)]


def test_a_role_that_stands_twice_is_refused(tmp_path: Path) -> None:
    [told] = problems(tmp_path, SOUND.replace("  writer:", "  reader:"))
    assert told == 'policy.yaml:5: the key "reader" stands twice, first in line 3; keep one'


@pytest.mark.parametrize("text", ["", "- version: 1\n", "hello\n", "5\n"])
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    assert all(told.startswith("policy.yaml:1: ") for told in problems(tmp_path, text))


@pytest.mark.parametrize(
    ("roles", "circles"),
    [
        ({"a": "a"}, ["3: a -> a"]),
        ({"a": "b", "b": "a"}, ["3: a -> b -> a"]),
        ({"a": "b", "b": "c", "c": "b"}, ["5: b -> c -> b"]),
        ({"a": "b", "b": "a", "c": "c"}, ["3: a -> b -> a", "7: c -> c"]),
    ],
)
def test_each_circle_of_roles_is_told_once(tmp_path: Path, roles: dict[str, str], circles: list[str]) -> None:
    text = "version: 1\nroles:\n" + "".join(f"  {name}:\n    includes: [{inner}]\n" for name, inner in roles.items())
    places = [circle.split(": ") for circle in circles]
    assert problems(tmp_path, text) == [
        f"policy.yaml:{line}: roles include each other in a circle: {circle}; break it" for line, circle in places
    ]


def test_roles_may_share_what_they_include(tmp_path: Path) -> None:
    text = """\
version: 1
roles:
  a: {includes: [b, c]}
  b: {includes: [d]}
  c: {includes: [d], permissions: [things.write]}
  d: {permissions: [things.read]}
"""
    assert permissions_of(load(write(tmp_path, text)).policy, "a") == {"things.read", "things.write"}


def test_permissions_that_no_method_asks_for_are_told_with_their_lines(tmp_path: Path) -> None:
    found = load(write(tmp_path, SOUND))
    found.check(KNOWN._replace(permissions={"things.read", "things.write", "others.read"}))
    with pytest.raises(ConfigurationError) as caught:
        found.check(KNOWN._replace(permissions={"things.raed", "things.writes"}))
    assert caught.value.problems == (
        f'{tmp_path}/policy.yaml:4: no method asks for the permission "things.read"; did you mean "things.raed"?',
        f'{tmp_path}/policy.yaml:7: no method asks for the permission "things.write"; did you mean "things.writes"?',
    )


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (
            "issuer.example.org",
            "issuer.exmaple.org",
            (
                'policy.yaml:11: the settings have no issuer "https://issuer.exmaple.org"; '
                'did you mean "https://issuer.example.org"?'
            ),
        ),
        (
            "spiffe://example.org",
            "spiffe://exmaple.org",
            'policy.yaml:12: the settings have no trust domain "exmaple.org"; did you mean "example.org"?',
        ),
        (
            "spiffe://example.org/ns/shop/*",
            "dns:shop.example.org",
            'policy.yaml:12: certificates named by "dns" are not accepted; add it to authentication.certificate_names',
        ),
        (
            "https://issuer.example.org",
            "api-key",
            'policy.yaml:11: the settings have no issuer "api-key"; known: https://issuer.example.org',
        ),
    ],
)
def test_principals_that_the_settings_do_not_know_are_told(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    load(write(tmp_path, SOUND)).check(KNOWN)
    found = load(write(tmp_path, SOUND.replace(right, wrong)))
    with pytest.raises(ConfigurationError) as caught:
        found.check(KNOWN)
    assert [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [told]


def test_what_the_settings_accept_besides_is_known(tmp_path: Path) -> None:
    text = SOUND.replace("spiffe://example.org/ns/shop/*", "dns:shop.example.org").replace(
        "https://issuer.example.org", "api-key"
    )
    load(write(tmp_path, text)).check(KNOWN._replace(other_names=["dns:"], issuers=["api-key"]))


@pytest.mark.parametrize(
    ("written", "expires_at_seconds"),
    [
        ("2030-01-01", 1_893_456_000),
        ("2030-01-01T00:00:00Z", 1_893_456_000),
        ("2030-01-01T01:00:00+01:00", 1_893_456_000),
        ('"2030-01-01T00:00:01Z"', 1_893_456_001),
    ],
)
def test_a_binding_ends_at_a_day_or_a_moment(tmp_path: Path, written: str, expires_at_seconds: float) -> None:
    found = load(write(tmp_path, SOUND + f"    expires: {written}\n"))
    assert {entry.expires_at_seconds for entry in entries_of(found)} == {expires_at_seconds}


@pytest.mark.parametrize("written", ["2030-01-01T00:00:00", "next year", "2030-13-01", "0", "true"])
def test_an_end_that_could_be_meant_otherwise_is_refused(tmp_path: Path, written: str) -> None:
    [told] = problems(tmp_path, SOUND + f"    expires: {written}\n")
    assert told.startswith("policy.yaml")
    assert "expires" in told or "month must be in 1..12" in told


def test_names_of_bindings_are_their_own(tmp_path: Path) -> None:
    second = "  - {name: ours, role: reader, principals: [{workload: spiffe://example.org/a}]}\n"
    load(write(tmp_path, SOUND + second))
    [told] = problems(tmp_path, SOUND + second + second)
    assert 'bindings[2] has the name "ours", as bindings[1] has; give it one of its own' in told


def test_a_policy_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none.yaml: cannot be read"):
        document.load(tmp_path / "none.yaml")
