"""Sensitive fields, from the client's side: encrypted in requests, decrypted in responses, and plain in neither."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from secure_rpc.confidential import EncryptedFields, FieldError, Keyring, request_of, response_of
from secure_rpc.configuration import ConfigurationError
from secure_rpc.sensitive import has_sensitive

logger = logging.getLogger(__name__)


class FieldEncryption:
    """Encrypts and decrypts the sensitive fields of the calls of a channel.

    Args:
        services: those that will be called.
        keyring_file: that of the servers; None where nothing is encrypted.

    Raises:
        ConfigurationError: the keyring is missing or wrong, or a field is marked that cannot be encrypted.
    """

    def __init__(self, services: Iterable[ServiceDescriptor], keyring_file: Path | None) -> None:
        self._keyring = Keyring(keyring_file, _told) if keyring_file else None
        self._methods: dict[str, MethodDescriptor] = {
            f"{service.full_name}/{method.name}": method
            for service in (services if self._keyring else ())
            for method in service.methods
            if has_sensitive(method.input_type) or has_sensitive(method.output_type)
        }
        self.methods = frozenset(self._methods)  # as "package.Service/Method"

    def reload(self) -> None:
        """Read the keyring again."""
        if self._keyring is not None:
            self._keyring.reload()

    def adapt(self, said: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments by which gRPC's callable is made, with what encrypts and decrypts among them."""
        method = self._methods.get(said[0].lstrip("/"))
        if method is None or self._keyring is None:
            return said, named
        path = "/" + said[0].lstrip("/")
        names = ("request_serializer", "response_deserializer")
        given = {**named, **dict(zip(names, said[1:], strict=False))}
        serialize, deserialize = (given.get(name) for name in names)
        if serialize and has_sensitive(method.input_type):
            given["request_serializer"] = _encrypting(self._keyring, serialize, request_of(path))
        if deserialize and has_sensitive(method.output_type):
            given["response_deserializer"] = _decrypting(self._keyring, deserialize, response_of(path))
        return (said[0], *(given.pop(name) for name in names[: len(said) - 1]), *said[3:]), given


def _encrypting(keyring: Keyring, serialize: Callable[[Any], bytes], where: str) -> Callable[[Any], bytes]:
    def encrypt(message: Any) -> bytes:
        copy = type(message)()
        copy.CopyFrom(message)  # the caller goes on with its own
        keyring.encrypt(copy, where)
        return serialize(copy)

    return encrypt


def _decrypting(keyring: Keyring, deserialize: Callable[[bytes], Any], where: str) -> Callable[[bytes], Any]:
    def decrypt(raw: bytes) -> Any:
        message = deserialize(raw)
        try:  # plain text: someone has taken our wish out of the call
            keyring.decrypt(message, where, EncryptedFields.REQUIRED)
        except FieldError as error:  # gRPC gives the caller None in place of the response
            logger.error("a response is withheld from its caller: %s", error)  # noqa: TRY400  # as gRPC does, besides
            raise
        return message

    return decrypt


def _told(error: ConfigurationError | None) -> None:
    if error is not None:
        logger.error("the keyring is left as it was: %s", error)
