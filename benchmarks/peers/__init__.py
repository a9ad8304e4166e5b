"""Servers of other kinds, in an environment of their own; of the generated service they know the certificates."""
