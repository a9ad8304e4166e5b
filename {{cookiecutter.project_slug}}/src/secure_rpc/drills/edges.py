"""Drills on the edge: a page that is not on its list any more, and callers that do not take what they asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import httpx
from grpc_reflection.v1alpha import reflection_pb2

from secure_rpc.drills.caller import ANSWERED, DEADLINE_SECONDS
from secure_rpc.drills.front import ORIGIN, Front
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.story import Story, told
from secure_rpc.drills.traffic import start_call, told_by

ANOTHER = "https://app.example.net"  # what stands on the list by mistake
PAUSE_SECONDS = 0.1
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
ALLOWED = "access-control-allow-origin"

REFLECTION = "grpc.reflection.v1alpha.ServerReflection"  # of each service: few bytes ask for many
CONNECTIONS = 3
STREAMS_EACH = 5
ANSWERS = 60  # that each stream asks for
MOST_BYTES = 524_288  # that the edge may take from the service for a stream that nobody reads
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.http2.bdp_probe", 0),  # else gRPC takes more from the line than anybody has asked it for
)
PAUSED = 'sum(envoy_cluster_upstream_flow_control_paused_reading_total{envoy_cluster_name="service"})'
TAKEN = 'sum(envoy_cluster_upstream_cx_rx_bytes_total{envoy_cluster_name="service"})'
UNDER_WAY = 'sum(envoy_cluster_upstream_rq_active{envoy_cluster_name="service"})'


async def shut_out(plan: Plan) -> Outcome:
    """Have the list of origins lack the page that calls; other callers are served, until it is on the list again."""
    front = Front(plan)
    return await told(plan, lambda story: _shut_out(story, front), edge=front.probes)


async def unread(plan: Plan) -> Outcome:
    """Have callers ask for much and read none of it; the service waits for them, and nobody else does."""
    front = Front(plan)
    enabled = {"reflection": {"enabled": True}}
    return await told(plan, lambda story: _unread(story, front), enabled, edge=front.probes)


async def _shut_out(story: Story, front: Front) -> None:
    alert = "EdgeRefusesOrigins"
    method = story.plan.unary()
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with front.running(story.ground, {}), front.client() as page:

        async def may_ask() -> bool:
            try:
                answer = await page.options(path, headers={"origin": ORIGIN, **PREFLIGHT})
            except httpx.HTTPError:  # Envoy begins anew
                return False
            return bool(answer.headers.get(ALLOWED) == ORIGIN)

        async def keep_asking() -> None:
            while True:
                await may_ask()
                await asyncio.sleep(PAUSE_SECONDS)

        await story.calm(alert)
        story.expect(await may_ask(), "the page may not ask before anything was done")
        await front.build({"origins": [ANOTHER]})
        await front.anew()
        story.fault(f"the list of origins has {ANOTHER}, and the page comes from {ORIGIN}")
        story.expect(not await may_ask(), "a page that is not on the list may ask")
        asking = asyncio.create_task(keep_asking())
        try:
            await story.signal("sum(envoy_http_cors_origin_invalid)", "Envoy counts who was refused")
            await story.alert(alert)
            story.expect(await _is_answered(story, front), "callers that are no pages are refused, too")
            said = await story.runbook(alert, "cors-failure", ORIGIN=ORIGIN, **front.names())
            story.expect(ORIGIN in said, "the runbook does not show whose origin it is")
            await story.recovered("the page may ask again", may_ask)
            await story.resolved(alert)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def _unread(story: Story, front: Front) -> None:
    alert = "EdgeCallersDoNotRead"
    async with front.running(story.ground, {}, [REFLECTION]):
        await story.calm(alert)
        story.expect(await _takes(story, front), "what is asked for much of cannot be had to begin with")
        before = await story.watch.value(TAKEN)
        channels = [_channel(story, front) for _ in range(CONNECTIONS)]
        try:
            calls = [_asks(channel) for channel in channels for _ in range(STREAMS_EACH)]
            asking = [asyncio.create_task(_ask(story, call)) for call in calls]
            story.fault(f"{len(calls)} streams ask for {ANSWERS} answers each, and nobody reads them")
            await story.signal(PAUSED, "Envoy reads no more of them from the service")
            await story.alert(alert)
            taken = await story.watch.value(TAKEN) - before
            most = MOST_BYTES * len(calls)
            story.expect(taken <= most, f"the edge holds {taken:,.0f} bytes that nobody reads, over {most:,}")
            story.expect(await _is_answered(story, front), "other callers of the edge are not answered")
            story.expect(await _takes(story, front), "what others asked for does not come")
            story.expect(await story.caller.answered(story.caller.channel()), "the service does not answer")
            story.expect(await _reads_all(calls[0]), "who reads on does not get all that it asked for")
            await story.runbook(alert, "proxy-buffer-full", **front.names())
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        finally:
            for channel in channels:
                await channel.close()
        await front.ready()

        async def is_over() -> bool:
            return not await story.watch.value(UNDER_WAY) and await _takes(story, front)

        await story.recovered("their streams are gone, and others get what they ask for", is_over)
        await story.resolved(alert)


def _channel(story: Story, front: Front) -> grpc.aio.Channel:
    root = grpc.ssl_channel_credentials(story.ground.files.ca_certificate.read_bytes())
    token = grpc.access_token_call_credentials(story.ground.token)
    return grpc.aio.secure_channel(front.target, grpc.composite_channel_credentials(root, token), OPTIONS)


async def _is_answered(story: Story, front: Front) -> bool:
    """Tell whether the usual call reaches its handler through the edge."""
    method = story.plan.unary()
    async with _channel(story, front) as channel:
        try:
            await start_call(channel, method)(story.plan.request_for(method), timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            return told_by(error).partition(" ")[0] in ANSWERED
    return True


async def _takes(story: Story, front: Front) -> bool:
    """Tell whether somebody who reads gets an answer: a call that failed would have none to be held up."""
    async with _channel(story, front) as channel:
        call = _asks(channel, timeout=DEADLINE_SECONDS)
        try:
            await call.write(_question(story))
            return bool(await call.read() is not grpc.aio.EOF)
        except grpc.aio.AioRpcError:
            return False
        finally:
            call.cancel()


def _asks(channel: grpc.aio.Channel, timeout: float | None = None) -> Any:
    return channel.stream_stream(
        f"/{REFLECTION}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(timeout=timeout)


def _question(story: Story) -> reflection_pb2.ServerReflectionRequest:
    symbol = story.plan.unary().containing_service.full_name
    return reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)


async def _ask(story: Story, call: Any) -> None:
    for _ in range(ANSWERS):
        await call.write(_question(story))


async def _reads_all(call: Any) -> bool:
    """Tell whether a stream that was not read gives all that it was asked for once it is."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return all([await call.read() is not grpc.aio.EOF for _ in range(ANSWERS)])
    except (TimeoutError, grpc.aio.AioRpcError):
        return False
