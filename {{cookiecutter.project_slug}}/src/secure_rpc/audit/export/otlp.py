"""Records as OpenTelemetry log records, by OTLP over HTTP in JSON (OTLP 1.x, protobuf's JSON mapping)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
import orjson

from secure_rpc.audit.export.sink import Sink, SinkUnavailable
from secure_rpc.audit.record import CALL
from secure_rpc.audit.trail import Line

TIMEOUT_SECONDS = 10.0
INFO, WARN = 9, 13  # severity numbers of the log data model
_AS_ATTRIBUTES = ("chain", "seq", "call_id", "method", "code", "reason", "issuer", "subject", "workload", "tenant")


class Otlp(Sink):
    """Send to a collector, which acknowledges each batch.

    Args:
        url: of its logs, such as "https://collector:4318/v1/logs".
        resource: attributes of what the records come from.
        context: for TLS; None for plaintext.
        headers: of each request, such as one that authenticates.
    """

    def __init__(
        self,
        url: str,
        resource: Mapping[str, str],
        context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url
        self._resource = {"attributes": _attributes(resource)}
        self._client = httpx.Client(
            verify=context or False, timeout=TIMEOUT_SECONDS, trust_env=False, headers=dict(headers or {})
        )

    def send(self, lines: Sequence[Line]) -> None:
        """See `Sink`."""
        records = [_record(line) for line in lines]
        scope = {"scope": {"name": "secure_rpc.audit"}, "logRecords": records}
        body = orjson.dumps({"resourceLogs": [{"resource": self._resource, "scopeLogs": [scope]}]})
        try:
            answer = self._client.post(self._url, content=body, headers={"content-type": "application/json"})
        except httpx.HTTPError as error:
            raise SinkUnavailable(f"{type(error).__name__}: {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise SinkUnavailable(f"the collector answered {answer.status_code}")
        if rejected := _rejected(answer):
            raise SinkUnavailable(f"the collector rejected {rejected} of {len(lines)} records")

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()


def _record(line: Line) -> dict[str, Any]:
    content = line.content
    is_usual = content["event"] != CALL or content.get("code") == "OK"
    record: dict[str, Any] = {
        "severityNumber": INFO if is_usual else WARN,
        "severityText": "INFO" if is_usual else "WARN",
        "eventName": f"secure_rpc.audit.{content['event']}",
        "body": {"stringValue": line.raw.decode("utf-8", "replace")},  # as it is: its hash is in the next one
        "attributes": _attributes({key: content[key] for key in _AS_ATTRIBUTES if content.get(key)}),
    }
    with suppress(ValueError):
        record["timeUnixNano"] = str(round(datetime.fromisoformat(line.time).timestamp() * 1_000_000) * 1000)
    return record


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if type(value) is int else {"stringValue": str(value)}}
        for key, value in values.items()
    ]


def _rejected(answer: httpx.Response) -> int:
    """Return how many records a collector took not, though it answered well (OTLP's partial success)."""
    try:
        return int(answer.json()["partialSuccess"]["rejectedLogRecords"])
    except (ValueError, KeyError, TypeError):
        return 0
