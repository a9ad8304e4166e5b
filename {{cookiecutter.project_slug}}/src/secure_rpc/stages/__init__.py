"""The stages of the chain, one a file. Each is bound to every method once, at start."""
