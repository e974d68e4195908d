"""Ingress: events over HTTP onto the log, each answered once the log has acknowledged it."""
