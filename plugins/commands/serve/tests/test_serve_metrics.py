"""Metrics: rest-server's names and labels, as dashboards expect them."""

from __future__ import annotations

import time

from limpet_command_serve.metrics import BlobOperation, Metrics, gauge
from prometheus_client.parser import text_string_to_metric_families


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every number, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.encode().decode())
        for sample in family.samples
    }


def test_counters_have_rest_servers_names() -> None:
    """Dashboards and alerts made for rest-server must go on to work."""
    metrics = Metrics()
    labels = (("repo", "web1/db"), ("type", "data"), ("user", 'we"b\n1'))
    for operation in BlobOperation:
        metrics.count(operation, 'we"b\n1', ("web1", "db"), "data", 100)
        metrics.count(operation, 'we"b\n1', ("web1", "db"), "data", 11)
    known = samples(metrics)
    for word in ("write", "read", "delete"):
        assert known[f"rest_server_blob_{word}_total", labels] == 2
        assert known[f"rest_server_blob_{word}_bytes_total", labels] == 111


def test_ours_are_there_too() -> None:
    """Refusals and what is stored are what an administrator wants an alert for."""
    metrics = Metrics()
    metrics.refused(507)
    metrics.watch(lambda: [gauge("limpet_serve_verify_damaged_files", "Damaged files", 3)])
    known = samples(metrics)
    assert known["limpet_serve_refused_total", (("status", "507"),)] == 1
    assert known["process_resident_memory_bytes", ()] > 1 << 20
    assert 0 <= time.time() - known["process_start_time_seconds", ()] < 86_400
    assert known["limpet_serve_verify_damaged_files", ()] == 3
