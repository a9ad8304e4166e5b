"""Logs are followed, and each record reaches a syslog server at least once, in order; servers are real sockets."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from secure_rpc.audit.export import syslog
from secure_rpc.audit.export.exporter import Exporter, Positions
from secure_rpc.audit.export.sink import SinkUnavailable
from secure_rpc.audit.following import Follower, Position
from secure_rpc.audit.segments import closed_segments

from support.audit_logs import MakeRecord, written

HEADER = re.compile(
    rb"<(\d+)>1 (\S+) (\S+) (\S+) - (\S+) "
    rb"\[audit@32473 chain=\"([0-9a-f]+)\" seq=\"(\d+)\"(?: callId=\"(\S+)\")?\] (.*)"
)


def calls(messages: list[dict[str, Any]]) -> list[str]:
    return [message["call_id"] for message in messages if message["event"] == "call"]


def ids(begin: int, end: int) -> list[str]:
    return [f"call-{number}" for number in range(begin, end)]


# --- following -----------------------------------------------------------------------------------------------------


def test_a_follower_reads_on_from_file_to_file_and_no_half_line(tmp_path: Path, record: MakeRecord) -> None:
    path = tmp_path / "audit.log"
    follower = Follower(path)
    assert follower.read(10) == []
    log = written(path, record, 0, 5)
    assert [line.content["seq"] for line in follower.read(4)] == [1, 2, 3, 4]
    assert [line.content["seq"] for line in follower.read(4)] == [5, 6]
    with path.open("ab") as file:
        file.write(b'{"chain":"half')
    assert follower.read(10) == []
    log._writer.close()
    resumed = written(path, record, 5, 60, rotate_bytes=4096)  # what was torn is cut off
    assert len(closed_segments(path)) > 3
    seen = [line.content for line in follower.read(1000)]
    assert calls(seen) == ids(5, 60)
    assert [each["seq"] for each in seen] == list(range(7, resumed._chain.sequence + 1))
    follower.close()


def test_a_follower_goes_on_where_it_was_in_any_file(tmp_path: Path, record: MakeRecord) -> None:
    log = written(tmp_path / "audit.log", record, 0, 50, rotate_bytes=4096)
    last = log._chain.sequence
    for sequence in range(last + 1):
        follower = Follower(log.path, Position(log.chain_id, sequence))
        assert [line.content["seq"] for line in follower.read(1000)] == list(range(sequence + 1, last + 1))
        follower.close()


def test_a_position_in_another_chain_is_none(tmp_path: Path, record: MakeRecord) -> None:
    log = written(tmp_path / "audit.log", record, 0, 5)
    assert len(Follower(log.path, Position("another", 3)).read(100)) == 6


# --- syslog --------------------------------------------------------------------------------------------------------


class Collector:
    """A syslog server that keeps what it gets, and breaks connections when told to."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.connections: list[socket.socket] = []
        self.came = threading.Condition()

    @property
    def records(self) -> list[dict[str, Any]]:
        found = []
        for message in self.messages:
            match = HEADER.fullmatch(message)
            assert match is not None, message
            found.append(orjson.loads(match[9]))
        return found

    def wait(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.messages) >= count, 10), len(self.messages)

    def take(self, message: bytes) -> None:
        with self.came:
            self.messages.append(message)
            self.came.notify_all()


@contextmanager
def tcp_server(collector: Collector, port: int = 0) -> Iterator[int]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            collector.connections.append(self.request)
            while length := b"".join(iter(lambda: self.rfile.read(1).strip(), b"")):
                collector.take(self.rfile.read(int(length)))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def exporter_to(port: int, log: Path, positions: Path) -> Exporter:
    sink = syslog.Syslog(lambda: syslog.tcp("127.0.0.1", port), "things", "host-1")
    return Exporter(lambda: [log], sink, Positions(positions))


def test_records_are_messages_of_rfc_5424_with_chain_and_number(tmp_path: Path, record: MakeRecord) -> None:
    log, collector = written(tmp_path / "audit.log", record, 0, 2), Collector()
    with tcp_server(collector) as port:
        exporter = exporter_to(port, log.path, tmp_path / "sent")
        assert exporter.run(once=True) == 3
        collector.wait(3)
        exporter.close()
    first, refused, good = (HEADER.fullmatch(message) for message in collector.messages)
    assert first is not None
    assert refused is not None
    assert good is not None
    assert [match[1] for match in (first, refused, good)] == [b"110", b"109", b"110"]  # 13*8 + 6, + 5
    assert refused.groups()[2:8] == (b"host-1", b"things", b"call", log.chain_id.encode(), b"2", b"call-0")
    assert datetime.fromisoformat(refused[2].decode()).year == 2026
    lines = log.path.read_bytes().splitlines()
    assert [match[9] for match in (first, refused, good)] == lines  # as they are: their hashes still fit


def test_what_was_sent_is_not_sent_again_after_a_restart(tmp_path: Path, record: MakeRecord) -> None:
    path, collector = tmp_path / "audit.log", Collector()
    with tcp_server(collector) as port:
        for begin in (0, 5):
            written(path, record, begin, begin + 5)._writer.close()
            exporter = exporter_to(port, path, tmp_path / "sent")
            exporter.run(once=True)
            exporter.close()
        collector.wait(12)
    assert calls(collector.records) == ids(0, 10)
    assert orjson.loads((tmp_path / "sent").read_bytes()) == {"audit.log": [collector.records[0]["chain"], 12]}


def test_no_record_is_lost_when_a_connection_breaks(tmp_path: Path, record: MakeRecord) -> None:
    path, collector = tmp_path / "audit.log", Collector()
    log = written(path, record, 0, 5)
    with tcp_server(collector) as port:
        exporter = exporter_to(port, path, tmp_path / "sent")
        exporter.run(once=True)
        collector.wait(6)
        collector.connections[0].shutdown(socket.SHUT_RDWR)
        for number in range(5, 10):
            log.add(record(number))
        exporter.run(once=True)
        collector.wait(6 + 6 + 5)
        exporter.close()
    assert calls(collector.records) == [*ids(0, 5), *ids(0, 5), *ids(5, 10)]  # the batch before comes again


def test_a_server_that_is_away_is_waited_for(
    tmp_path: Path, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    path, collector = tmp_path / "audit.log", Collector()
    written(path, record, 0, 5)
    with tcp_server(Collector()) as port:
        pass
    exporter = exporter_to(port, path, tmp_path / "sent")
    with pytest.raises(SinkUnavailable):
        exporter_to(port, path, tmp_path / "sent").run(once=True)
    assert not (tmp_path / "sent").exists()
    running = threading.Thread(target=exporter.run)
    running.start()
    for _ in range(1000):
        if "audit records wait to be sent, again in 0.5 s" in caplog.text:
            break
        time.sleep(0.01)
    else:
        pytest.fail(f"nobody was told that nothing could be sent: {caplog.text}")
    with tcp_server(collector, port):
        collector.wait(6)
        exporter.stopping.set()
        running.join()
        exporter.close()
    assert calls(collector.records) == ids(0, 5)


def test_the_log_of_a_worker_that_comes_later_is_sent_too(tmp_path: Path, record: MakeRecord) -> None:
    logs, collector = [written(tmp_path / "audit.log", record, 0, 2).path], Collector()
    with tcp_server(collector) as port:
        sink = syslog.Syslog(lambda: syslog.tcp("127.0.0.1", port), "things", "host-1")
        exporter = Exporter(lambda: logs, sink, Positions(tmp_path / "sent"))
        exporter.run(once=True)
        logs.append(written(tmp_path / "audit.1.log", record, 2, 4).path)
        exporter.run(once=True)
        collector.wait(6)
        exporter.close()
    assert calls(collector.records) == ids(0, 4)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_unix_socket_of_either_kind_takes_them(tmp_path: Path, record: MakeRecord, kind: socket.SocketKind) -> None:
    log = written(tmp_path / "audit.log", record, 0, 1)
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(str(tmp_path / "log.sock"))
        if kind == socket.SOCK_STREAM:
            server.listen()
        sink = syslog.Syslog(lambda: syslog.unix(str(tmp_path / "log.sock")), "things", "host-1")
        exporter = Exporter(lambda: [log.path], sink, Positions(tmp_path / "sent"))
        assert exporter.run(once=True) == 2
        if kind == socket.SOCK_DGRAM:
            assert HEADER.fullmatch(server.recv(65536))
        else:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(65536).partition(b" ")[2].startswith(b"<110>1 ")
        exporter.close()


def test_what_a_caller_says_cannot_end_a_field(tmp_path: Path, record: MakeRecord) -> None:
    log = written(tmp_path / "audit.log", record, 0, 0)
    log.add(record(1, call_id='a"] evil \\ \n<0>1'))
    line = Follower(log.path).read(10)[-1]
    message = syslog.Syslog(lambda: syslog.unix(""), "na me\n", "").message(line)
    assert b'callId="a\\"\\] evil \\\\ ' in message
    assert message.startswith(b"<110>1 2026-01-01T00:00:00.500000+00:00 - na_me_ - call [")
