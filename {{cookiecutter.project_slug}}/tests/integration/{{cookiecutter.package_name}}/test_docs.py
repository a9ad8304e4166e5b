import asyncio
import importlib.util
import inspect
import os
import re
import shlex
import shutil
import subprocess
import time
import typing
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import grpc
import pytest
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import BaseModel

from secure_rpc.cli.main import build
from secure_rpc.client import connect
from secure_rpc.client_streams import KeptStream, Persistence, Timing
from secure_rpc.client_streams.kept_stream import BUFFERED_MESSAGES, STEADY_SECONDS
from secure_rpc.client_streams.persistence import PASSING
from secure_rpc.dev.authority import client_request
from secure_rpc.doctor import waivers
from secure_rpc.doctor.catalogue import IDS
from secure_rpc.identity.issuer import Introspection, Issuer
from secure_rpc.platform import Application
from secure_rpc.quota import Quota
from secure_rpc.settings import Exchange, Settings
from secure_rpc.state.connection import State
from secure_rpc.testing.service import run_service

from {{ cookiecutter.package_name }}.v1 import {{ cookiecutter.__resource_file }}_pb2 as pb
from {{ cookiecutter.package_name }}.v1 import {{ cookiecutter.__resource_file }}_pb2_grpc as pb_grpc

EXAMPLES = Path("docs/examples")


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "file"), [("BusinessHours", "business_hours.py"), ("SlowCalls", "slow_calls.py")])
def test_the_page_on_stages_quotes_the_examples_as_they_are(name: str, file: str) -> None:
    page = Path("docs/adding-a-stage.md").read_text()
    [quoted] = re.findall(rf"```python\n(class {name}.*?)```", page, re.DOTALL)
    assert quoted in (EXAMPLES / file).read_text()


@pytest.mark.parametrize(("seconds", "codes"), [(0.0, ["NOT_FOUND"]), (60.0, [])])
async def test_the_example_that_watches_is_told_of_unary_calls_and_sees_how_they_ended(
    application: Application, tmp_path: Path, seconds: float, codes: list[str]
) -> None:
    told: list[Any] = []
    stage = load_example("slow_calls").SlowCalls(seconds, told.append)
    extended = Application(lambda platform: [*application.build_chain(platform), stage], application.add_services)
    async with run_service(extended, tmp_path) as service:
        stub = pb_grpc.{{ cookiecutter.resource_name }}ServiceStub(service.client_as("alice"))
        get = stub.Get{{ cookiecutter.resource_name }}(
            pb.Get{{ cookiecutter.resource_name }}Request(tenant="acme", id="1"),
        )
        assert await get.code() is grpc.StatusCode.NOT_FOUND
    assert [record.code for record in told] == codes


@pytest.mark.parametrize("hour", [7, 12, 18])
async def test_the_example_stage_closes_writing_methods_and_no_others(
    application: Application, tmp_path: Path, hour: int
) -> None:
    stage = load_example("business_hours").BusinessHours(first_hour=8, last_hour=18, hour=lambda: hour)
    extended = Application(lambda platform: [*application.build_chain(platform), stage], application.add_services)
    async with run_service(extended, tmp_path) as service:
        stub = pb_grpc.{{ cookiecutter.resource_name }}ServiceStub(service.client_as("alice"))
        create = stub.Create{{ cookiecutter.resource_name }}(
            pb.Create{{ cookiecutter.resource_name }}Request(tenant="acme", title="x"),
        )
        is_open = 8 <= hour < 18
        assert await create.code() is (grpc.StatusCode.OK if is_open else grpc.StatusCode.FAILED_PRECONDITION)
        get = stub.Get{{ cookiecutter.resource_name }}(
            pb.Get{{ cookiecutter.resource_name }}Request(tenant="acme", id="1"),
        )
        assert await get.code() is (grpc.StatusCode.OK if is_open else grpc.StatusCode.NOT_FOUND)
        reasons = [record["reason"] for record in await service.audit_records()]
        assert reasons[0] == ("" if is_open else "CLOSED")


def test_the_page_on_the_audit_names_commands_and_options_that_there_are(application: Application) -> None:
    page = Path("docs/audit.md").read_text()
    commands = re.findall(r"^{{ cookiecutter.project_slug }} audit (.*?)(?: *(?:#|>|\|\|).*)?$", page, re.MULTILINE)
    assert len(commands) > 10
    group: Any = typer.main.get_command(build(application.build_chain.__module__))
    audit = group.commands["audit"]
    for command in commands:
        name, *arguments = shlex.split(command)
        parser = audit.commands[name].make_parser(click.Context(audit.commands[name]))
        parser.parse_args(arguments)  # raises where an option is none


def test_the_page_on_the_doctor_names_options_that_there_are_and_an_exception_that_is_one(
    application: Application, tmp_path: Path
) -> None:
    page = Path("docs/doctor.md").read_text()
    service = "{{ cookiecutter.project_slug }}"
    commands = re.findall(rf"^(?:kubectl .* -- )?{service} doctor\b(.*?)(?: *#.*)?$", page, re.MULTILINE)
    assert len(commands) > 4
    group: Any = typer.main.get_command(build(application.build_chain.__module__))
    for command in commands:
        doctor = group.commands["doctor"]
        doctor.make_parser(click.Context(doctor)).parse_args(shlex.split(command))  # raises where an option is none
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "doctor.yaml").write_text(example)
    assert waivers.load(tmp_path / "doctor.yaml", IDS)


def shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, Enum):
        value = value.value
    return f"`{value}`" if value != "" else "empty"


def defaults_of(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= defaults_of(inner, f"{prefix}{name}.")
        else:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            found[prefix + name] = "required" if field.is_required() else shown(default)
    return found


def test_the_page_on_settings_has_every_key_and_its_default() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.*?) \|", Path("docs/settings.md").read_text(), re.MULTILINE)
    free = {
        "quotas": "`default`: 1000 calls a second",
        "authorization.contracts": "none",
        "authentication.federated_trust_domains": "none",
    }
    expected = [
        *(defaults_of(Settings) | free).items(),
        *defaults_of(Issuer).items(),
        *defaults_of(Introspection).items(),
        *defaults_of(Exchange).items(),
        *defaults_of(State).items(),
        *defaults_of(Quota).items(),
    ]
    assert rows == expected
    quotas = typing.cast("Any", Settings.model_fields["quotas"].get_default(call_default_factory=True))
    assert quotas["default"].calls == 1000


def test_the_page_on_calling_quotes_the_example_as_it_is() -> None:
    page = Path("docs/calling.md").read_text()
    [quoted] = re.findall(r"```python\n(def open_channel.*?)```", page, re.DOTALL)
    assert quoted in (EXAMPLES / "renewed_client.py").read_text()


async def test_the_example_client_calls_the_service_by_name_and_by_address(
    application: Application, tmp_path: Path
) -> None:
    open_channel = load_example("renewed_client").open_channel
    async with run_service(application, tmp_path) as service:
        leaf = service.issue(client_request("developer", service.trust_domain))
        leaf.write(tmp_path / "tls.crt", tmp_path / "tls.key")
        (tmp_path / "ca.crt").write_bytes(service.authority.certificate_pem)
        for target in (service.target, [service.target]):
            async with open_channel(target, tmp_path, []) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                answer = await stub.Check(health_pb2.HealthCheckRequest())
                assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_page_on_calling_quotes_the_client_that_waits_as_it_is() -> None:
    page = Path("docs/calling.md").read_text()
    [quoted] = re.findall(r"```python\n(async def create.*?)```", page, re.DOTALL)
    assert quoted in (EXAMPLES / "waiting_client.py").read_text()


async def test_the_example_client_waits_as_it_is_told(application: Application, tmp_path: Path) -> None:
    quotas = {"default": {"calls": 1, "period_seconds": 0.3}}
    async with run_service(application, tmp_path, {"quotas": quotas}) as service:
        stub: Any = pb_grpc.{{ cookiecutter.resource_name }}ServiceStub(service.client_as("alice"))
        create = load_example("waiting_client").create
        for _ in range(3):
            request = pb.Create{{ cookiecutter.resource_name }}Request(tenant="acme", title="x")
            assert await create(stub.Create{{ cookiecutter.resource_name }}, request)


def test_the_pages_on_streams_and_calling_quote_the_watcher_as_it_is() -> None:
    example = (EXAMPLES / "watching_client.py").read_text()
    for page, first in (("streams.md", "async def watch"), ("calling.md", "    async with changes")):
        [quoted] = re.findall(rf"```python\n({first}.*?)```", Path("docs", page).read_text(), re.DOTALL)
        assert quoted in example


def test_the_page_on_streams_has_every_argument_and_what_it_says_of_waits() -> None:
    page = Path("docs/streams.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| (required|`.*?`) \|", page, re.MULTILINE)
    needed = inspect.Parameter.empty
    shown = {"after": "`0`", "persistence": "`Persistence()`", "timing": "`Timing()`"}
    assert rows == [
        (name, "required" if each.default is needed else shown.get(name, f"`{each.default}`"))
        for name, each in inspect.signature(KeptStream).parameters.items()
    ]
    waits = Persistence()
    for said in (
        f"up to {waits.first_seconds} s at first",
        f"{waits.longest_seconds:.0f} s at most",
        f"After {waits.attempts} attempts, or {waits.wait_seconds:.0f} s of waiting",
        f"At most {BUFFERED_MESSAGES} messages wait",
        f"that lasts {STEADY_SECONDS:.0f} s",
        "a fifth to a tenth of a call's life",
    ):
        assert said in " ".join(page.split())
    for code in set(grpc.StatusCode) - PASSING - {grpc.StatusCode.OK}:
        assert code.name in page.split("## Clients")[1]
    assert Timing().ahead == 1 / 5


TOKEN_SECONDS = 5  # a fifth of it is enough to extend a stream, also on a busy machine


async def test_the_example_watcher_goes_on_past_its_tokens_and_sees_each_change_once(
    application: Application, tmp_path: Path
) -> None:
    watch = load_example("watching_client").watch
    no_leeway = {"authentication": {"issuers": [{"leeway_seconds": 0}]}}
    async with run_service(application, tmp_path, no_leeway) as service:
        leaf = service.issue(client_request("developer", service.trust_domain))
        leaf.write(tmp_path / "tls.crt", tmp_path / "tls.key")
        channel = connect(
            service.target,
            certificate_file=tmp_path / "tls.crt",
            key_file=tmp_path / "tls.key",
            ca_file=service.files.ca_certificate,
            token=lambda: service.token_of("bob", exp=int(time.time()) + TOKEN_SECONDS),
        )
        stub = pb_grpc.{{ cookiecutter.resource_name }}ServiceStub(service.client_as("alice"))

        def extensions() -> float:
            return service.metric("secure_rpc_session_refreshes_total", result="extended")

        async def another_extension(before: float) -> None:
            while extensions() == before:  # noqa: ASYNC110  # it happens inside of the service
                await asyncio.sleep(0.01)

        seen: asyncio.Queue[pb.Watch{{ cookiecutter.resource_plural }}Response] = asyncio.Queue()
        async with channel, asyncio.timeout(60):
            watching = asyncio.create_task(watch(channel, "acme", seen.put))
            for number in range(1, 4):
                await stub.Create{{ cookiecutter.resource_name }}(
                    pb.Create{{ cookiecutter.resource_name }}Request(tenant="acme", title="x"),
                )
                assert (await seen.get()).sequence == number
                await another_extension(extensions())
            assert seen.empty()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        ended: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while not ended:
                await asyncio.sleep(0.01)  # a log that is durable already is read without a pause: the call has to end
                ended = [each for each in await service.audit_records() if "Watch" in each["method"]]
        assert [record["code"] for record in ended] == ["CANCELLED"]


def test_the_page_on_calling_has_every_argument_and_its_default() -> None:
    page = Path("docs/calling.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", page, re.MULTILINE)
    defaults = {each.name: each.default for each in inspect.signature(connect).parameters.values()}
    needed = inspect.Parameter.empty
    assert rows == [(name, "required" if value is needed else shown(value)) for name, value in defaults.items()]


def test_make_calls_as_alice_where_nobody_is_named() -> None:
    make, environment = shutil.which("make"), {"PATH": os.environ["PATH"]}
    assert make is not None
    shown = subprocess.run([make, "-n", "call"], env=environment, capture_output=True, text=True, check=True).stdout
    assert " --as alice " in shown, "make has an AS of its own: the assembler"


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in [Path("README.md"), *Path("docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
