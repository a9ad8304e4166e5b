"""Controls: streams."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Streams",
    "Calls that last.",
    (
        Control(
            id="E1",
            title="One chain for every kind of call",
            text="A stage surrounds a whole call, unary or stream; none can be written for one kind alone.",
            code=("src/secure_rpc/chain.py", "src/secure_rpc/exchange.py"),
            tests=(
                "tests/unit/secure_rpc/test_chain.py::test_a_timeout_around_proceed_holds_for_every_kind",
                "tests/unit/secure_rpc/test_endings.py::test_every_act_that_ends_is_tried",
            ),
            metrics=("grpc_server_call_started_total",),
        ),
        Control(
            id="E2",
            title="A stream ends with its credential",
            text="At the end of the token or certificate, which is announced, and not later.",
            code=("src/secure_rpc/stages/sessions.py", "src/secure_rpc/stages/session.py", "src/secure_rpc/agenda.py"),
            tests=(
                "tests/integration/secure_rpc/test_sessions.py::test_a_stream_ends_with_its_token_and_has_said_when",
                "tests/integration/secure_rpc/test_sessions.py::test_a_client_that_does_not_read_gets_nothing_after_the_end",
            ),
            metrics=("secure_rpc_sessions_live", "secure_rpc_streams_ended_total"),
            alerts=("StreamsEndedByAuth",),
            drills=("token-expiry",),
            checks=("session-ends",),
        ),
        Control(
            id="E3",
            title="It can be extended by its own subject",
            text="A new token of the same workload, issuer and subject, shown to any replica.",
            code=(
                "src/secure_rpc/sessions.py",
                "src/secure_rpc/state/redis_sessions.py",
                "src/secure_rpc/stages/session_sharing.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_sessions.py::test_nobody_else_extends_a_stream_or_finds_out_that_it_is_there",
                "tests/integration/secure_rpc/test_shared_sessions.py::test_a_stream_on_one_replica_is_extended_through_any_every_time",
            ),
            metrics=("secure_rpc_session_refreshes_total",),
            checks=("session-ends",),
        ),
        Control(
            id="E4",
            title="Clients go on by themselves",
            text="They refresh or open anew, and no message that can be resumed is lost or comes twice.",
            code=(
                "src/secure_rpc/client_streams/kept_stream.py",
                "src/secure_rpc/client_streams/sequence.py",
                "src/secure_rpc/client_streams/renewal.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_kept_streams.py::test_every_message_comes_once_and_in_order_wherever_calls_are_cut",
                "tests/integration/secure_rpc/test_kept_streams_served.py::test_one_call_outlives_several_tokens",
            ),
            note="The numbers of a client are those of the service that it calls.",
        ),
        Control(
            id="E5",
            title="Streams have limits of their own",
            text="Messages a second and in all; the right to go on is looked at again while it lasts.",
            code=("src/secure_rpc/stages/stream_limits.py", "src/secure_rpc/live.py"),
            tests=(
                "tests/unit/secure_rpc/stages/test_stream_limits.py::test_a_burst_may_come_at_once_and_then_one_after_the_other",
                "tests/integration/secure_rpc/test_sessions.py::test_a_stream_with_too_many_messages_ends",
            ),
            metrics=("secure_rpc_streams_ended_total",),
            checks=("stream-rate", "session-review"),
        ),
        Control(
            id="E6",
            title="A broken upload is none",
            text=(
                "What was cancelled or broke off is never taken for finished; each ending is recorded once, as the "
                "caller saw it."
            ),
            code=("src/secure_rpc/chain.py", "src/secure_rpc/serving.py"),
            tests=(
                "tests/attack/test_uploads.py::test_cancelled_uploads_are_not_committed",
                "tests/attack/test_uploads.py::test_an_upload_that_breaks_off_on_the_wire_is_not_committed",
                "tests/attack/test_uploads.py::test_a_whole_upload_is_committed",
                "tests/unit/secure_rpc/test_interruptions.py::test_a_cancelled_upload_is_never_taken_for_a_finished_one",
            ),
            metrics=("secure_rpc_calls_ended_total",),
        ),
    ),
)
