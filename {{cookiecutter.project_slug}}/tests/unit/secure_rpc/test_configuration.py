"""What a person wrote is read with its places, and a mistake is told so that it can be mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError, YamlDocument, did_you_mean, read_yaml

POLICY = """\
# who may do what
roles:
  reader:
    permissions:
      - orders.read
      - orders.list
  writer: {permissions: [orders.write]}
bindings: []
"""


def read(folder: Path, text: str | bytes) -> YamlDocument:
    path = folder / "policy.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def problem(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, text)
    [told] = caught.value.problems
    return told.removeprefix(f"{folder / 'policy.yaml'}:")


def test_a_document_is_read_as_plain_data(tmp_path: Path) -> None:
    permissions = {
        "reader": {"permissions": ["orders.read", "orders.list"]},
        "writer": {"permissions": ["orders.write"]},
    }
    assert read(tmp_path, POLICY).data == {"roles": permissions, "bindings": []}


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("roles",), 2),
        (("roles", "reader"), 3),
        (("roles", "reader", "permissions", 0), 5),
        (("roles", "reader", "permissions", 1), 6),
        (("roles", "writer", "permissions", 0), 7),
        (("bindings",), 8),
        (("roles", "reader", "permissions", 9), 4),  # the nearest there is
        (("roles", "nobody", "permissions"), 2),
        (("nothing",), 2),
        ((), 2),
    ],
)
def test_each_key_has_its_line_and_what_is_missing_that_of_its_parent(
    tmp_path: Path, location: tuple[str | int, ...], line: int
) -> None:
    assert read(tmp_path, POLICY).place(location) == f"{tmp_path / 'policy.yaml'}:{line}"


@pytest.mark.parametrize("text", ["", "null\n", "# nothing but a comment\n"])
def test_an_empty_document_is_an_empty_map(tmp_path: Path, text: str) -> None:
    document = read(tmp_path, text)
    assert not document.data
    assert document.place(("roles",)).endswith(":1")


@pytest.mark.parametrize(
    ("text", "line", "key", "first"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a", 1),
        ("roles:\n  reader: 1\n  reader: 2\n", 3, "reader", 2),
        ("- {a: 1}\n- {b: 1, b: 2}\n", 2, "b", 2),
        ('a: 1\n"a": 2\n', 2, "a", 1),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(
    tmp_path: Path, text: str, line: int, key: str, first: int
) -> None:
    assert problem(tmp_path, text) == f'{line}: the key "{key}" stands twice, first in line {first}; keep one'


def test_the_same_key_in_two_maps_is_fine(tmp_path: Path) -> None:
    assert read(tmp_path, "a: {x: 1}\nb: {x: 1}\n").data == {"a": {"x": 1}, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [1, 2\nb: 3\n", 2), ("a: 1\n\tb: 2\n", 2), ("a: 1\n---\nb: 2\n", 2), ("a: *nowhere\n", 1), ("a: 'open\n", 2)],
)
def test_what_is_not_yaml_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    assert problem(tmp_path, text).startswith(f"{line}: not valid YAML: ")


@pytest.mark.parametrize("text", ["a: !!python/object/apply:os.getpid []\n", "a: !secret x\n", "{[1]: 2}\n"])
def test_yaml_that_is_no_plain_data_is_refused(tmp_path: Path, text: str) -> None:
    assert problem(tmp_path, text).startswith("1: not valid YAML: ")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read .* check the path"):
        read_yaml(tmp_path / "nowhere.yaml")
    assert "cannot be read" in problem(tmp_path, b"a: \xff\n")


def test_several_problems_are_told_one_a_line() -> None:
    error = ConfigurationError("first", "second")
    assert (error.problems, str(error)) == (("first", "second"), "first\nsecond")


@pytest.mark.parametrize(
    ("name", "known", "remedy"),
    [
        ("permisions", ["permissions", "public"], 'did you mean "permissions"?'),
        ("zzz", ["b", "a"], "known: a, b"),
        ("zzz", [], "known: none"),
    ],
)
def test_a_name_that_is_not_known_gets_a_remedy(name: str, known: list[str], remedy: str) -> None:
    assert did_you_mean(name, known) == remedy


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a\n  b: *a\n", "&a [1, [*a]]\n"])
def test_a_document_that_holds_itself_is_refused(tmp_path: Path, text: str) -> None:
    assert problem(tmp_path, text) == "1: refers to itself; write out what is meant"
