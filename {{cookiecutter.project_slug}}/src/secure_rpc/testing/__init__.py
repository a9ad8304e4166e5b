"""For tests of services: a real server with certificates and tokens of its own, and clients to call it as anybody."""
