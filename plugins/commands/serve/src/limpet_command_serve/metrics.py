"""Metrics for Prometheus: rest-server's by its names and labels, and ours for what was refused and what is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from limpet_command_serve.quota import Folders, Usage

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_LABELS = ("user", "repo", "type")


class BlobOperation(Enum):
    """What was done with a file; the value is the word in the metric's name."""

    WRITE = "write"
    READ = "read"
    DELETE = "delete"


_MEANINGS = {
    BlobOperation.WRITE: ("blobs written", "bytes written to blobs"),
    BlobOperation.READ: ("blobs read", "bytes read from blobs"),
    BlobOperation.DELETE: ("blobs deleted", "bytes of blobs deleted"),
}


class Metrics:
    """The counters of one server."""

    def __init__(self, usage: Usage | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # rest-server shows none
        self.registry = CollectorRegistry()
        self._blobs = {}
        for operation, (files, size) in _MEANINGS.items():
            name = f"rest_server_blob_{operation.value}"
            self._blobs[operation] = (
                Counter(f"{name}_total", f"Total number of {files}", _LABELS, registry=self.registry),
                Counter(f"{name}_bytes_total", f"Total number of {size}", _LABELS, registry=self.registry),
            )
        self._refused = Counter(
            "limpet_serve_refused_total",
            "Requests that were refused, by reason",
            ("reason",),
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        if usage is not None:
            self.registry.register(_UsageCollector(usage))

    def count(self, operation: BlobOperation, user: str, folders: Folders, kind: str, size_bytes: int) -> None:
        """One file was written, read or deleted, with that many bytes."""
        files, size = self._blobs[operation]
        labels = (user, "/".join(folders), kind)
        files.labels(*labels).inc()
        size.labels(*labels).inc(size_bytes)

    def refused(self, reason: str) -> None:
        """A request was refused. Reasons are few and ours; nothing that a client made up."""
        self._refused.labels(reason).inc()

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show a number that is asked for when metrics are."""
        self.registry.register(_ValueCollector(name, meaning, value))

    def encode(self) -> bytes:
        """The text in Prometheus's format."""
        return generate_latest(self.registry)


class _ValueCollector(Collector):
    def __init__(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        self._name = name
        self._meaning = meaning
        self._value = value

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(self._name, self._meaning, value=self._value())


class _UsageCollector(Collector):
    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def collect(self) -> Iterable[Metric]:
        stored = GaugeMetricFamily("limpet_serve_stored_bytes", "Bytes stored, by repository", labels=("repo",))
        for folders, size_bytes in sorted(self._usage.by_repository().items()):
            stored.add_metric(("/".join(folders),), size_bytes)
        yield stored
