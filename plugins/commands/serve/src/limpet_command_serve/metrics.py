"""Metrics in Prometheus's text format: rest-server's by its names and labels, and ours beside them.

Written by hand, for the server's memory is measured against rest-server's: `prometheus_client` alone takes 5 MB.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from limpet_command_serve.names import Folders

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


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


@dataclass(frozen=True, slots=True)
class Family:
    """All numbers of one name."""

    name: str
    meaning: str
    kind: str
    """`counter` or `gauge`."""
    values: Mapping[Labels, float]

    def lines(self) -> Iterator[str]:
        """The text of the family."""
        yield f"# HELP {self.name} {self.meaning}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in sorted(self.values.items()):
            yield f"{self.name}{_written(labels)} {value!r}"


def gauge(name: str, meaning: str, value: float) -> Family:
    """One number that goes up and down."""
    return Family(name, meaning, "gauge", {(): value})


class Metrics:
    """The counters of one server, and whatever else is asked when somebody looks. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[BlobOperation, Counter[Labels]] = {operation: Counter() for operation in BlobOperation}
        self._bytes: dict[BlobOperation, Counter[Labels]] = {operation: Counter() for operation in BlobOperation}
        self._refused: Counter[Labels] = Counter()
        self._sources: list[Callable[[], Iterable[Family]]] = [process_families]

    def count(self, operation: BlobOperation, user: str, folders: Folders, kind: str, size_bytes: int) -> None:
        """One file was written, read or deleted, with that many bytes."""
        labels = (("user", user), ("repo", "/".join(folders)), ("type", kind))
        with self._lock:
            self._files[operation][labels] += 1
            self._bytes[operation][labels] += size_bytes

    def refused(self, status: int) -> None:
        """A request was refused. Nothing that a client made up becomes a label: nobody can fill the memory."""
        with self._lock:
            self._refused[("status", str(status)),] += 1

    def watch(self, source: Callable[[], Iterable[Family]]) -> None:
        """Ask this for more whenever somebody looks."""
        self._sources.append(source)

    def encode(self) -> bytes:
        """The text."""
        with self._lock:
            families = list(self._own_families())
        for source in self._sources:
            families += source()
        return "".join(f"{line}\n" for family in families for line in family.lines()).encode("utf-8", "replace")

    def _own_families(self) -> Iterator[Family]:
        for operation, (files, size) in _MEANINGS.items():
            name = f"rest_server_blob_{operation.value}"
            yield Family(f"{name}_total", f"Total number of {files}", "counter", dict(self._files[operation]))
            yield Family(f"{name}_bytes_total", f"Total number of {size}", "counter", dict(self._bytes[operation]))
        meaning = "Requests that were refused, by the status of the answer"
        yield Family("limpet_serve_refused_total", meaning, "counter", dict(self._refused))


def process_families() -> Iterator[Family]:
    """What dashboards of any process show, by its usual names; nothing where there is no /proc."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        open_files = len(os.listdir("/proc/self/fd"))
        booted_s = next(
            int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")
        )
    except (OSError, StopIteration):
        return
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    processor_s = (int(fields[11]) + int(fields[12])) / ticks_per_s
    yield Family(
        "process_cpu_seconds_total", "Total user and system CPU time spent in seconds", "counter", {(): processor_s}
    )
    resident_bytes = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    yield gauge("process_resident_memory_bytes", "Resident memory size in bytes", resident_bytes)
    started_s = booted_s + int(fields[19]) / ticks_per_s
    yield gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds", started_s)
    yield gauge("process_open_fds", "Number of open file descriptors", open_files)


def _written(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
