"""The places of a repository's files in a store: restic's, and no others."""

from __future__ import annotations

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, FileKind, Handle
from limpet.contracts.layout import Layout
from limpet.errors import BackendError

NAME = "ab" + "12" * 31


@pytest.mark.parametrize(("prefix", "before"), [("", ""), ("repo", "repo/"), ("a/b", "a/b/")])
def test_paths(prefix: str, before: str) -> None:
    """restic would find no repository at another place."""
    layout = Layout(prefix)
    assert layout.path(CONFIG_HANDLE) == f"{before}config"
    assert layout.path(Handle(FileKind.PACK, NAME)) == f"{before}data/ab/{NAME}"
    for kind in (FileKind.KEY, FileKind.LOCK, FileKind.SNAPSHOT, FileKind.INDEX):
        assert layout.path(Handle(kind, NAME)) == f"{before}{kind.value}/{NAME}"
        assert layout.folder(kind) == f"{before}{kind.value}/"


@pytest.mark.parametrize("kind", [kind for kind in FileKind if kind is not FileKind.CONFIG])
def test_names_at_paths(kind: FileKind) -> None:
    """What lies elsewhere, say in the repository beside it or in a folder too deep, is none of its files."""
    layout = Layout("repo")
    path = layout.path(Handle(kind, NAME))
    assert layout.name_at(kind, path) == NAME
    for other in (
        f"repo2/{path[5:]}",
        f"x/{path}",
        f"{path}/",
        f"{path}.tmp",
        path.upper(),
        path.replace(NAME, "x"),
        "",
    ):
        assert layout.name_at(kind, other) is None
    assert layout.name_at(FileKind.PACK, f"repo/data/{NAME}") is None
    assert layout.name_at(FileKind.PACK, f"repo/data/ff/{NAME}") is None


@pytest.mark.parametrize("name", ["", "..", "../" + "a" * 61, "A" * 64, "a" * 63 + "\n"])
def test_no_names(name: str) -> None:
    """A name out of a damaged index must not lead out of the repository."""
    with pytest.raises(BackendError) as caught:
        Layout("repo").path(Handle(FileKind.PACK, name))
    assert caught.value.permanent


def test_config_has_no_name() -> None:
    """It would be taken for another file."""
    with pytest.raises(BackendError, match="no name"):
        Layout("repo").path(Handle(FileKind.CONFIG, NAME))
