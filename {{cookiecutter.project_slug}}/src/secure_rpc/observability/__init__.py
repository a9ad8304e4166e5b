"""Alerts, recording rules, routes and dashboards, built from what a service promises."""
