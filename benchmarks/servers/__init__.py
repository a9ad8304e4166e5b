"""The servers beside the full chain; run by the environment of the generated service, with its handler."""
