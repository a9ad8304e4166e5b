"""`python -m support.serve_probe serve`: the command of a service, for the probe."""

from secure_rpc.cli import run

if __name__ == "__main__":
    run("support.probe_application")
