"""buf's `curl`, written in Go with connect-go."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2

from tests.foreign.clients import USUAL, Answer, Client, values

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.foreign.clients import Call, Connection, Json

FIRST_CODE = 8  # of the exit codes that are a status, times eight; those below are buf's own


class Buf(Client):
    """`buf curl`, as somebody types it."""

    def __call__(self, call: Call, connection: Connection = USUAL, *, reflection: bool = False) -> Answer:
        """Make a call, with the schema from the service's image or from the service."""
        done = self._run(self._command(call, connection, reflection=reflection))
        responses = list(values(iter(done.stdout.splitlines())))
        if not done.returncode:
            return Answer("OK", responses=responses)
        if done.returncode < FIRST_CODE:
            return Answer("", done.stderr.strip(), responses)
        told = json.loads(done.stderr)
        code = code_pb2.Code.Name(done.returncode // FIRST_CODE)
        spelt = code.lower().replace("cancelled", "canceled")  # Go's way
        assert (done.returncode % FIRST_CODE, told["code"]) == (0, spelt), done
        details = {detail["type"]: _decoded(detail["type"], detail["value"]) for detail in told.get("details", ())}
        return Answer(code, told["message"], responses, details)

    def methods(self, metadata: dict[str, str]) -> list[str]:
        """List what the service offers, by reflection."""
        headers = [f"--header={key}: {value}" for key, value in metadata.items()]
        done = self._run([*self._begin(USUAL), *headers, "--reflect-header=*", "--list-methods", self._url])
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def watch(self, call: Call) -> Generator[Json, None, None]:
        """Yield responses as they come."""
        with self._output(self._command(call, USUAL)) as responses:
            yield from responses

    @property
    def _url(self) -> str:
        return f"https://localhost:{self.place.port}"

    def _begin(self, connection: Connection) -> list[str]:
        file = self.place.file
        pair = ["--cert", file(".dev/client.pem"), "--key", file(".dev/client.key")] if connection.certificate else []
        program = [file(".venv/bin/buf"), "curl", "--protocol=grpc", "--timeout=20s"]
        return [*program, "--cacert", file(".dev/ca.pem"), *pair]

    def _command(self, call: Call, connection: Connection, *, reflection: bool = False) -> list[str]:
        headers = [f"--header={key}: {value}" for key, value in call.metadata.items()]
        schema = ["--reflect-header=*"] if reflection else ["--schema", self.place.file("build/image.binpb")]
        data = "--data=" + " ".join(map(json.dumps, call.requests))
        return [*self._begin(connection), *headers, *schema, data, self._url + self.place.path(call)]


def _decoded(name: str, value: str) -> Json:
    """Return a detail as buf shows it: the bytes of the message, in base64 without padding."""
    detail = getattr(error_details_pb2, name.removeprefix("google.rpc."))()
    detail.ParseFromString(base64.b64decode(value + "=" * (-len(value) % 4)))
    told: Json = json_format.MessageToDict(detail)
    return told
