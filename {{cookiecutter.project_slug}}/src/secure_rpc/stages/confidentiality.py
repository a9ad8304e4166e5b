"""Sensitive fields arrive encrypted, and leave so: whoever ends TLS on the way sees and changes nothing of them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.confidential import HEADER, VERSION, EncryptedFields, FieldError, Keyring, request_of, response_of
from secure_rpc.configuration import ConfigurationError
from secure_rpc.sensitive import has_sensitive, is_sensitive


class Confidentiality:
    """Decrypt requests before anything looks at them, encrypt responses where the caller can read them or must.

    Args:
        keyring: None where nothing is encrypted.
        mode: whether plain text is taken, and given to callers that do not ask for more.
    """

    def __init__(self, keyring: Keyring | None, mode: EncryptedFields) -> None:
        self._keyring = keyring
        self._mode = mode

    def bind(self, method: Method) -> Middleware | None:
        """Guard the methods that have sensitive fields.

        Raises:
            ConfigurationError: a field is marked that cannot be encrypted, or that others show.
        """
        descriptor, keyring, mode = method.descriptor, self._keyring, self._mode
        if descriptor is None:
            return None
        asks, answers = has_sensitive(descriptor.input_type), has_sensitive(descriptor.output_type)
        tenant_field = method.contract.tenant_field
        if tenant_field and is_sensitive(descriptor.input_type.fields_by_name[tenant_field]):
            raise ConfigurationError(
                f'{method.path}: the tenant_field "{tenant_field}" is sensitive, but is read before it is decrypted; '
                "keep one of the two"
            )
        if keyring is None or not (asks or answers):
            return None
        asked, answered = request_of(method.path), response_of(method.path)

        def decrypt(message: Any) -> None:
            try:
                keyring.decrypt(message, asked, mode)
            except FieldError as error:
                raise errors.InvalidArgument(str(error), reason=error.reason) from None

        def sealed(message: Any) -> Any:
            copy = type(message)()
            copy.CopyFrom(message)  # the handler may keep its own
            keyring.encrypt(copy, answered)
            return copy

        def protect(call: Call, proceed: Proceed) -> Awaitable[None]:
            if asks:
                call.unseal_requests(decrypt)
            if answers and (mode is EncryptedFields.REQUIRED or call.header(HEADER) == VERSION):
                call.seal = sealed
            return proceed(call)

        return protect
