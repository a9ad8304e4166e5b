"""The demonstration: a service generated, started, called, refused, audited, stopped."""
