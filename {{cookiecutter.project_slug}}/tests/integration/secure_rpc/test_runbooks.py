"""Each command of the runbooks that looks at a service of this machine is run as it is printed, on one that runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_rpc.platform import Application

from support.runbook_ground import Practice, practice
from support.runbooks import DESTRUCTIVE, RUN, Block

CALM = [page for page, found in RUN.items() if found and page not in DESTRUCTIVE]
# stands where kubectl is expected, and runs here what is to be run in a pod
KUBECTL = """#!/bin/sh
case "$*" in
  *"get pods -l app.kubernetes.io/name=$SERVICE -o name") echo pod/a; echo pod/b; exit 0;;
  "-n $NAMESPACE exec "*" -c service -- "*) ;;
  *) echo "kubectl: what is $*?" >&2; exit 1;;
esac
while [ "$1" != -- ]; do shift; done
shift
for each in "$@"; do
  shift
  case "$each" in "/var/log/$SERVICE") each=build/audit;; "$POD_CONFIG") each=$CONFIG;; esac
  set -- "$@" "$each"
done
exec "$@"
"""


@pytest.fixture(scope="module")
def calm(application: Application) -> Iterator[Practice]:
    with (
        tempfile.TemporaryDirectory(prefix="rb-", ignore_cleanup_errors=True) as name,  # short: sockets are in it
        practice(application, Path(name)) as running,
    ):
        yield running


@pytest.mark.parametrize("page", CALM)
def test_what_a_page_looks_at_can_be_seen(calm: Practice, page: str) -> None:
    calm.follow(RUN[page])


def test_commands_are_run_at_all() -> None:
    assert sum(map(len, RUN.values())) > 100
    assert len(DESTRUCTIVE) > 10


@pytest.mark.parametrize(
    ("text", "seen", "told"),
    [
        ("ready", "nonsense\n", "the page says 'nonsense'"),
        ("metric secure_rpc_no_such_thing", "", "exit code 1"),
        ("false\nready", "", "exit code 1"),
        ("exit 0", "", "the shell ended early"),
    ],
)
def test_what_a_page_says_wrongly_is_found(calm: Practice, text: str, seen: str, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        calm.follow([Block("page", 1, "sh local", f"{text}\n", seen), Block("page", 5, "sh local", "ready\n")])


def test_what_has_not_been_counted_yet_is_no_mistake(calm: Practice) -> None:
    calm.follow([
        Block("page", 1, "sh local", "metric secure_rpc_streams_ended_total\n", "secure_rpc_streams_ended_total"),
        Block("page", 2, "sh local", "metric secure_rpc_token_validation_failures_total\n", "none yet"),
    ])  # fmt: skip


def test_a_command_is_run_in_a_pod_in_all_of_them_and_their_logs_are_fetched(calm: Practice) -> None:
    tools = calm.folder / "build/tools"
    tools.mkdir()
    (tools / "kubectl").write_text(KUBECTL)
    (tools / "kubectl").chmod(0o755)
    done = calm.run(
        "PATH=$PWD/build/tools:$PATH\npods\nin_pod policy check\neach_pod audit verify\nevidence build/evidence\n"
        "tar -tf build/evidence/b.tar"
    )
    assert (done.returncode, done.stderr) == (0, "")
    for said in ("pod/a\npod/b\n", "no warnings", "--- pod/a\n", "--- pod/b\n", "whole", "a.tar", "audit/audit.log"):
        assert said in done.stdout
