"""What an edge is told is refused where it is wrong, with place and remedy; what is right is taken as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from secure_rpc.configuration import ConfigurationError
from secure_rpc.edge.values import load

PAIR = {"certificate_file": "tls.crt", "key_file": "tls.key", "watched_folder": "."}
EDGE: dict[str, Any] = {
    "settings": "config/dev.yaml",
    "listen": "127.0.0.1:8443",
    "probes": "127.0.0.1:8480",
    "admin_socket": "admin.sock",
    "service": "orders:50051",
    "service_id": "spiffe://example.org/service/orders",
    "public": PAIR,
    "workload": PAIR,
    "authority": {"ca_file": "ca.crt", "watched_folder": "."},
    "secrets_folder": "secrets",
    "descriptors_file": "image.binpb",
}


def written(tmp_path: Path, **changes: Any) -> Path:
    file = tmp_path / "values.yaml"
    told = {"version": 1, "services": ["shop.v1.Orders"], "edges": {"dev": {**EDGE, **changes}}}
    file.write_text(yaml.safe_dump(told), encoding="utf-8")
    return file


def test_an_edge_is_found_by_its_name(tmp_path: Path) -> None:
    values = load(written(tmp_path))
    assert values.edge("dev").service == "orders:50051"
    with pytest.raises(ConfigurationError, match='there is no edge "def"; did you mean "dev"'):
        values.edge("def")


@pytest.mark.parametrize(
    "origin",
    ["*", "https://*.example.org", "http://app.example.org", "https://app.example.org/", "app.example.org", "null", ""],
)
def test_an_origin_that_no_browser_sends_or_that_is_many_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ConfigurationError, match="write scheme, host and, if it is not 443, port"):
        load(written(tmp_path, origins=[origin]))


def test_an_origin_may_have_a_port(tmp_path: Path) -> None:
    origins = ("https://app.example.org", "https://localhost:8443")
    assert load(written(tmp_path, origins=list(origins))).edge("dev").origins == origins


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("listen", "8443", "write a host and a port"),
        ("service", "https://orders:50051", "write a host and a port"),
        ("service_id", "orders", "a SPIFFE ID begins with spiffe://"),
        ("keys", {"https://i.example": {"jwks_url": "http://i.example/jwks"}}, "https"),
        ("rate", {"per_second": 0}, "greater than 0"),
        ("originz", [], 'did you mean "origins"'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, key: str, value: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        load(written(tmp_path, **{key: value}))
    assert re.search(rf'values\.yaml:[0-9]+: "edges\.dev\.{key}', str(refused.value))


def test_a_file_that_is_no_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("- 1\n")
    with pytest.raises(ConfigurationError, match="is no map"):
        load(tmp_path / "values.yaml")
