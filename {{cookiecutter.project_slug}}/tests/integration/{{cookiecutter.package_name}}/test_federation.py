"""Two copies of the service become partners, as docs/federation.md quotes it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

OURS = "{{ cookiecutter.trust_domain }}"


def test_the_page_on_federation_quotes_what_our_side_sees() -> None:
    command = [sys.executable, "-m", "{{ cookiecutter.package_name }}", "drill", "run", "federation"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if re.match(rf" .* -> {re.escape(OURS)}[:,]|\w+: ", line)]
    page = Path("docs/federation.md").read_text()
    [quoted] = re.findall(r"\$ make federation\n(.*?)```", page, re.DOTALL)
    assert quoted.splitlines() == told
