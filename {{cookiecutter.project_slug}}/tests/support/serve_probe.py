"""`python -m support.serve_probe serve`: the command of a service, for the probe."""

import os

from secure_rpc.cli import run

if __name__ == "__main__":
    run(os.environ.get("PROBE_APPLICATION", "support.probe_application"))
