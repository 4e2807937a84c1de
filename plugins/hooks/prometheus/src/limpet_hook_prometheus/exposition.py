"""Metrics in Prometheus's text format, by its own client library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from limpet_hook_prometheus.metrics import Metric


def registry_of(metrics: Sequence[Metric], labels: Mapping[str, str]) -> CollectorRegistry:
    """A registry that holds the metrics, each with the labels, and nothing else."""
    registry = CollectorRegistry()
    for metric in metrics:
        gauge = Gauge(metric.name, metric.meaning, list(labels), registry=registry)
        (gauge.labels(**labels) if labels else gauge).set(metric.value)
    return registry


def encode_metrics(metrics: Sequence[Metric], labels: Mapping[str, str]) -> bytes:
    """The text of a file with these metrics."""
    return generate_latest(registry_of(metrics, labels))


def decode_metrics(text: str) -> list[tuple[Metric, Mapping[str, str]]]:
    """The metrics of a file, with their labels; ValueError for what is no such file."""
    try:
        return [
            (Metric(sample.name, family.documentation, float(sample.value)), sample.labels)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    except Exception as error:  # The parser raises whatever it stumbles over.
        raise ValueError("no metrics in Prometheus's text format") from error
