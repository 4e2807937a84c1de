"""Volumes by each way in: what restic restores is what was there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.services.kubernetes_delivery import delivered
from tests.services.kubernetes_server import KubernetesServer, kubelet_root
from tests.sources.runs import PASSWORD, Runs
from tests.trees import Facts, facts

CLAIM = "kubernetes://prod/data"
PATH = "/kubernetes/prod/volumes/data"
EXEC, NODE, SNAPSHOT = (("-o", f"kubernetes.method={method}") for method in ("exec", "node", "snapshot"))


def restic_restored(runs: Runs, restic: Restic, folder: Path, path: str = PATH) -> Path:
    """The folder as real restic restores it."""
    restic.run("restore", "latest", "--target", folder, repo=runs.repository, password=PASSWORD)
    return folder / path.strip("/")


def in_whole_seconds(found: Facts) -> Facts:
    """What busybox's `stat` can tell."""
    return {path: (*fact[:3], fact[3] // 10**9 * 10**9, *fact[4:]) for path, fact in found.items()}  # type: ignore[operator]


@pytest.mark.interop
def test_a_volume_by_exec_is_restored_as_it_was(
    runs: Runs, tree: Path, restic_new: Restic, tmp_path: Path, cluster: KubernetesServer
) -> None:
    """Names of any bytes, modes, owners, times to the nanosecond, links of both kinds: all would be lost in silence."""
    summary = runs.backup(*EXEC, CLAIM)
    assert summary["files_new"] > 700
    restored = restic_restored(runs, restic_new, tmp_path / "restored")
    assert facts(restored) == facts(tree)
    assert [command for command in cluster.commands if "xargs" in command[2]], "by tar"
    again = runs.backup(*EXEC, CLAIM)
    assert (again["data_added"], again["tree_blobs"]) == (0, 0), "an unchanged volume adds nothing"


@pytest.mark.interop
def test_a_volume_by_busybox_is_restored_as_it_was(
    runs: Runs, tree: Path, restic_new: Restic, tmp_path: Path, busybox_pod: None
) -> None:
    """Half of all images are built on Alpine: their tools know neither -printf nor names in a file."""
    runs.backup(*EXEC, CLAIM)
    restored = restic_restored(runs, restic_new, tmp_path / "restored")
    assert in_whole_seconds(facts(restored)) == in_whole_seconds(facts(tree))


@pytest.mark.interop
def test_a_volume_of_the_node_is_restored_as_it_was(
    runs: Runs, tree: Path, restic_new: Restic, tmp_path: Path, cluster: KubernetesServer
) -> None:
    """The quickest way must not see less; what is unchanged must not be read again."""
    os.setxattr(tree / "hello", "user.note", b"kept")
    options = (*NODE, "-o", f"kubernetes.kubelet_root={kubelet_root(tmp_path, tree)}")
    first = runs.backup(*options, CLAIM)
    assert facts(restic_restored(runs, restic_new, tmp_path / "restored")) == facts(tree)
    (tree / "dir/sub/a").write_bytes(b"changed")
    again = runs.backup(*options, CLAIM)
    assert again["files_unmodified"] == first["files_new"] - 3, "one file of three names has changed"
    assert cluster.commands == []


@pytest.mark.interop
def test_a_volume_by_snapshot_is_restored_as_it_was_when_it_was_cut(
    runs: Runs, cluster: KubernetesServer, restic_new: Restic, tmp_path: Path
) -> None:
    """That is what snapshots are for; and nothing of it may stay in the cluster."""
    cluster.add_csi()
    claim = cluster.claim_folder("prod", "data")
    (claim / "a").write_bytes(os.urandom(100_000))
    os.chmod(claim / "a", 0o640)
    before = facts(claim)
    runs.backup(*SNAPSHOT, CLAIM)
    assert facts(restic_restored(runs, restic_new, tmp_path / "restored")) == before
    assert cluster.names("volumesnapshots") == []
    assert cluster.names("pods") == ["shop-0"]
    assert cluster.names("persistentvolumeclaims") == ["data"]


def test_a_claim_that_no_pod_uses_is_read_by_a_helper(cluster: KubernetesServer) -> None:
    """The claims of what was scaled down are still somebody's data."""
    (cluster.add_claim("idle") / "note").write_text("kept")
    assert delivered(cluster, "prod/idle").contents == {"/kubernetes/prod/volumes/idle/note": b"kept"}
    assert cluster.names("pods") == ["shop-0"]


def test_auto_takes_the_node_then_a_snapshot_then_exec(runs: Runs, cluster: KubernetesServer, tmp_path: Path) -> None:
    """Each way is better than the next, and a user should not have to know which can be had."""
    claim = cluster.claim_folder("prod", "data")
    (claim / "a").write_text("x")
    root = kubelet_root(tmp_path, claim)
    assert f"real files in {claim}" in runs.run("backup", "-vv", "-o", f"kubernetes.kubelet_root={root}", CLAIM)
    assert "tar in pod prod/shop-0, container main" in runs.run("backup", "-vv", CLAIM)
    cluster.add_csi()
    assert "a CSI snapshot" in runs.run("backup", "-vv", CLAIM)
