"""Who calls: connections with a certificate, and what each call shows."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from secure_rpc import event_engine
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.loading.mix import BAD_TOKEN, NO_TOKEN, STRANGER, Act
from secure_rpc.stages.replay import NONCE_KEY, TIME_KEY
from secure_rpc.tls import client_credentials
from secure_rpc.tls.client_credentials import ClientCertificate

Metadata = tuple[tuple[str, str], ...]
NONCE_BYTES = 16
NO_RETRIES = (
    ("grpc.enable_retries", 0),  # each call is one call, and its refusal is counted
    ("grpc.use_local_subchannel_pool", 1),  # or all channels would share a connection
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class Where:
    """The service that is called, and the files that are shown to it."""

    target: str  # "host:port"
    certificate_file: Path
    key_file: Path
    ca_file: Path
    server_name: str = ""  # the name in the server's certificate, where the target does not say it

    def certificate(self) -> ClientCertificate:
        """Return what is shown and trusted.

        Raises:
            ConfigurationError: a file cannot be read, or is no good.
        """
        return client_credentials.load(self.certificate_file, self.key_file, self.ca_file)

    def open_channel(self, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
        """Return a channel with a connection of its own, on which no call is made again."""
        event_engine.keep()
        name = [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []
        return grpc.aio.secure_channel(self.target, credentials, options=[*NO_RETRIES, *name])


@dataclass(frozen=True, slots=True)
class DevelopmentIdentities:
    """What signs anew for each caller; there is such a thing in development alone."""

    issuer: TokenIssuer
    authority: Authority
    caller: Caller
    trust_domain: str

    def tokens(self, count: int, prefix: str) -> list[str]:
        """Return tokens of as many principals that may do what the caller may."""
        subjects = [f"{self.caller.subject}-{prefix}-{number}" for number in range(count)]
        return [self.issuer.token(self.caller.model_copy(update={"subject": subject})) for subject in subjects]

    def stranger(self) -> str:
        """Return the token of somebody who has no permission."""
        return self.issuer.token(self.caller.model_copy(update={"subject": "a-stranger", "groups": ()}))

    def credentials(self) -> grpc.ChannelCredentials:
        """Return a certificate that nobody has shown before."""
        leaf = self.authority.issue(client_request("developer", self.trust_domain))
        return grpc.ssl_channel_credentials(self.authority.certificate_pem, leaf.key_pem, leaf.certificate_pem)


class Proofs:
    """What calls show besides the certificate.

    Args:
        tokens: of those who may call, taken in turn; none where the certificate alone counts.
        stranger: the token of somebody who has no permission; "" where there is none.
    """

    def __init__(self, tokens: Sequence[str], stranger: str = "") -> None:
        self._tokens = list(tokens) or [""]
        self._stranger = stranger
        self._next = 0

    def of(self, act: Act) -> Metadata:
        """Return what a call shows."""
        if act.public:
            return ()
        token = self._token(act.caller)
        metadata: Metadata = (("authorization", f"Bearer {token}"),) if token else ()
        return (*metadata, *once()) if act.replay_protected else metadata

    def _token(self, caller: str) -> str:
        if caller == NO_TOKEN:
            return ""
        if caller == STRANGER:
            return self._stranger
        self._next = (self._next + 1) % len(self._tokens)
        token = self._tokens[self._next]
        return altered(token) if caller == BAD_TOKEN else token


def once() -> Metadata:
    """Return what shows that a call is not made a second time."""
    return ((NONCE_KEY, secrets.token_urlsafe(NONCE_BYTES)), (TIME_KEY, f"{time.time():.6f}"))


def altered(token: str) -> str:
    """Return a token with another signature."""
    body, dot, signature = token.rpartition(".")
    return f"{body}{dot}{'B' if signature[:1] == 'A' else 'A'}{signature[1:]}"


@asynccontextmanager
async def channels(open_: Callable[[], grpc.aio.Channel], count: int) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Open channels, each with a connection, and close them afterwards."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_()) for _ in range(count)]


def read_tokens(file: Path) -> list[str]:
    """Return the tokens of a file, one a line.

    Raises:
        ConfigurationError: there is none in it.
    """
    try:
        found = file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None
    if not found:
        raise ConfigurationError(f"{file} has no token; each stands on a line")
    return found
