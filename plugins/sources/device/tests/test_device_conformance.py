"""The source keeps the contract that every source keeps, and what it says of a device is true."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.source import Source, SourceRequest
from limpet.testing.source import SourceConformance
from limpet_source_device import DeviceSource


class TestImages(SourceConformance):
    """An image with holes, and an empty one."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Source]:
        """Both."""
        image = tmp_path / "disk.img"
        with image.open("wb") as file:
            file.write(os.urandom(200_000))
            file.truncate(3_000_001)
        (tmp_path / "empty.img").touch()
        source = DeviceSource.open(
            SourceRequest([str(image), f"//{tmp_path}/empty.img"], {"state": str(tmp_path / "state")})
        )
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, tmp_path: Path) -> SourceRequest:
        """Not there."""
        return SourceRequest([str(tmp_path / "missing.img")])


class TestNoDevice(SourceConformance):
    """A pipe, which has no size."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Source]:
        """An image of a single byte."""
        image = tmp_path / "disk.img"
        image.write_bytes(b"x")
        source = DeviceSource.open(SourceRequest([str(image)]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, tmp_path: Path) -> SourceRequest:
        """Opening it must not wait for a writer."""
        os.mkfifo(tmp_path / "fifo")
        return SourceRequest([str(tmp_path / "fifo")])
