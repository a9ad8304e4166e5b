"""What calls have in common: quotas and nonces, behind one small protocol each, in memory by default."""
