"""Records sent elsewhere, by a command of its own that reads the log: no call waits for a collector."""
