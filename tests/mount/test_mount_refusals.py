"""Where nothing is mounted: at places that would hang the program or the machine, and where a word is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mount.mounting import Mounts


def test_at_the_repository(mounts: Mounts) -> None:
    """The program would read its own files through the mount that waits for it: the kernel would hang."""
    said = mounts.refused(mounts.site.repository)
    assert "repository" in said
    assert sorted(path.name for path in (mounts.site.repository / "locks").iterdir()) == []


@pytest.mark.parametrize("inside", ["data", "data/00", "locks"])
def test_inside_the_repository(mounts: Mounts, inside: str) -> None:
    """The same for a folder of it."""
    (mounts.site.repository / inside).mkdir(exist_ok=True)
    assert "inside" in mounts.refused(mounts.site.repository / inside)


def test_around_the_repository(mounts: Mounts) -> None:
    """The same for a folder that holds it."""
    assert "repository" in mounts.refused(mounts.site.folder)


def test_through_links(mounts: Mounts, tmp_path: Path) -> None:
    """Links and dots do not hide that a place is in the repository, whichever of the two is named by them."""
    link = tmp_path / "elsewhere"
    link.symlink_to(mounts.site.repository / "data")
    assert "inside" in mounts.refused(link)
    assert "inside" in mounts.refused(mounts.site.repository / "locks" / ".." / "data")
    link = tmp_path / "other name"
    link.symlink_to(mounts.site.repository)
    real = mounts.site.repository
    mounts.site.variables.update(LIMPET_REPOSITORY=f"local:{link}", RESTIC_REPOSITORY=f"local:{link}")
    assert "inside" in mounts.refused(real / "data")


def test_a_folder_of_a_similar_name(mounts: Mounts) -> None:
    """What only begins like the repository's path is another folder."""
    beside = mounts.site.repository.with_name("repository-mounted")
    beside.mkdir()
    mount = mounts.start_at(beside)
    assert "ids" in os.listdir(beside)
    assert mount.end().code == 0


def test_missing_folder(mounts: Mounts, tmp_path: Path) -> None:
    """The message names the folder; nothing was opened or locked before."""
    said = mounts.refused(tmp_path / "not here")
    assert str(tmp_path / "not here") in said
    assert "does not exist" in said


def test_no_folder(mounts: Mounts, tmp_path: Path) -> None:
    """A file is no place to mount."""
    (tmp_path / "file").touch()
    assert "not a directory" in mounts.refused(tmp_path / "file")


def test_no_name_for_times(mounts: Mounts, tmp_path: Path) -> None:
    """A template that no folder can be named by."""
    point = tmp_path / "point"
    point.mkdir()
    for template in ("", "/2006", "2006/"):
        assert "template" in mounts.refused(point, "--time-template", template)


def test_wrong_password(mounts: Mounts, tmp_path: Path) -> None:
    """The usual exit code, and nothing mounted."""
    point = tmp_path / "point"
    point.mkdir()
    mounts.site.variables.update(LIMPET_PASSWORD="wrong", RESTIC_PASSWORD="wrong")
    with pytest.raises(AssertionError, match="ended with 12"):
        mounts.start_at(point)
    assert os.listdir(point) == []
