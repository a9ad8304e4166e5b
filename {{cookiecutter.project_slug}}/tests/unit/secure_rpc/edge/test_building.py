"""Envoy's configuration says what the values say: who is spoken to, what streams may take, what no caller may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from secure_rpc.edge import building
from secure_rpc.edge.subject import page

from support.edges import ABOUT, EDGE, GET, WATCH, filters, manager, routes, subject


def test_it_is_the_same_each_time_and_written_where_it_has_changed(tmp_path: Path) -> None:
    files = building.built(subject(), "Built.")
    assert files == building.built(subject(), "Built.")
    assert len(building.write(files, tmp_path / "out")) == len(files)
    assert building.write(files, tmp_path / "out") == []
    (tmp_path / "out" / "public.yaml").write_text("")
    assert building.write(files, tmp_path / "out") == [tmp_path / "out" / "public.yaml"]
    assert all(text.startswith("# Built.\n") and yaml.safe_load(text) for text in files.values())


def test_a_stream_has_no_timeout_and_a_unary_call_has_one() -> None:
    watch, get = (routes(subject())[method.path]["route"] for method in (WATCH, GET))
    assert (watch["timeout"], watch["idle_timeout"]) == ("0s", "0s")
    assert set(watch["max_stream_duration"].values()) == {"0s"}
    assert "retry_policy" not in watch
    assert set(get["max_stream_duration"].values()) == {"305s"}
    assert get["retry_policy"]["retry_on"] == "connect-failure,refused-stream"


def test_all_but_public_methods_and_the_page_need_a_token() -> None:
    tokens = filters(subject(files={"/": Path("index.html")}))["jwt_authn"]
    assert [rule["match"] for rule in tokens["rules"]] == [{"path": ABOUT.path}, {"path": "/"}, {"prefix": "/"}]
    assert [bool(rule.get("requires")) for rule in tokens["rules"]] == [False, False, True]


def test_what_refuses_comes_after_what_makes_grpc_of_all() -> None:
    order = list(filters(subject()))
    assert order == ["cors", "rbac", "grpc_web", "grpc_json_transcoder", "local_ratelimit", "jwt_authn", "router"]
    assert list(filters(subject(ABOUT))) == ["cors", "grpc_web", "local_ratelimit", "jwt_authn", "router"]


def test_the_service_is_spoken_to_under_one_name() -> None:
    (service, *_) = building.bootstrap(subject())["static_resources"]["clusters"]
    tls = service["transport_socket"]["typed_config"]["common_tls_context"]
    (name,) = tls["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"]
    assert name == {"san_type": "URI", "matcher": {"exact": EDGE["service_id"]}}
    assert set(tls["tls_params"].values()) == {"TLSv1_3"}
    assert service["type"] == "STRICT_DNS"
    (other, *_) = building.bootstrap(subject(service="10.0.0.1:1"))["static_resources"]["clusters"]
    assert other["type"] == "STATIC"
    assert "sni" not in other["transport_socket"]["typed_config"]  # it has to be a name (RFC 6066, section 3)


@pytest.mark.parametrize("stream_bytes", [65_536, 131_072])
def test_streams_that_nobody_reads_leave_the_connection_to_the_service_open_for_others(stream_bytes: int) -> None:
    limits = {"stream_bytes": stream_bytes}
    (service, *_) = building.bootstrap(subject(limits=limits))["static_resources"]["clusters"]
    (options,) = service["typed_extension_protocol_options"].values()
    http_2 = options["explicit_http_config"]["http2_protocol_options"]
    (threshold,) = service["circuit_breakers"]["thresholds"]
    assert http_2["initial_stream_window_size"] == stream_bytes
    assert http_2["initial_connection_window_size"] >= threshold["max_requests"] * stream_bytes
    assert manager(subject(limits=limits))["http2_protocol_options"]["initial_stream_window_size"] == stream_bytes


@pytest.mark.parametrize(("hops", "kept"), [(0, False), (1, True)])
def test_where_a_load_balancer_is_trusted_its_word_alone_is_kept(hops: int, kept: bool) -> None:  # noqa: FBT001
    (early,) = manager(subject(trusted_hops=hops))["early_header_mutation_extensions"]
    mutations = early["typed_config"]["mutations"]
    assert ({"remove_on_match": {"key_matcher": {"prefix": "x-"}}} in mutations) is not kept
    assert manager(subject(trusted_hops=hops))["xff_num_trusted_hops"] == hops


def test_files_of_a_page_are_routes_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    for name in ("index.html", "assets/main.js"):
        (tmp_path / name).write_text("")
    files = page(tmp_path)
    assert list(files) == ["/assets/main.js", "/"]
    assert page(None) == {}
    found = routes(subject(files=files, connect_to=["https://login.example.org"]))
    assert found["/"]["direct_response"]["body"]["filename"] == str(tmp_path / "index.html")
    assert "connect-src 'self' https://login.example.org;" in json.dumps(found["/"])
    assert "immutable" in json.dumps(found["/assets/main.js"])
    assert "immutable" not in json.dumps(found["/"])


def test_spans_are_sent_where_there_is_a_collector() -> None:
    for collector, share in ((None, 0), ("localhost:4317", 100)):
        told = subject(traces_to=collector)
        tracing = manager(told)["tracing"]
        assert tracing["random_sampling"] == {"value": share}
        name = tracing["provider"]["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"]
        assert name in [each["name"] for each in building.bootstrap(told)["static_resources"]["clusters"]]


def test_browsers_are_told_to_stay_with_https_but_not_on_a_developers_machine() -> None:
    assert "strict-transport-security" in json.dumps(manager(subject()))
    assert "strict-transport-security" not in json.dumps(manager(subject(listen="127.0.0.1:8443")))
