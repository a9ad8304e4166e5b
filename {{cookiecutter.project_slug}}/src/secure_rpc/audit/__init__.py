"""The audit: exactly one record per call, in a chain that shows what was changed or taken out."""
