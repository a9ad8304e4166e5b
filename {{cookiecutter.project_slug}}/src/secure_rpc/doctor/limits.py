"""Checks of what callers can use up: calls, messages, streams, time, and the store in which that is counted."""

from __future__ import annotations

from secure_rpc.doctor.checks import Check, Finding, Level, none_of, not_applicable, verdict
from secure_rpc.doctor.facts import Facts
from secure_rpc.quota import QuotaScope

QUOTAS, STATE, SETTINGS = "docs/quotas.md", "docs/state.md", "docs/settings.md"
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_DEADLINE_SECONDS = 900.0
MAX_RATE = 1000.0  # calls a second of one principal, from which on a quota holds nobody back
MAX_REVIEW_SECONDS = 300.0


def _quotas(facts: Facts) -> Finding:
    return none_of(
        (
            f"{name} ({each.calls / each.period_seconds:g} calls a second)"
            for name, each in facts.settings.quotas.items()
            if each.calls / each.period_seconds >= MAX_RATE
        ),
        f"{len(facts.settings.quotas)} classes, each below {MAX_RATE:g} calls a second",
        "hold nobody back",
    )


def _quotas_shared(facts: Facts) -> Finding:
    if facts.replicas == 1:
        return not_applicable("one process takes all calls")
    scope = facts.settings.quota_scope
    shared = scope is QuotaScope.SHARED and facts.settings.state is not None
    store = "shared" if facts.settings.state is not None else "not shared: there is no state"
    return verdict(
        shared, f"{facts.replicas} processes at least, quota_scope is {scope.value}, what they count is {store}"
    )


def _replay_shared(facts: Facts) -> Finding:
    settings = facts.settings
    if not any(each.contract.replay_protected or each.contract.signed for each in facts.methods):
        return not_applicable("no method is protected from replay")
    if facts.replicas == 1:
        kept = settings.state is not None or settings.replay.file is not None
        return verdict(kept, "one process, which " + ("remembers past its end" if kept else "forgets at its end"))
    shared = settings.state is not None
    said = "remember together" if shared else "each remember for themselves: there is no state"
    return verdict(shared, f"{facts.replicas} processes at least, which {said}")


def _store(facts: Facts) -> Finding:
    state = facts.settings.state
    if state is None:
        return not_applicable("nothing is shared: there is no state")
    if state.embedded or state.redis_url.startswith("unix:"):
        return not_applicable("the store is a socket on this machine; who may use its folder may use it")
    wrong = [] if state.tls else [f"state.redis_url {state.redis_url} has no TLS"]
    wrong += [] if state.password_file or state.certificate_file else ["state.password_file is not set"]
    wrong += [] if state.ca_file else ["state.ca_file is not set"]
    return none_of(wrong, "by TLS, with a password or a certificate, vouched for by a CA that is named", "not secured")


def _adaptive(facts: Facts) -> Finding:
    return verdict(facts.settings.load.adaptive, f"load.adaptive is {str(facts.settings.load.adaptive).lower()}")


def _fair(facts: Facts) -> Finding:
    load = facts.settings.load
    return verdict(
        load.max_concurrent_calls_per_peer < load.max_concurrent_calls,
        f"one address may have {load.max_concurrent_calls_per_peer} of {load.max_concurrent_calls} calls",
    )


def _messages(facts: Facts) -> Finding:
    limits = facts.settings.limits
    found = {"max_request_bytes": limits.max_request_bytes, "max_response_bytes": limits.max_response_bytes}
    return none_of(
        (f"limits.{name} {size}" for name, size in found.items() if size > MAX_MESSAGE_BYTES),
        f"requests have {limits.max_request_bytes} bytes at most",
        f"above {MAX_MESSAGE_BYTES}",
    )


def _deadlines(facts: Facts) -> Finding:
    limits = facts.settings.limits
    found = {"default": limits.default_deadline_seconds, "max": limits.max_deadline_seconds}
    return none_of(
        (f"limits.{name}_deadline_seconds {value:g}" for name, value in found.items()
         if not 0 < value <= MAX_DEADLINE_SECONDS),
        f"{limits.default_deadline_seconds:g} s unless the caller sets one, {limits.max_deadline_seconds:g} s at most",
        f"0, or above {MAX_DEADLINE_SECONDS:g}",
    )  # fmt: skip


def _streams(facts: Facts) -> Finding:
    if not any(each.request_streaming for each in facts.methods):
        return not_applicable("no method takes a stream")
    rate = facts.settings.limits.stream_messages_per_second
    return verdict(rate > 0, f"limits.stream_messages_per_second is {rate:g}")


def _review(facts: Facts) -> Finding:
    if not _has_streams(facts):
        return not_applicable("no method streams")
    seconds = facts.settings.sessions.review_seconds
    return verdict(0 < seconds <= MAX_REVIEW_SECONDS, f"sessions.review_seconds is {seconds:g}")


def _session_ends(facts: Facts) -> Finding:
    if not _has_streams(facts) or not facts.settings.sessions.refresh or facts.settings.state is None:
        return not_applicable("no stream outlives its credential by what a store says")
    ends = facts.settings.sessions.end_when_store_away
    return verdict(ends, f"sessions.end_when_store_away is {str(ends).lower()}")


def _has_streams(facts: Facts) -> bool:
    return any(each.kind != "unary" for each in facts.methods)


CHECKS = (
    Check(
        "message-size",
        Level.BEGINNER,
        "No message is larger than memory can take",
        "A few hundred large messages at once end the process.",
        f"limits.max_request_bytes and limits.max_response_bytes are {MAX_MESSAGE_BYTES} at most",
        "set limits.max_request_bytes: 4194304 and limits.max_response_bytes: 4194304; larger things go by streams",
        SETTINGS,
        _messages,
    ),
    Check(
        "deadlines",
        Level.BEGINNER,
        "No call lasts for ever",
        "Callers that set no deadline pile up calls behind one slow dependency, until nothing is left.",
        "limits.default_deadline_seconds and limits.max_deadline_seconds of the settings",
        "set limits.default_deadline_seconds: 30 and limits.max_deadline_seconds: 300",
        SETTINGS,
        _deadlines,
    ),
    Check(
        "quotas",
        Level.BEGINNER,
        "Each class of calls has a quota that somebody can reach",
        "One caller in a loop takes what all others need.",
        f"quotas of the settings are below {MAX_RATE:g} calls a second",
        "set quotas.default: {calls: 100, period_seconds: 1}, and the other classes likewise",
        QUOTAS,
        _quotas,
    ),
    Check(
        "load-limit",
        Level.INTERMEDIATE,
        "The load limit follows what the machine can do",
        "A fixed limit that is too high is none: everything gets slow, and then nothing is answered.",
        "load.adaptive of the settings",
        "set load.adaptive: true",
        "docs/load.md",
        _adaptive,
    ),
    Check(
        "load-share",
        Level.INTERMEDIATE,
        "No address can have all calls at once",
        "One client that holds every slot shuts out all others, before anybody asks who it is.",
        "load.max_concurrent_calls_per_peer is less than load.max_concurrent_calls",
        "set load.max_concurrent_calls_per_peer to half of load.max_concurrent_calls",
        "docs/load.md",
        _fair,
    ),
    Check(
        "quotas-shared",
        Level.INTERMEDIATE,
        "All processes count together",
        "With n processes that each count for themselves, a caller has n times its quota.",
        "quota_scope and state of the settings, workers, and minReplicas in deploy/",
        "set quota_scope: shared and state.redis_url, as deploy/components/redis does",
        QUOTAS,
        _quotas_shared,
    ),
    Check(
        "replay-shared",
        Level.INTERMEDIATE,
        "A call that one process has taken no other takes",
        "A captured call is made again at the next replica, or after a restart.",
        "state and replay.file of the settings, workers, and minReplicas in deploy/",
        "set state.redis_url, as deploy/components/redis does; replay.file for a single process",
        "docs/replay.md",
        _replay_shared,
    ),
    Check(
        "store-secured",
        Level.INTERMEDIATE,
        "The shared store is spoken to by TLS, and asks who we are",
        "Whoever reaches it can undo revocations and lengthen sessions.",
        "state.redis_url, state.ca_file, and state.password_file or state.certificate_file of the settings",
        "set state.redis_url: rediss://..., state.ca_file and state.password_file",
        STATE,
        _store,
    ),
    Check(
        "session-review",
        Level.INTERMEDIATE,
        "Streams are judged again while they last",
        "Who is revoked, or loses a role, would go on reading for hours.",
        f"sessions.review_seconds of the settings is above 0, and {MAX_REVIEW_SECONDS:g} at most",
        "set sessions.review_seconds: 60",
        "docs/streams.md",
        _review,
    ),
    Check(
        "session-ends",
        Level.INTERMEDIATE,
        "A stream whose session cannot be confirmed ends",
        "Whoever can keep the store away would keep streams alive whose callers are not let in any more.",
        "sessions.end_when_store_away of the settings",
        "set sessions.end_when_store_away: true",
        "docs/streams.md",
        _session_ends,
    ),
    Check(
        "stream-rate",
        Level.ADVANCED,
        "No stream brings more than is meant",
        "One call counts once against its quota, however many messages it brings.",
        "limits.stream_messages_per_second of the settings",
        "set limits.stream_messages_per_second: 100, or what your methods need",
        "docs/streams.md",
        _streams,
    ),
)
