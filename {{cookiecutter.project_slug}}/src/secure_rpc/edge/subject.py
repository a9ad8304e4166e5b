"""What an edge stands before: its values, and of the service what a proxy has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from secure_rpc.edge.values import Edge
from secure_rpc.policy.export.common import TokenIssuer


class Exposed(NamedTuple):
    """A method that is to be had through the edge."""

    path: str
    is_public: bool  # whoever calls needs no token
    is_streaming: bool
    is_annotated: bool  # with google.api.http: it is to be had by REST, too


class Subject(NamedTuple):
    """An edge, and the service behind it."""

    edge: Edge
    services: Sequence[str]
    methods: Sequence[Exposed]
    issuers: Sequence[TokenIssuer]
    max_deadline_seconds: float  # of unary calls; 0: any
    max_metadata_bytes: int
    page: Mapping[str, Path]  # files by the paths under which they are to be had


def exposed(path: str, method: MethodDescriptor, *, is_public: bool) -> Exposed:
    """Return a method as the edge knows it."""
    return Exposed(
        path,
        is_public,
        is_streaming=bool(method.client_streaming or method.server_streaming),
        is_annotated=method.GetOptions().HasExtension(annotations_pb2.http),
    )


def page(folder: Path | None) -> dict[str, Path]:
    """Return the files of a page by the paths under which they are to be had, `/` for its index.html.

    Args:
        folder: that they are in; None where there is no page.
    """
    if folder is None:
        return {}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {"/" if path == folder / "index.html" else f"/{path.relative_to(folder).as_posix()}": path for path in files}
