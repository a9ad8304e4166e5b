"""Start one of the servers: `python -m benchmarks.servers bare`."""

import importlib
import sys

from secure_rpc.tls import floor

floor.establish()  # before grpc is imported: TLS 1.3 for all of them alike
importlib.import_module(f"benchmarks.servers.{sys.argv[1]}").main()
