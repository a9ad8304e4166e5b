"""What is called, how often, and by whom: the shares of the load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.loading.samples import Samples, path_of
from secure_rpc.v1 import access_pb2

ALLOWED = "allowed"
NO_TOKEN, BAD_TOKEN, STRANGER, OTHER_TENANT = "no-token", "bad-token", "stranger", "other-tenant"
REFUSED = {
    NO_TOKEN: "shows no token",
    BAD_TOKEN: "shows a token that somebody altered",
    STRANGER: "is known, and has no permission",
    OTHER_TENANT: "asks for data of a tenant that is not theirs",
}
HEALTH, WATCH = "health", "watch"
ANSWERED = frozenset({"OK", "OPEN", grpc.StatusCode.NOT_FOUND.name})  # the handler was reached
NOT_THEIRS = "a-tenant-of-nobody"
HEALTH_SHARE, REFUSED_SHARE = 10.0, 10.0  # of a hundred, where nothing else is said
CHECK_PATH, WATCH_PATH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"


@dataclass(frozen=True, slots=True)
class Act:
    """One sort of call."""

    path: str
    kind: str  # "unary", "client_stream", "server_stream" or "bidi_stream"
    caller: str  # "allowed", or one of those that are refused
    share: float
    request: bytes
    replay_protected: bool = False
    public: bool = False

    @property
    def name(self) -> str:
        """Return what it is called in a report."""
        method = self.path.rpartition("/")[2]
        if self.path in {CHECK_PATH, WATCH_PATH}:
            return f"Health {method}"
        return method if self.caller == ALLOWED else f"{method}, {self.caller}"


def shares(text: str) -> dict[str, float]:
    """Return what stands in a text such as "GetOrder=70,health=10,no-token=5".

    Raises:
        ConfigurationError: a part is no such thing.
    """
    found = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        try:
            found[name] = float(number or "1")
        except ValueError:
            raise ConfigurationError(f'--mix "{part}": is not name=share, such as health=10') from None
        if not 0 <= found[name] < float("inf"):
            raise ConfigurationError(f'--mix "{part}": a share is 0 or more')
    if not any(found.values()):
        raise ConfigurationError("--mix: all shares are 0; name what is to be called")
    return found


def usual(methods: Mapping[str, MethodDescriptor], *, changing: bool, can_sign: bool) -> dict[str, float]:
    """Return the mix that is driven where none is named.

    Args:
        methods: of the service, by path.
        changing: whether methods are called that may change what the service keeps.
        can_sign: whether there is an issuer to sign tokens of strangers.

    Raises:
        ConfigurationError: there is no method to call.
    """
    mine = [
        path for path, method in methods.items() if not is_signed(method) and (changing or is_without_effects(method))
    ]
    if not mine:
        raise ConfigurationError(
            "no method has idempotency_level = NO_SIDE_EFFECTS in its proto; name some by --mix, or say --changing"
        )
    found = dict.fromkeys(mine, (100 - HEALTH_SHARE - REFUSED_SHARE) / len(mine))
    found |= {HEALTH: HEALTH_SHARE / 2, WATCH: HEALTH_SHARE / 2}
    # whether somebody may have data of any tenant is for the policy to say, so OTHER_TENANT is for `--mix` to name
    callers = (NO_TOKEN, BAD_TOKEN, STRANGER)
    refused = [name for name in callers if _asked(name, methods, found, can_sign=can_sign) is not None]
    return found | dict.fromkeys(refused, REFUSED_SHARE / len(refused) if refused else 0.0)


def acts(
    mix: Mapping[str, float], methods: Mapping[str, MethodDescriptor], samples: Samples, *, can_sign: bool
) -> list[Act]:
    """Return what is to be called.

    Args:
        mix: shares, by the name of a method, its path, "health", "watch", or one of those that are refused.
        methods: of the service, by path.
        samples: requests.
        can_sign: whether there is an issuer to sign tokens of strangers.

    Raises:
        ConfigurationError: a name is none of these, or does not fit the service.
    """
    found = []
    for name, share in mix.items():
        if not share:
            continue
        if name == HEALTH:
            found.append(Act(CHECK_PATH, "unary", ALLOWED, share, b"", public=True))
        elif name == WATCH:
            found.append(Act(WATCH_PATH, "server_stream", ALLOWED, share, b"", public=True))
        elif name in REFUSED:
            asked = _asked(name, methods, mix, can_sign=can_sign)
            if asked is None:
                raise ConfigurationError(f"--mix {name}: this service and these credentials have nothing that fits")
            tenant = NOT_THEIRS if name == OTHER_TENANT else None
            found.append(_act(asked, name, share, samples.request_for(asked, tenant).SerializeToString()))
        else:
            method = _named(name, methods)
            if is_signed(method):
                raise ConfigurationError(f"--mix {name}: its calls are signed; load makes none of those")
            found.append(_act(method, ALLOWED, share, samples.request_for(method).SerializeToString()))
    return found


def turns(found: Sequence[Act]) -> Iterator[Act]:
    """Yield for ever what is called next: each as often as its share, and evenly spread."""
    total = sum(act.share for act in found)
    credit = [0.0] * len(found)
    while True:
        credit = [had + act.share for had, act in zip(credit, found, strict=True)]
        most = max(range(len(found)), key=credit.__getitem__)
        credit[most] -= total
        yield found[most]


def is_without_effects(method: MethodDescriptor) -> bool:
    """Tell whether a method changes nothing, as its proto says."""
    return bool(method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS)


def is_signed(method: MethodDescriptor) -> bool:
    """Tell whether callers have to sign each call."""
    return bool(_access(method).signed)


def kind_of(method: MethodDescriptor) -> str:
    """Return what kind of call it takes."""
    if method.client_streaming:
        return "bidi_stream" if method.server_streaming else "client_stream"
    return "server_stream" if method.server_streaming else "unary"


def _act(method: MethodDescriptor, caller: str, share: float, request: bytes) -> Act:
    access = _access(method)
    return Act(path_of(method), kind_of(method), caller, share, request, access.replay_protected, access.public)


def _asked(
    name: str, methods: Mapping[str, MethodDescriptor], mix: Mapping[str, float], *, can_sign: bool
) -> MethodDescriptor | None:
    """Return what those ask for who are refused: the first that fits, unary and of the mix if there is one."""
    guarded = [
        method
        for method in methods.values()
        if not _access(method).public and not is_signed(method) and _fits(name, method, can_sign=can_sign)
    ]
    mixed = [method for method in guarded if mix.get(method.name) or mix.get(path_of(method))]
    in_order = sorted(mixed or guarded, key=lambda method: kind_of(method) != "unary")
    return in_order[0] if in_order else None


def _fits(name: str, method: MethodDescriptor, *, can_sign: bool) -> bool:
    access = _access(method)
    if name == STRANGER:
        return can_sign and not access.any_caller
    return name != OTHER_TENANT or bool(access.tenant_field)


def _access(method: MethodDescriptor) -> access_pb2.Access:
    found: access_pb2.Access = method.GetOptions().Extensions[access_pb2.access]
    return found


def _named(name: str, methods: Mapping[str, MethodDescriptor]) -> MethodDescriptor:
    found = [method for path, method in methods.items() if name in {path, method.name}]
    if len(found) != 1:
        known = [*(method.name for method in methods.values()), HEALTH, WATCH, *REFUSED]
        raise ConfigurationError(f'--mix: there is no "{name}"; {did_you_mean(name, known)}')
    return found[0]
