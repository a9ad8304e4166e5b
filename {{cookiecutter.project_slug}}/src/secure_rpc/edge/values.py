"""What an edge is told, and nothing else tells it: `deploy/edge/values.yaml`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from secure_rpc.configuration import ConfigurationError, Section, did_you_mean, read_yaml
from secure_rpc.identity.issuer import HttpsUrl
from secure_rpc.spiffe import parse as parse_spiffe_id

FILE = Path("deploy/edge/values.yaml")

_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}", re.ASCII)
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})", re.ASCII)


def _is_an_address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("write a host and a port, such as 127.0.0.1:8443")
    return text


def _is_on_loopback(text: str) -> str:
    host, _ = host_and_port(_is_an_address(text))
    if not _LOOPBACK.fullmatch(host):
        raise ValueError("write an address of this machine alone, such as 127.0.0.1:8481: no TLS protects it")
    return text


def _is_an_origin(text: str) -> str:
    """Refuse what no browser sends as `Origin` (RFC 6454, section 6.2), such as a path or a star."""
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or text != f"https://{parts.netloc}" or "*" in text:
        raise ValueError("write scheme, host and, if it is not 443, port: https://app.example.org")
    return text


def _is_an_id(text: str) -> str:
    parse_spiffe_id(text)
    return text


Address = Annotated[str, AfterValidator(_is_an_address)]
LoopbackAddress = Annotated[str, AfterValidator(_is_on_loopback)]
Origin = Annotated[str, AfterValidator(_is_an_origin)]
SpiffeUri = Annotated[str, AfterValidator(_is_an_id)]
Positive = Annotated[int, Field(gt=0)]


class KeyPair(Section):
    """A certificate and its key, in a folder that is watched: what is new is taken up without a restart."""

    certificate_file: Path
    key_file: Path
    watched_folder: Path


class Bundle(Section):
    """The CAs that the service's certificate may come from."""

    ca_file: Path
    watched_folder: Path


class Keys(Section):
    """Where the edge fetches an issuer's keys, where that is another place than the service's settings name."""

    jwks_url: HttpsUrl
    ca_file: Path | None = None  # None: the CAs of the system


class Exchange(Section):
    """The process beside Envoy that exchanges callers' tokens for those of the service's own issuer."""

    listen: LoopbackAddress  # tokens travel there in plaintext
    audience: str = ""  # for which the new tokens are; "": the only one that the settings have
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 2.0  # of one exchange; a call waits no longer for it
    remembered_tokens: Positive = 10_000


class Rate(Section):
    """How many requests are let in before anything is known of who sends them."""

    per_second: Positive = 1000  # of all together, in one process
    burst: Positive = 2000
    per_address_per_second: Positive = 100
    per_address_burst: Positive = 200
    remembered_addresses: Positive = 10_000


class Limits(Section):
    """How much of one process callers can take."""

    connections: Positive = 10_000
    heap_bytes: Positive = 402_653_184  # below what the container may take
    buffer_bytes: Positive = 1_048_576  # of what one side has sent and the other has not yet taken
    stream_bytes: Annotated[int, Field(ge=65_535, le=16_777_216)] = 65_536  # the same, of one stream
    streams_per_connection: Positive = 100
    idle_connection_seconds: Positive = 900
    rest_body_bytes: Positive = 1_048_576  # of a REST call: it is held until it is a whole message


class Edge(Section):
    """One edge."""

    settings: Path  # of the service behind it: its issuers, audiences, methods and deadlines are not said twice
    listen: Address
    probes: Address  # plain HTTP: /healthz, /readyz and /metrics alone
    admin_socket: Path  # of Envoy itself; only who can write to its folder gets at it
    service: Address
    service_id: SpiffeUri  # the one name that the service's certificate must have
    public: KeyPair  # that browsers see
    workload: KeyPair  # by which the service knows the edge
    authority: Bundle
    secrets_folder: Path  # where this command's files on certificates are, when the edge runs
    descriptors_file: Path
    origins: tuple[Origin, ...] = ()  # whose pages may call, besides the edge's own
    page_folder: Path | None = None  # of files that are read at the start, for development; None: there is no page
    connect_to: tuple[Origin, ...] = ()  # where else the page may send requests: its provider of logins
    traces_to: Address | None = None  # a collector of spans on this machine or in this pod, by OTLP; None: none is kept
    trusted_hops: int = Field(default=0, ge=0)  # load balancers before the edge that add to X-Forwarded-For
    keys: dict[str, Keys] = Field(default_factory=dict)  # by issuer
    exchange: Exchange | None = None  # None: callers' tokens are passed on as they are
    rate: Rate = Rate()
    limits: Limits = Limits()

    @property
    def is_local(self) -> bool:
        """Tell whether nobody from elsewhere can call."""
        return self.listen.startswith("127.")


class Values(Section):
    """The whole file."""

    version: Literal[1]  # of this format
    services: tuple[str, ...] = Field(min_length=1)  # that are to be had through the edge; of others it knows nothing
    edges: dict[str, Edge] = Field(min_length=1)

    def edge(self, name: str) -> Edge:
        """Return an edge by its name.

        Raises:
            ConfigurationError: there is none of that name.
        """
        if name not in self.edges:
            raise ConfigurationError(f'there is no edge "{name}"; {did_you_mean(name, self.edges)}')
        return self.edges[name]


def load(path: Path) -> Values:
    """Read what edges are told.

    Raises:
        ConfigurationError: place and remedy of each thing that is wrong.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigurationError(f"{path}: is no map; docs/edge.md shows what goes into it")
    return document.validated(Values)


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of an address."""
    host, _, port = address.rpartition(":")
    return host, int(port)
