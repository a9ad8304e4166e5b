"""The platform: what makes a gRPC service a secured one. No line of it knows the service's name."""
