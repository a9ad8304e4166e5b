"""Worker processes on one port, and the supervisor that keeps them running; it never imports grpc."""
