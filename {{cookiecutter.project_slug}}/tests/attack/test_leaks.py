"""What breaks inside must not be told outside; the log is told, and the audit knows that it broke."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.call import Call
from secure_rpc.chain import Proceed
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support import hostile_protos
from support.acts import SECRET
from support.probe import Servicer
from support.stages import Around
from support.target import KINDS, Target, run_target
from support.world import Ending, ending

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACTS = (
    "raise_an_error",
    "raise_a_timeout",
    "raise_a_unicode_error",
    "raise_a_status_with_details_of_a_wrong_type",
    "abort_with_trailers_of_a_wrong_type",
    "set_a_code_and_raise",
    "set_details_and_raise",
    "answer_another_message",
    "answer_bytes",
)
ENDS_OTHERWISE = {"set_a_code_and_raise": "UNIMPLEMENTED"}


async def tells_nothing(target: Target, told: Ending, code: str = "INTERNAL") -> bool:
    """Tell whether the caller learns no more than that it broke, and the audit that much."""
    assert told.code.name == code
    assert SECRET not in str(told)
    assert all(word not in str(told) for word in ("KeyError", "TypeError", "Traceback", ".py", "Ask"))
    assert (await target.record_of(told))["code"] == code
    return SECRET not in str(await target.service.audit_records())


@pytest.mark.parametrize("shape", KINDS)
@pytest.mark.parametrize("act", ACTS)
async def test_what_a_handler_raises_or_answers_wrongly_is_not_told(
    target: Target, caplog: pytest.LogCaptureFixture, shape: str, act: str
) -> None:
    told = await target.ask(shape, pb.Ask(act=act))
    assert await tells_nothing(target, told, ENDS_OTHERWISE.get(act, "INTERNAL"))
    if act not in ENDS_OTHERWISE:
        assert "failed in /probe.v1.ProbeService" in caplog.text


@pytest.mark.parametrize("shape", KINDS)
async def test_an_answer_of_a_wrong_type_is_explained_in_the_log_alone(
    target: Target, caplog: pytest.LogCaptureFixture, shape: str
) -> None:
    assert await tells_nothing(target, await target.ask(shape, pb.Ask(act="answer_another_message")))
    assert f"/probe.v1.ProbeService/{shape} must answer Answer, not Ask" in caplog.text


async def fail(_call: Call, _proceed: Proceed) -> None:
    raise KeyError(SECRET)


async def fail_afterwards(call: Call, proceed: Proceed) -> None:
    await proceed(call)
    raise KeyError(SECRET)


async def check_requests_wrongly(call: Call, proceed: Proceed) -> None:
    def check(_message: Any) -> None:
        raise RuntimeError(SECRET)

    call.check_requests(check)
    await proceed(call)


async def check_responses_wrongly(call: Call, proceed: Proceed) -> None:
    def check(_message: Any) -> None:
        raise RuntimeError(SECRET)

    call.check_responses(check)
    await proceed(call)


class Stubborn(Servicer):
    """Takes nothing that goes wrong with a request for an answer."""

    async def ClientStream(self, request_iterator: AsyncIterator[pb.Ask], context: Any) -> pb.Answer:
        with suppress(Exception):
            return await super().ClientStream(request_iterator, context)
        return pb.Answer(text="all is well")

    async def Bidi(self, request_iterator: AsyncIterator[pb.Ask], context: Any) -> AsyncIterator[pb.Answer]:
        with suppress(Exception):
            async for answer in super().Bidi(request_iterator, context):
                yield answer
        yield pb.Answer(text="all is well")


@pytest.mark.parametrize("middleware", [fail, fail_afterwards, check_requests_wrongly, check_responses_wrongly])
async def test_what_a_stage_raises_is_not_told_and_lets_nothing_through(
    application: Application, tmp_path: Path, caplog: pytest.LogCaptureFixture, middleware: Any
) -> None:
    async with run_target(application, tmp_path, stages=[Around(middleware)], servicer=Stubborn()) as target:
        for shape in (*KINDS, "Public"):
            caplog.clear()
            told = await (target.knock if middleware is fail else target.ask)(shape)
            if middleware is not fail_afterwards:
                assert told.messages == []
            assert await tells_nothing(target, told)
            assert SECRET in caplog.text
        if middleware in {fail, check_requests_wrongly}:
            assert target.begun == 0


async def test_what_a_rule_of_the_proto_raises_is_not_told_and_lets_nothing_through(
    application: Application, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A rule in CEL can be sound for every message but the one that is made for it."""
    begun: list[str] = []
    unsound = hostile_protos.service_with_rule("10 / (size(this.act) - 7) < 100")

    async def answer(request: Any, _context: object) -> pb.Answer:
        begun.append(request.act)
        return pb.Answer(text="fine")

    async with run_target(application, tmp_path, add=[unsound.adding(answer)]) as target:
        ask: Any = target.channel.unary_unary(unsound.path, unsound.request.SerializeToString)
        metadata = (("authorization", f"Bearer {target.token()}"),)
        assert (await ending(ask(unsound.request(act="sound"), metadata=metadata, timeout=10))).code.name == "OK"
        told = await ending(ask(unsound.request(act="x" * 7), metadata=metadata, timeout=10))
        assert await tells_nothing(target, told)
        assert "zero" not in str(told)
        assert "zero" in caplog.text
    assert begun == ["sound"]
