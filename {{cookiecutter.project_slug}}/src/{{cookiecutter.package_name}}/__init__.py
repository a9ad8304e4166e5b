"""The service: what you write. What secures it is in `secure_rpc`."""
