"""The Envoy that stands before the service, where browsers and partners come in: its configuration, built."""
