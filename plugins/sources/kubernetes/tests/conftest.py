"""A stand-in for a cluster, with a claim of one of everything and a pod that uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.kubernetes_server import TOOLS, KubernetesServer
from tests.services.process import unavailable
from tests.sources.runs import Runs
from tests.trees import make_tree

BUSYBOX_TOOLS = ("sh", "find", "stat", "readlink", "xargs", "head", "tar", "ls", "grep", "cat", "touch", "sleep")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubernetesServer]:
    """The namespace `prod` with the claim `data`, which the pod `shop-0` has at `/data`."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with KubernetesServer(folder) as server:
        server.add("v1", "namespaces", "prod", {"metadata": {"uid": "one"}})
        server.add_claim("data", labels={"app": "shop"})
        server.add_pod("shop-0", {"data": "/data"}, uid="pod-uid-0")
        yield server


@pytest.fixture
def few(cluster: KubernetesServer) -> Path:
    """A file, a link of either kind and a folder in the claim `data`."""
    claim = cluster.claim_folder("prod", "data")
    (claim / "folder").mkdir()
    (claim / "file").write_bytes(b"content" * 1000)
    os.link(claim / "file", claim / "folder/again")
    (claim / "link").symlink_to("file")
    return claim


@pytest.fixture
def tree(cluster: KubernetesServer) -> Path:
    """One of everything that tar can tell of, in the claim `data`."""
    claim = cluster.claim_folder("prod", "data")
    claim.rmdir()
    make_tree(claim)
    for name in ("char", "block"):
        (claim / name).unlink(missing_ok=True)
    for path in sorted(claim.rglob("*")):
        status = path.lstat()
        for attribute in os.listxattr(path, follow_symlinks=False):
            os.removexattr(path, attribute, follow_symlinks=False)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
    return claim


@pytest.fixture
def runs(tmp_path: Path, cluster: KubernetesServer) -> Runs:
    """The command line and a repository, with the cluster's kubeconfig."""
    return Runs(tmp_path / "runs", {"KUBECONFIG": str(cluster.kubeconfig)})


@pytest.fixture
def busybox_pod(tmp_path: Path, cluster: KubernetesServer) -> None:
    """The pod has busybox's tools and no others."""
    program = shutil.which("busybox")
    if program is None:
        unavailable("busybox is not installed: `make test` installs it")
    folder = tmp_path / "busybox"
    folder.mkdir()
    for name in BUSYBOX_TOOLS:
        (folder / name).symlink_to(str(program))
    cluster.objects["v1", "pods", "prod", "shop-0"]["metadata"]["annotations"] = {TOOLS: str(folder)}
