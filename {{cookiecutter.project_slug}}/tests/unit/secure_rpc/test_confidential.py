"""Encrypted fields: what comes back is what went in, and nothing else is believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from hypothesis import given
from hypothesis import strategies as st

from secure_rpc.confidential import (
    MAX_VALUES,
    EncryptedFields,
    FieldError,
    Keyring,
    KeyringFile,
    load,
    request_of,
    response_of,
    save,
)
from secure_rpc.configuration import ConfigurationError
from secure_rpc.sensitive import has_sensitive
from secure_rpc.v1 import access_pb2

from probe.v1 import probe_pb2 as pb
from support.secrets_kept import SECRETS, secret, write_keyring

HERE = request_of("/probe.v1.SecretService/Keep")
REQUIRED, OPTIONAL = EncryptedFields.REQUIRED, EncryptedFields.OPTIONAL


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return Keyring(write_keyring(tmp_path_factory.mktemp("keyring") / "keyring.yaml", "old", "new"))


def purses() -> st.SearchStrategy[pb.Purse]:
    return st.recursive(
        st.builds(pb.Purse, content=st.binary(max_size=40)),
        lambda inner: st.builds(pb.Purse, content=st.binary(max_size=40), inner=st.lists(inner, max_size=3)),
        max_leaves=5,
    )


@given(
    st.builds(
        pb.Secret,
        label=st.text(max_size=20),
        card=st.text(max_size=40),
        spare_card=st.none() | st.text(max_size=40),
        keys=st.lists(st.binary(max_size=40), max_size=3),
        purse=st.none() | purses(),
        purses=st.dictionaries(st.text(max_size=5), purses(), max_size=2),
    )
)
def test_what_is_decrypted_is_what_was_encrypted(keyring: Keyring, message: pb.Secret) -> None:
    travelling = pb.Secret.FromString(message.SerializeToString())
    keyring.encrypt(travelling, HERE)
    assert travelling.card.startswith("enc:v1:new:") == bool(message.card)
    assert travelling.label == message.label
    travelling = pb.Secret.FromString(travelling.SerializeToString())
    keyring.decrypt(travelling, HERE, REQUIRED)
    assert travelling == message


def test_nothing_secret_is_in_the_bytes_and_no_two_are_alike(keyring: Keyring) -> None:
    first, second = secret(), secret()
    keyring.encrypt(first, HERE)
    keyring.encrypt(second, HERE)
    assert not [each for each in SECRETS if each in first.SerializeToString()]
    assert first.card != second.card


def test_each_character_counts(keyring: Keyring) -> None:
    sealed = pb.Secret(card="4111")
    keyring.encrypt(sealed, HERE)
    for position, character in enumerate(sealed.card):
        for other in {"A", "B", "_", "!", "=", "ü", chr(ord(character) ^ 1)} - {character}:
            altered = pb.Secret(card=sealed.card[:position] + other + sealed.card[position + 1 :])
            with pytest.raises(FieldError):
                keyring.decrypt(altered, HERE, REQUIRED)
    for cut in range(len(sealed.card)):
        with pytest.raises(FieldError):
            keyring.decrypt(pb.Secret(card=sealed.card[: cut + 1]), HERE, REQUIRED) if cut + 1 < len(sealed.card) else (
                keyring.decrypt(pb.Secret(card=sealed.card + "A"), HERE, REQUIRED)
            )


def test_a_value_in_another_field_is_not_believed(keyring: Keyring) -> None:
    sealed = pb.Secret(card="4111")
    keyring.encrypt(sealed, HERE)
    with pytest.raises(FieldError, match=r"probe\.v1\.Secret\.spare_card: cannot be decrypted"):
        keyring.decrypt(pb.Secret(spare_card=sealed.card), HERE, REQUIRED)
    with pytest.raises(FieldError, match=r"probe\.v1\.Purse\.content: cannot be decrypted"):
        keyring.decrypt(pb.Secret(purse=pb.Purse(content=sealed.card.encode())), HERE, REQUIRED)


@pytest.mark.parametrize("elsewhere", [request_of("/probe.v1.SecretService/KeepOnce"), response_of(HERE[8:]), ""])
def test_a_value_in_another_method_or_on_the_way_back_is_not_believed(keyring: Keyring, elsewhere: str) -> None:
    sealed = pb.Secret(card="4111")
    keyring.encrypt(sealed, HERE)
    with pytest.raises(FieldError, match="cannot be decrypted"):
        keyring.decrypt(sealed, elsewhere, OPTIONAL)


def test_plain_text_is_taken_only_where_it_may_be(keyring: Keyring) -> None:
    keyring.decrypt(message := pb.Secret(card="4111"), HERE, OPTIONAL)
    assert message.card == "4111"
    with pytest.raises(FieldError, match="is not encrypted") as refused:
        keyring.decrypt(pb.Secret(card="4111"), HERE, REQUIRED)
    assert refused.value.reason == "FIELD_NOT_ENCRYPTED"
    keyring.decrypt(pb.Secret(label="only"), HERE, REQUIRED)


def test_a_message_can_have_so_many_encrypted_values_and_no_more(keyring: Keyring) -> None:
    most = pb.Secret(keys=[b"k"] * MAX_VALUES)
    keyring.encrypt(most, HERE)
    more = pb.Secret(keys=[*most.keys, most.keys[0]])
    keyring.decrypt(most, HERE, REQUIRED)
    assert most.keys == [b"k"] * MAX_VALUES
    works: list[Callable[[], None]] = [
        lambda: keyring.decrypt(more, HERE, OPTIONAL),
        lambda: keyring.encrypt(more, HERE),
    ]
    for work in works:
        with pytest.raises(FieldError, match=r"Secret\.keys: a message can have 1000 encrypted values") as refused:
            work()
        assert refused.value.reason == "FIELDS_TOO_MANY"
    keyring.decrypt(pb.Secret(keys=[b"plain"] * (MAX_VALUES + 1)), HERE, OPTIONAL)


def test_keys_are_rotated_and_a_removed_one_decrypts_no_more(tmp_path: Path) -> None:
    told: list[ConfigurationError | None] = []
    path = write_keyring(tmp_path / "keyring.yaml", "one")
    keyring = Keyring(path, told.append)
    sealed = pb.Secret(card="4111")
    keyring.encrypt(sealed, HERE)
    first = load(path).keys
    second = load(write_keyring(tmp_path / "other.yaml", "two")).keys
    save(path, KeyringFile(active="two", keys={**first, **second}))
    keyring.reload()
    keyring.decrypt(again := pb.Secret(card=sealed.card), HERE, REQUIRED)
    assert again.card == "4111"
    keyring.encrypt(again, HERE)
    assert again.card.startswith("enc:v1:two:")
    save(path, KeyringFile(active="two", keys=second))
    keyring.reload()
    with pytest.raises(FieldError):
        keyring.decrypt(pb.Secret(card=sealed.card), HERE, REQUIRED)
    path.write_text("active: none\nkeys: {}\n")
    keyring.reload()
    assert [error is None for error in told] == [True, True, False]
    keyring.decrypt(again, HERE, REQUIRED)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("active: a\nkeys: {b: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}", "not among the keys"),
        ("active: a\nkeys: {a: SECRETAAAAAA}", "a is not 32 bytes in base64"),
        ("active: a\nkeys: {a: 'SECRET!'}", "a is not 32 bytes in base64"),
        ("active: a\nkeys: {'a b': SECRET}", "a key id is not"),
        ("keys: {a: SECRET}", "is missing"),
        ("active: a\nkeys: {}", "keys"),
    ],
)
def test_a_wrong_keyring_is_refused_without_showing_a_key(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "keyring.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=problem) as refused:
        Keyring(tmp_path / "keyring.yaml")
    assert "SECRET" not in str(refused.value)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert write_keyring(tmp_path / "keyring.yaml", "one").stat().st_mode & 0o777 == 0o600


def test_a_field_that_cannot_be_encrypted_is_refused() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="odd.proto", package="odd", syntax="proto3")
    file.dependency.append("secure_rpc/v1/access.proto")
    number = file.message_type.add(name="Odd").field.add(name="amount", number=1, type=5, label=1)
    number.options.Extensions[access_pb2.sensitive] = True
    pool: Any = descriptor_pool.DescriptorPool()
    for known in (descriptor_pb2.DESCRIPTOR, access_pb2.DESCRIPTOR):
        pool.AddSerializedFile(known.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    with pytest.raises(ConfigurationError, match=r"odd\.Odd\.amount: is sensitive, but neither string nor bytes"):
        has_sensitive(pool.FindMessageTypeByName("odd.Odd"))
    assert not has_sensitive(pb.Ask.DESCRIPTOR)
    assert has_sensitive(pb.Purse.DESCRIPTOR)
