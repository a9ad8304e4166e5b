"""Start one of them: `python -m benchmarks.peers fastapi_server`."""

import importlib
import sys

importlib.import_module(f"benchmarks.peers.{sys.argv[1]}").main()
