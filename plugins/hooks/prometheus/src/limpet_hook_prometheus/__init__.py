"""Limpet hook: metrics of runs for Prometheus."""
