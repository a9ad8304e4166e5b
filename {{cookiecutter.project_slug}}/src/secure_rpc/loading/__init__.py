"""Load on a running service: calls of all kinds at a stated rate, and what they told."""
