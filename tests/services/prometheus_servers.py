"""Prometheus's own programs: the Pushgateway, and node_exporter with nothing but its textfile collector."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.services.process import ServerProcess, free_port, program

Samples = dict[str, list[tuple[dict[str, str], float]]]


class MetricsServer:
    """One of them; `address` is without a slash at its end."""

    def __init__(self, name: str, folder: Path, *flags: str) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        command: list[str | Path] = [program(name), f"--web.listen-address=127.0.0.1:{port}", *flags]
        self._process = ServerProcess(command, folder / f"{name}.log").wait_for_port(port)
        self.close = self._process.close

    @classmethod
    def pushgateway(cls, folder: Path, *flags: str) -> Self:
        """A Pushgateway."""
        return cls("prometheus-pushgateway", folder, *flags)

    @classmethod
    def node_exporter(cls, folder: Path, textfiles: Path) -> Self:
        """A node_exporter that reads the textfiles."""
        flags = ("--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={textfiles}")
        return cls("prometheus-node-exporter", folder, *flags)

    def samples(self) -> Samples:
        """What a Prometheus would be told now: labels and value of each sample, by name."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        found: Samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
        return found
