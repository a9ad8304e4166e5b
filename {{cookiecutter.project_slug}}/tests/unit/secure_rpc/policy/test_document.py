"""A policy is read whole, or each thing that is wrong with it is told by file, line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy import document
from secure_rpc.policy.document import Known, load, permissions_of

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


def test_a_policy_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none.yaml: cannot be read"):
        document.load(tmp_path / "none.yaml")
