"""A volume of a snapshot into a claim: what arrives is what was saved, or the run says that it is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.services.kubernetes_exec import Fault
from tests.services.kubernetes_server import KubernetesServer
from tests.sources.runs import Runs, wait_until
from tests.trees import facts

VOLUME = "latest:/kubernetes/prod/volumes/data"
SIZE = ("-o", "kubernetes.size=2G")
COPY = ("--into", "kubernetes://prod/copy")


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


def test_a_claim_is_only_made_when_its_size_is_known(runs: Runs, saved: Path, cluster: KubernetesServer) -> None:
    """A size that was guessed may be refused, or cost a fortune."""
    said = runs.run("restore", VOLUME, *COPY, exit_code=1)
    assert "there is no such claim: -o kubernetes.size=SIZE has one made" in said
    assert cluster.names("persistentvolumeclaims") == ["data"]


def test_what_is_no_volume_is_refused(runs: Runs, saved: Path, cluster: KubernetesServer) -> None:
    """Two volumes into one claim would be a heap."""
    (cluster.add_claim("second") / "a").write_text("x")
    runs.backup("-o", "kubernetes.method=exec", "kubernetes://prod/data", "kubernetes://prod/second")
    said = runs.run("restore", "latest", *SIZE, *COPY, exit_code=1)
    assert "/kubernetes/prod/volumes/data, /kubernetes/prod/volumes/second; name one as SNAPSHOT:" in said
    assert "takes one claim" in runs.run("restore", VOLUME, "--into", "kubernetes://prod", exit_code=1)


def test_a_connection_that_is_cut_is_told(runs: Runs, saved: Path, cluster: KubernetesServer) -> None:
    """Nobody knows what of it was written: that must not end with 0, nor may the helper stay."""
    cluster.fault = Fault("tar -x", is_silent_about_end=True)
    said = runs.run("restore", VOLUME, *SIZE, *COPY, exit_code=1)
    assert "the connection was cut" in said
    assert cluster.names("pods") == ["shop-0"]


def test_a_tar_that_fails_is_told(runs: Runs, saved: Path, cluster: KubernetesServer, tmp_path: Path) -> None:
    """A claim that is too small is found out in the middle of the restore."""
    (tmp_path / "tools").mkdir()
    for name in ("sh", "ls", "grep", "head"):
        (tmp_path / "tools" / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "tools/tar").write_text("#!/bin/sh\necho 'tar: No space left on device' >&2\nexit 2\n")
    (tmp_path / "tools/tar").chmod(0o755)
    cluster.tools = str(tmp_path / "tools")
    said = runs.run("restore", VOLUME, *SIZE, *COPY, exit_code=1)
    assert "tar failed in pod prod/limpet-" in said
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert cluster.names("pods") == ["shop-0"]
    wait_until(lambda: cluster.running == 0)
