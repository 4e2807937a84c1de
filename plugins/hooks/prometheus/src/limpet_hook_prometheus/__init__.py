"""Limpet hook: metrics of runs for Prometheus."""

from limpet_hook_prometheus.hook import PrometheusHook

__all__ = [
    "PrometheusHook",
]
