"""Drills: what is claimed of a service, shown on the real service, with files of its own."""
