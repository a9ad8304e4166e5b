"""Whether a principal may make a call for a tenant: one question to a policy, asked as the server asks it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import Message

from secure_rpc.call import Metadata, Method, Principal
from secure_rpc.configuration import did_you_mean
from secure_rpc.policy.engine import Engine

PUBLIC = "the method is public"
_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')


class Question(NamedTuple):
    """A call that could be made."""

    principal: Principal
    method: Method
    request: Message | None = None  # of a stream: one of its messages; None where the method has no proto
    metadata: Metadata = ()

    @property
    def tenant(self) -> str:
        """Return the tenant that the request names, "" where the method has none."""
        field = self.method.contract.tenant_field
        return str(getattr(self.request, field)) if field and self.request is not None else ""


class Answer(NamedTuple):
    """What the server would say."""

    allowed: bool
    rule: str  # by which, or why not


def ask(engine: Engine, question: Question) -> Answer:
    """Return what a server with this policy would answer: the decision, made with the request, then the tenant."""
    contract = question.method.contract
    if contract.public:
        return Answer(allowed=True, rule=PUBLIC)
    decision = engine.decide(question.principal, question.method, question.metadata, question.request)
    if not decision.allowed or not contract.tenant_field:
        return Answer(decision.allowed, decision.rule)
    if not question.tenant:
        return Answer(allowed=False, rule="the request names no tenant")
    if not decision.covers(question.tenant):
        return Answer(allowed=False, rule=f'what {decision.rule} gives is not for the tenant "{question.tenant}"')
    return Answer(allowed=True, rule=decision.rule)


def method_named(name: str, methods: Iterable[Method]) -> Method:
    """Return a method by its name, such as "GetOrder", or by its path.

    Raises:
        ValueError: there is none, or there are several.
    """
    among = tuple(methods)
    found = [method for method in among if name in {method.path, short_name(method)}]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f'several methods are named "{name}"; give the path: {" or ".join(m.path for m in found)}')
    known = [method.path if name.startswith("/") else short_name(method) for method in among]
    raise ValueError(f'there is no method "{name}"; {did_you_mean(name, known)}')


def short_name(method: Method) -> str:
    """Return "GetOrder" of "/package.OrderService/GetOrder"."""
    return method.path.rpartition("/")[2]


def display_names(methods: Sequence[Method]) -> dict[str, str]:
    """Return what to call methods, by path: the short name, or the path where two have the same."""
    names = [short_name(method) for method in methods]
    return {
        method.path: name if names.count(name) == 1 else method.path
        for method, name in zip(methods, names, strict=True)
    }


def request_of(method: Method, fields: Mapping[str, Any] | None, tenant: str = "") -> Message | None:
    """Return the request that a call of the method is asked about.

    Args:
        method: whose request it is.
        fields: of the request, as in its JSON form; None for those that are not set.
        tenant: put into the field that names whose data is touched.

    Raises:
        ValueError: the request has no such fields, or names the tenant twice, or names none and needs one.
    """
    if method.descriptor is None:
        if fields is not None:
            raise ValueError(f"{method.path} has no proto: no fields of its request are known")
        return None
    request: Message = message_factory.GetMessageClass(method.descriptor.input_type)()
    try:
        json_format.ParseDict(dict(fields or {}), request)
    except (json_format.ParseError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"is no {request.DESCRIPTOR.full_name}: {_complaint(str(error))}") from None
    field = method.contract.tenant_field
    if field and tenant:
        if getattr(request, field):
            raise ValueError(f'the request has a "{field}" of its own; name the tenant once')
        setattr(request, field, tenant)
    if field and not getattr(request, field):
        raise ValueError(f"{short_name(method)} touches the data of a tenant; name one")
    return request


def metadata_of(entries: Mapping[str, str]) -> Metadata:
    """Return metadata as a call carries it: its names are in lower case."""
    return tuple((name.lower(), value) for name, value in entries.items())


def _complaint(text: str) -> str:
    if found := _UNKNOWN_FIELD.search(text):
        fields: Collection[str] = descriptor_pool.Default().FindMessageTypeByName(found[1]).fields_by_name
        return f'it has no field "{found[2]}"; {did_you_mean(found[2], fields)}'
    return text.splitlines()[0].rstrip(".") if text else "not its JSON form"
