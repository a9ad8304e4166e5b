"""Where the store is that the replicas share, and how a connection to it is made sure."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from secure_rpc.configuration import NOT_SHOWN, ConfigurationError, Section
from secure_rpc.state.embedded import SOCKET

DEFAULT_PORT = 6379
MAX_SOCKET_BYTES = 100  # some systems have no more


class State(Section):
    """What replicas share, in Redis or Valkey."""

    redis_url: str = ""  # rediss://host:port/database; redis:// without TLS; unix:///path of a socket
    embedded: bool = False  # in place of redis_url: a Valkey server of the service's own, for one machine
    folder: Path | None = None  # where that keeps what it holds
    allow_plaintext: bool = False  # true lets redis:// leave this machine: others may read, and write revocations
    ca_file: Path | None = None  # the CAs that vouch for the store, and no others; none for those of the system
    certificate_file: Path | None = None  # ours, where the store asks for one
    key_file: Path | None = None
    username: str = ""  # of the store's ACL
    password_file: Path | None = None  # read anew for each connection
    timeout_seconds: float = Field(default=0.2, gt=0, le=10)  # to connect, and for one answer
    key_prefix: str = ""  # what all keys begin with, in braces; the service's name if empty
    required_for_readiness: bool = False  # true takes a replica out of service that cannot reach the store

    @field_validator("redis_url")
    @classmethod
    def _leads_there(cls, url: str) -> str:
        if not url:
            return url
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018  # reading it is what refuses a wrong one
        except ValueError:
            raise PydanticCustomError(NOT_SHOWN, "it is no URL; write one such as rediss://redis:6379") from None
        if "@" in url:
            raise PydanticCustomError(
                NOT_SHOWN, "no user and no password in it; use state.username and state.password_file"
            )
        if parts.scheme == "unix":
            if parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
                raise ValueError('write the path of a socket with all three slashes, "unix:///run/valkey/valkey.sock"')
            return url
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError('write it as "rediss://redis:6379", or with the number of a database, "rediss://redis/1"')
        if not (parts.path.strip("/") or "0").isdecimal():
            raise ValueError('what follows the host is the number of a database, as in "rediss://redis/1"')
        return url

    @field_validator("key_prefix")
    @classmethod
    def _without_braces(cls, prefix: str) -> str:
        if set(prefix) & set("{}"):
            raise ValueError("braces are set around it: they keep all keys in one slot of a cluster; leave them out")
        return prefix

    @model_validator(mode="after")
    def _is_sound(self) -> State:
        if self.embedded == bool(self.redis_url):
            raise ValueError('either "embedded: true" or "redis_url" says where the store is, and not both')
        if self.embedded != (self.folder is not None):
            raise ValueError('"embedded: true" and "folder" come together, as in "folder: .dev/state"')
        if self.embedded and (self.username or self.password_file):
            raise ValueError(
                '"username" and "password_file" go with "redis_url"; who may use the folder may use the store'
            )
        if self.socket is not None and len(str(self.socket).encode()) > MAX_SOCKET_BYTES:
            raise ValueError(f"the path of a socket has {MAX_SOCKET_BYTES} bytes at most; choose a shorter one")
        if not (self.tls or self.allow_plaintext or self.is_loopback):
            raise ValueError(
                '"redis_url" leaves this machine without TLS; write rediss://, or set "allow_plaintext" where the '
                "network itself encrypts"
            )
        if not self.tls and (self.ca_file or self.certificate_file or self.key_file):
            raise ValueError('"ca_file", "certificate_file" and "key_file" go with rediss://')
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError('"certificate_file" and "key_file" come together')
        if self.username and self.password_file is None:
            raise ValueError('"username" goes with "password_file"')
        return self

    @property
    def parts(self) -> SplitResult:
        """Return the URL, taken apart."""
        return urlsplit(self.redis_url)

    @property
    def socket(self) -> Path | None:
        """Return the Unix socket of the store, none where it is on a network."""
        if self.folder is not None:
            return self.folder / SOCKET
        return Path(self.parts.path) if self.parts.scheme == "unix" else None

    @property
    def tls(self) -> bool:
        """Tell whether TLS is spoken."""
        return self.parts.scheme == "rediss"

    @property
    def is_loopback(self) -> bool:
        """Tell whether the store is on this machine; a name other than "localhost" may be anywhere."""
        if self.socket is not None:
            return True
        host = self.parts.hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def address(self) -> tuple[str, int, int]:
        """Return host, port and database."""
        return self.parts.hostname or "", self.parts.port or DEFAULT_PORT, int(self.parts.path.strip("/") or "0")


class TlsFiles:
    """Make what TLS is spoken by, anew when one of its files has changed.

    redis-py's own would believe the CAs of the system beside those of the file.

    Args:
        settings: name the files.

    Raises:
        ConfigurationError: a file cannot be used.
    """

    def __init__(self, settings: State) -> None:
        self._ca_file = settings.ca_file
        self._certificate = (settings.certificate_file, settings.key_file)
        self._signature: tuple[object, ...] = ()
        try:
            self._context = self.context()
        except OSError as error:  # an SSLError is one
            raise ConfigurationError(
                f"state: ca_file, certificate_file or key_file cannot be used ({error}); check them"
            ) from None

    def context(self) -> ssl.SSLContext:
        """Return it.

        Raises:
            OSError: a file cannot be used.
        """
        files = [file for file in (self._ca_file, *self._certificate) if file is not None]
        signature = ("made", *((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in map(Path.stat, files)))
        if signature != self._signature:
            context = ssl.create_default_context(cafile=self._ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            certificate_file, key_file = self._certificate
            if certificate_file is not None:
                context.load_cert_chain(certificate_file, key_file)
            self._context, self._signature = context, signature
        return self._context


def read_password(file: Path) -> str:
    """Return the password in a file, without the line's end.

    Raises:
        OSError: it cannot be read, or is empty.
    """
    try:
        password = file.read_text(encoding="utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise OSError(f"{file} is no UTF-8") from None
    if not password:
        raise OSError(f"{file} is empty")
    return password
