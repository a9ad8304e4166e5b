"""Certificates and tokens for development and tests. Production never imports this."""
