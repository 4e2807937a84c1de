"""The zip source keeps the contract, and refuses archives that lead astray."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import SourceError
from limpet.testing.source import SourceConformance
from limpet_source_zip import ZipSource


def make_archive(path: Path, *names: str) -> Path:
    """An archive whose members hold their own names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


class TestZipSource(SourceConformance):
    """All that Limpet asks of a source."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Source]:
        """An archive with folders that are members, and one that is only part of a name."""
        path = make_archive(tmp_path / "a.zip", "b.txt", "a/", "a/x.txt", "deep/er/y.txt", "empty/")
        source = ZipSource.open(SourceRequest([str(path)]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, tmp_path: Path) -> SourceRequest:
        """An archive that is not there."""
        return SourceRequest([str(tmp_path / "missing.zip")])


@pytest.mark.parametrize("names", [["../x"], ["/x"], ["a//x"], ["a", "a/x"]])
def test_archives_that_lead_astray(tmp_path: Path, names: list[str]) -> None:
    """A name that cannot be restored safely must not be backed up as if it could."""
    path = make_archive(tmp_path / "a.zip", *names)
    with pytest.raises(SourceError):
        ZipSource.open(SourceRequest([str(path)]))


def test_damaged_member(tmp_path: Path) -> None:
    """A member whose checksum is wrong is told as a file that cannot be read; the others are saved."""
    path = make_archive(tmp_path / "a.zip", "good", "damaged")
    path.write_bytes(path.read_bytes().replace(b"damageddamaged", b"damagedDAMAGED", 1))
    source = ZipSource.open(SourceRequest([str(path)]))
    [folder] = source.folders(source.targets()[0])
    damaged, good = (entry.stream for entry in folder.entries)
    assert good is not None
    assert damaged is not None
    with good() as stream:
        assert stream.read() == b"good"
    with damaged() as stream, pytest.raises(OSError, match="CRC"):
        stream.read()
    source.close()
