"""What a process gives back once it serves."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from secure_rpc import memory

SMAPS = """\
55d0c8a3e000-55d0c8a3f000 r-xp 00001000 fe:01 1234                       /usr/bin/python3.11
Rss:                   4 kB
Anonymous:             0 kB
7f0000000000-7f0000200000 r-xp 00000000 fe:01 77                         /opt/with space/lib.so (deleted)
Rss:                2048 kB
Anonymous:             0 kB
7f0000200000-7f0000300000 r-xp 00000000 fe:01 78                         /opt/changed.so
Anonymous:             4 kB
7f0000300000-7f0000400000 r--p 00000000 fe:01 78                         /opt/relocated.so
Anonymous:             0 kB
7f0000400000-7f0000500000 rw-p 00000000 fe:01 78                         /opt/data.so
Anonymous:             0 kB
7f0000500000-7f0000600000 r-xs 00000000 fe:01 78                         /opt/shared.so
Anonymous:             0 kB
7f0000600000-7f0000700000 r-xp 00000000 00:00 0
Anonymous:             0 kB
7f0000700000-7f0000701000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
7f0000800000-7f0000900000 r-xp 00000000 fe:01 79                         /opt/nothing-said.so
Rss:                   0 kB
"""

PROBE = """
import cryptography.x509, grpc, orjson, ssl
from pathlib import Path
from secure_rpc import memory

def code_kilobytes():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssFile:")[2].split()[0])

before = code_kilobytes()
memory.settle()
after = code_kilobytes()
ssl.create_default_context()
assert orjson.loads(orjson.dumps({"still": grpc.StatusCode.OK.name})) == {"still": "OK"}
print(before, after)
"""


def test_only_code_that_its_file_still_has_is_given_back() -> None:
    assert [*memory.code(SMAPS)] == [(0x55D0C8A3E000, 0x55D0C8A3F000), (0x7F0000000000, 0x7F0000200000)]
    assert [*memory.code("")] == []


@pytest.mark.skipif(not memory.MAPPINGS.exists(), reason="another system has no /proc/self/smaps")
def test_a_process_holds_less_code_once_it_has_settled_and_still_works() -> None:
    found = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    before, after = map(int, found.stdout.split())
    assert after < 0.8 * before


def test_where_the_system_does_not_tell_the_rest_is_done_all_the_same(tmp_path: Path) -> None:
    threshold = gc.get_threshold()
    try:
        memory.settle(tmp_path / "not-there")
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == memory.GARBAGE_OBJECTS
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)
