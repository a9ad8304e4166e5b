"""`client.mjs`, in Node with grpc-js."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from google.rpc import code_pb2, error_details_pb2

from tests.foreign.clients import USUAL, Answer, Client, values

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.foreign.clients import Call, Connection, Json, Place

PROGRAM = Path(__file__).with_name("client.mjs")


class Node(Client):
    """`client.mjs`, where its packages are installed.

    Args:
        place: where to.
        home: the only folder it may take for somebody's own.
        program: the file.

    """

    def __init__(self, place: Place, home: Path, program: Path) -> None:
        super().__init__(place, home)
        self._command = ["node", str(program)]

    def __call__(self, call: Call, connection: Connection = USUAL) -> Answer:
        """Make a call."""
        (answer,) = self.all(call, connection=connection)
        return answer

    def all(self, *calls: Call, connection: Connection = USUAL) -> list[Answer]:
        """Make calls one after another on one channel."""
        done = self._run(self._command, self._job(calls, connection))
        assert (done.returncode, done.stderr) == (0, ""), done
        answers: list[Answer] = []
        responses: list[Json] = []
        for value in values(iter(done.stdout.splitlines())):
            if "response" in value:
                responses.append(value["response"])
            else:
                answers.append(_ended(value["ended"], responses))
                responses = []
        assert len(answers) == len(calls), answers
        return answers

    def watch(self, call: Call) -> Generator[Json, None, None]:
        """Yield responses as they come."""
        with self._output(self._command, self._job((call,), USUAL)) as lines:
            for value in lines:
                yield value["response"]

    def _job(self, calls: tuple[Call, ...], connection: Connection) -> str:
        file = self.place.file
        return json.dumps({
            "address": f"localhost:{self.place.port}",
            "ca": file(".dev/ca.pem"),
            "certificate": file(".dev/client.pem") if connection.certificate else "",
            "key": file(".dev/client.key"),
            "newest_tls": connection.newest_tls,
            "options": connection.options,
            "image": file("build/image.binpb"),
            "protos": str(Path(error_details_pb2.__file__).parents[2]),
            "service": self.place.service,
            "calls": [{**asdict(call), "path": self.place.path(call)} for call in calls],
        })  # fmt: skip


def _ended(end: Json, responses: list[Json]) -> Answer:
    # AIP-193: what the details say of code and message is what the status says
    assert end["status"] in (None, {"code": end["code"], "message": end["message"]})
    return Answer(code_pb2.Code.Name(end["code"]), end["message"], responses, end["details"], end["correlation_id"])
