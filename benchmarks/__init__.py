"""What security costs: the generated service, measured against gRPC without it and against the usual way to add it."""
