"""A file of settings that is sound, with one that is another, and what is told of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from secure_rpc.configuration import ConfigurationError
from secure_rpc.settings import load

METHOD = "/a.B/C"
SOUND: dict[str, Any] = {
    "service": {"name": "orders"},
    "tls": {"certificate_file": "server.pem", "key_file": "server.key", "client_ca_file": "ca.pem"},
    "authentication": {
        "trust_domain": "example.org",
        "issuers": [{"issuer": "https://issuer.example.org", "jwks_file": "jwks.json", "audiences": ["orders"]}],
    },
    "authorization": {"policy_file": "policy.yaml", "contracts": {METHOD: {"public": True}}},
    "quotas": {"default": {"calls": 10}},
    "audit": {"file": "audit.log"},
}


def with_setting(place: str, value: Any) -> dict[str, Any]:
    """Return the sound settings with one that is another; its place is written with dots."""
    data: dict[str, Any] = copy.deepcopy(SOUND)
    *above, last = place.replace(METHOD, "METHOD").split(".")
    section: Any = data
    for part, after in zip(above, [*above, last][1:], strict=True):
        key = part.replace("METHOD", METHOD)
        empty: Any = [{}] if after == "0" else {}
        section = section[int(key)] if isinstance(section, list) else section.setdefault(key, empty)
    section[last] = value
    return data


def write(file: Path, data: dict[str, Any]) -> None:
    """Write settings into a file."""
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def problems(file: Path) -> list[str]:
    """Return what is told of a file that is refused, without its folder."""
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    return [told.replace(f"{file.parent}/", "") for told in caught.value.problems]
