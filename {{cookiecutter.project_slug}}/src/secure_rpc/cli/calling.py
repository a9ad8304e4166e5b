"""Calls from the command line: any method of the service, in JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health
from grpc_status import rpc_status
from rich.console import Console

from secure_rpc.chain import CORRELATION_ID_KEY
from secure_rpc.client import connect
from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.dev.setup import DevelopmentFiles
from secure_rpc.redaction import redacted
from secure_rpc.token_sources import TokenSource

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Ask:
    """What to call, with what, and where."""

    method: MethodDescriptor
    data: tuple[str, ...]  # JSON
    target: str
    audience: str = ""  # the service's name, for calls that are signed


def health_methods() -> dict[str, MethodDescriptor]:
    """Return the methods of gRPC's health service, which every server has, by path."""
    service = descriptor_pool.Default().FindServiceByName(health.SERVICE_NAME)
    return {f"/{health.SERVICE_NAME}/{method.name}": method for method in service.methods}


def show_methods(methods: Mapping[str, MethodDescriptor]) -> None:
    """Print what can be called."""
    for path, method in methods.items():
        request = ("stream " if method.client_streaming else "") + (method.input_type.name or "")
        reply = ("stream " if method.server_streaming else "") + (method.output_type.name or "")
        out.print(f"{path}  ({request}) -> {reply}", markup=False)


def find(methods: Mapping[str, MethodDescriptor], name: str) -> MethodDescriptor:
    """Return a method by its name or path.

    Raises:
        ConfigurationError: there is none, or several.
    """
    found = [method for path, method in methods.items() if name in {path, method.name}]
    if len(found) != 1:
        known = [method.name for method in methods.values()]
        raise ConfigurationError(f'there is no method "{name}"; {did_you_mean(name, known)}')
    return found[0]


async def call(ask: Ask, files: DevelopmentFiles, token: TokenSource | None) -> int:
    """Make a call, print what comes; return the status code as an exit code."""
    method = ask.method
    if len(ask.data) > 1 and not method.client_streaming:
        raise ConfigurationError(f"{method.name} takes one request, but --data was given {len(ask.data)} times")
    requests = [_parse(method, text) for text in ask.data or ("{}",)]
    async with connect(
        ask.target,
        certificate_file=files.client_certificate,
        key_file=files.client_key,
        ca_file=files.ca_certificate,
        services=[method.containing_service],
        token=token,
        audience=ask.audience,
    ) as channel:
        try:
            async for reply in replies(channel, method, requests):
                out.print(json.dumps(redacted(reply), indent=2), markup=False)
        except grpc.aio.AioRpcError as error:
            _show(error)
            return int(error.code().value[0])
    return 0


async def replies(channel: grpc.aio.Channel, method: MethodDescriptor, requests: list[Message]) -> AsyncIterator[Any]:
    """Yield what a method of any kind answers."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    multi_callable = getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    made = multi_callable(requests if method.client_streaming else requests[0])
    if method.server_streaming:
        async for reply in made:
            yield reply
    else:
        yield await made


def _parse(method: MethodDescriptor, text: str) -> Message:
    try:
        return json_format.Parse(text, message_factory.GetMessageClass(method.input_type)())
    except json_format.ParseError as error:
        raise ConfigurationError(f"--data {text!r} is no {method.input_type.name}: {error}") from None


def _show(error: grpc.aio.AioRpcError) -> None:
    err.print(f"{error.code().name}: {error.details()}", style="red", markup=False)
    status = rpc_status.from_call(cast("Any", error))
    for packed in status.details if status else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            detail = kind()
            if packed.Is(kind.DESCRIPTOR) and packed.Unpack(detail):
                text = json_format.MessageToDict(detail)
                err.print(f"  {kind.DESCRIPTOR.name}: {text}", markup=False)
    correlation_id = dict(error.trailing_metadata() or ()).get(CORRELATION_ID_KEY)
    if correlation_id:
        err.print(f"  {CORRELATION_ID_KEY}: {correlation_id!s}", markup=False)
    sys.stderr.flush()
