"""Serves `benchmarks.servers.many` as the service's own command would; it must not import grpc before."""

from secure_rpc.cli import run

if __name__ == "__main__":
    run("benchmarks.servers.many")
