"""A volume of a snapshot into a claim: what arrives is what was saved, or the run says that it is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from stat import S_IFREG

import pytest
from limpet.contracts.destination import Piece, StoredFile, StoredStatus
from limpet.errors import DestinationError, IntegrityError, UsageError

from tests.services import kubernetes_delivery
from tests.services.kubernetes_delivery import received
from tests.services.kubernetes_exec import Fault
from tests.services.kubernetes_server import KubernetesServer
from tests.sources.runs import Runs, wait_until
from tests.trees import facts

VOLUME = "latest:/kubernetes/prod/volumes/data"
SIZE = ("-o", "kubernetes.size=2G")
COPY = ("--into", "kubernetes://prod/copy")
FILES = {"/kubernetes/prod/volumes/data/a": b"content", "/kubernetes/prod/volumes/data/b": b""}


@pytest.fixture
def saved(cluster: KubernetesServer, runs: Runs) -> Path:
    """A claim with a file of each size that matters, in a snapshot."""
    claim = cluster.claim_folder("prod", "data")
    (claim / "folder/inner").mkdir(parents=True)
    for number in range(30):
        (claim / f"folder/{number}").write_bytes(os.urandom(number * 1000))
    (claim / "large").write_bytes(os.urandom(9_000_000))
    (claim / "holes").write_bytes(bytes(12_000_000) + b"end")
    os.link(claim / "large", claim / "folder/linked")
    os.utime(claim / "folder", ns=(1, 1_600_000_000_123_456_789))
    os.chmod(claim / "folder", 0o555)
    runs.backup("-o", "kubernetes.method=exec", "kubernetes://prod/data")
    return claim


def test_a_new_claim_is_as_the_old_one(runs: Runs, tree: Path, cluster: KubernetesServer) -> None:
    """Names of any bytes, modes, owners, times, links of both kinds, through tar and back."""
    runs.backup("-o", "kubernetes.method=exec", "kubernetes://prod/data")
    runs.run("restore", VOLUME, *SIZE, "-o", "kubernetes.storage_class=slow", *COPY)
    assert facts(cluster.claim_folder("prod", "copy")) == facts(tree)
    claim = cluster.objects["v1", "persistentvolumeclaims", "prod", "copy"]
    assert claim["spec"]["resources"] == {"requests": {"storage": str(2 << 30)}}
    assert claim["spec"]["storageClassName"] == "slow"
    assert cluster.names("pods") == ["shop-0"]


def test_a_claim_that_is_there_must_be_empty(runs: Runs, saved: Path, cluster: KubernetesServer) -> None:
    """A restore into the wrong claim would overwrite a service that runs."""
    said = runs.run("restore", VOLUME, "--into", "kubernetes://prod/data", exit_code=1)
    assert "the claim holds files already" in said
    empty = cluster.add_claim("copy")
    (empty / "lost+found").mkdir()
    runs.run("restore", VOLUME, *COPY)
    (empty / "lost+found").rmdir()
    assert facts(empty) == facts(saved)
    (saved / "large").write_bytes(b"damaged")
    runs.run("restore", VOLUME, "-o", "kubernetes.overwrite=true", "--into", "kubernetes://prod/data")
    assert facts(saved) == facts(empty)


def test_a_claim_is_only_made_when_its_size_is_known(cluster: KubernetesServer) -> None:
    """A size that was guessed may be refused, or cost a fortune."""
    with pytest.raises(DestinationError, match=r"there is no such claim: -o kubernetes\.size=SIZE has one made"):
        received(cluster, "prod/copy", FILES)
    assert cluster.names("persistentvolumeclaims") == ["data"]


def test_what_is_no_volume_is_refused(cluster: KubernetesServer) -> None:
    """Two volumes into one claim would be a heap."""
    more = {**FILES, "/kubernetes/prod/volumes/second/a": b"", "/home/file": b""}
    with pytest.raises(UsageError, match="volumes/data, /kubernetes/prod/volumes/second; name one as SNAPSHOT:"):
        received(cluster, "prod/copy", more, size=1 << 30)
    with pytest.raises(UsageError, match="takes one claim"):
        received(cluster, "prod", FILES)


def test_a_connection_that_is_cut_is_told(cluster: KubernetesServer) -> None:
    """Nobody knows what of it was written: that must not look well, nor may the helper stay."""
    cluster.fault = Fault("tar -x", is_silent_about_end=True)
    with pytest.raises(DestinationError, match="the connection was cut"):
        received(cluster, "prod/copy", FILES, size=1 << 30)
    assert cluster.names("pods") == ["shop-0"]


def test_a_tar_that_fails_is_told(cluster: KubernetesServer, tmp_path: Path) -> None:
    """A claim that is too small is found out in the middle of the restore, amid a file of any size."""
    (tmp_path / "tools").mkdir()
    for name in ("sh", "ls", "grep", "head"):
        (tmp_path / "tools" / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "tools/tar").write_text("#!/bin/sh\necho 'tar: No space left on device' >&2\nexit 2\n")
    (tmp_path / "tools/tar").chmod(0o755)
    cluster.tools = str(tmp_path / "tools")
    with pytest.raises(DestinationError, match=r"tar failed in pod prod/limpet-.*: exit status 2: .*No space left"):
        received(cluster, "prod/copy", FILES, size=1 << 30)
    with pytest.raises(DestinationError, match="exit status 2"):
        received(cluster, "prod/copy", {"/kubernetes/prod/volumes/data/large": bytes(30_000_000)})
    assert cluster.names("pods") == ["shop-0"]
    wait_until(lambda: cluster.running == 0)


def test_a_damaged_snapshot_is_not_unpacked_as_whole(
    cluster: KubernetesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read of the repository must end the restore, though tar waits for the rest."""

    def broken(path: str, content: bytes) -> StoredFile:
        def pieces() -> Iterator[Piece]:
            yield Piece(10, content[:10])
            raise IntegrityError("a blob is damaged")

        return StoredFile(path, len(content), pieces, StoredStatus(S_IFREG | 0o644, 0, 0, 0))

    monkeypatch.setattr(kubernetes_delivery, "_stored", broken)
    with pytest.raises(IntegrityError):
        received(cluster, "prod/copy", {"/kubernetes/prod/volumes/data/large": bytes(30_000_000)}, size=1 << 30)
    assert cluster.names("pods") == ["shop-0"]
    wait_until(lambda: cluster.running == 0)
