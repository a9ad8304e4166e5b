"""A process speaks TLS 1.3 and nothing older, or says why it does not; each case in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from secure_rpc.tls.floor import CIPHER_SUITES, NO_TLS_1_2, SETTING, TlsVersion, established

ESTABLISH = "from secure_rpc.tls import floor; floor.establish(); print(floor.established().value)"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in {CIPHER_SUITES, SETTING}}
    return subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=False
    )


def said(code: str, **environment: str) -> str:
    finished = run(code, **environment)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def problem(code: str, **environment: str) -> str:
    finished = run(code, **environment)
    assert finished.returncode == 1
    return finished.stderr.strip().splitlines()[-1]


def test_tls_1_3_is_the_floor_where_nobody_says_otherwise() -> None:
    assert said(f"{ESTABLISH}; import os; print(os.environ['{CIPHER_SUITES}'])").split() == ["TLSv1.3", NO_TLS_1_2]


def test_nothing_is_established_by_importing() -> None:
    assert said("from secure_rpc.tls import floor; print(floor.established().value)") == "TLSv1.2"


def test_the_environment_may_ask_for_tls_1_2() -> None:
    assert said(ESTABLISH, **{SETTING: "TLSv1.2"}) == "TLSv1.2"


@pytest.mark.parametrize("value", ["TLSv1.3", "TLSv1.1", "", "nonsense"])
def test_anything_else_in_the_environment_is_not_heard(value: str) -> None:
    assert said(ESTABLISH, **{SETTING: value}) == "TLSv1.3"


def test_a_floor_that_stands_already_is_kept() -> None:
    assert said(f"{ESTABLISH}; floor.establish()", **{CIPHER_SUITES: NO_TLS_1_2}) == "TLSv1.3"


def test_cipher_suites_of_another_hand_are_refused() -> None:
    assert problem(ESTABLISH, **{CIPHER_SUITES: "ALL"}) == (
        f"RuntimeError: {CIPHER_SUITES} is 'ALL' in the environment, which would let TLS 1.2 in: unset it"
    )


def test_grpc_must_not_be_imported_before() -> None:
    assert problem(f"import grpc; {ESTABLISH}") == (
        "RuntimeError: grpc was imported before secure_rpc.tls.floor.establish(): import it first"
    )


def test_the_module_imports_nothing_of_grpc() -> None:
    code = f"{ESTABLISH}; import sys; print(any(name.partition('.')[0] == 'grpc' for name in sys.modules))"
    assert said(code).split() == ["TLSv1.3", "False"]


def test_a_process_that_starts_again_has_the_floor_it_was_told() -> None:
    code = (
        f"{ESTABLISH}\n"
        "if floor.established() is floor.TlsVersion.TLS_1_3:\n"
        "    import sys; sys.stdout.flush()\n"
        "    floor.start_again(floor.TlsVersion.TLS_1_2)\n"
    )
    assert said(code).split() == ["TLSv1.3", "TLSv1.2"]


def test_these_tests_run_above_the_floor() -> None:
    assert established() is TlsVersion.TLS_1_3
