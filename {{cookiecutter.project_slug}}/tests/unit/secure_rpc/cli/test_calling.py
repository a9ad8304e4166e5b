"""Any method of the service can be called from the command line, and what went wrong is shown."""

from __future__ import annotations

import pytest

from secure_rpc.cli import calling
from secure_rpc.cli.calling import Ask
from secure_rpc.cli.methods import methods_of
from secure_rpc.configuration import ConfigurationError
from secure_rpc.platform import Application
from secure_rpc.testing.service import RunningService


def test_all_methods_of_the_service_are_shown(application: Application, capsys: pytest.CaptureFixture[str]) -> None:
    methods = methods_of(application)
    calling.show_methods(methods)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(methods) > 0
    for line, (path, method) in zip(lines, methods.items(), strict=True):
        request = "stream " * method.client_streaming + method.input_type.name
        reply = "stream " * method.server_streaming + method.output_type.name
        assert line == f"{path}  ({request}) -> {reply}"


def test_a_method_is_found_by_its_name_or_path(application: Application) -> None:
    methods = methods_of(application)
    for path, method in methods.items():
        assert calling.find(methods, path) is calling.find(methods, method.name) is method


def test_an_unknown_method_is_told_with_the_nearest(application: Application) -> None:
    methods = methods_of(application)
    name = next(iter(methods.values())).name
    with pytest.raises(ConfigurationError) as caught:
        calling.find(methods, name.lower())
    assert caught.value.problems == (f'there is no method "{name.lower()}"; did you mean "{name}"?',)


async def test_a_refusal_is_shown_with_its_reason_and_what_to_look_for_in_the_log(
    application: Application, service: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    method = next(iter(methods_of(application).values()))
    code = await calling.call(Ask(method, (), service.target), service.files, None)
    shown = capsys.readouterr()
    [record] = await service.audit_records()
    assert (code, shown.out) == (16, "")
    assert shown.err.splitlines()[0] == "UNAUTHENTICATED: a token is required"
    assert "'reason': 'TOKEN_MISSING'" in shown.err
    assert f"correlation-id: {record['call_id']}" in shown.err


async def test_data_that_is_no_request_is_told_before_anything_is_sent(
    application: Application, service: RunningService
) -> None:
    method = next(iter(methods_of(application).values()))
    for data in ("{", '{"no_such_field": 1}'):
        with pytest.raises(ConfigurationError) as caught:
            await calling.call(Ask(method, (data,), service.target), service.files, None)
        assert caught.value.problems[0].startswith(f"--data {data!r} is no {method.input_type.name}: ")
    assert await service.audit_records() == []


async def test_a_second_request_for_a_method_that_takes_one_is_told(
    application: Application, service: RunningService
) -> None:
    unary = next(method for method in methods_of(application).values() if not method.client_streaming)
    with pytest.raises(ConfigurationError, match="takes one request, but --data was given 2 times"):
        await calling.call(Ask(unary, ("{}", "{}"), service.target), service.files, None)


def test_health_is_called_by_its_path_and_not_listed(application: Application) -> None:
    paths = {f"/grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch")}
    assert set(calling.health_methods()) == paths
    assert paths.isdisjoint(methods_of(application))
