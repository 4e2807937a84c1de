"""Snapshots, claims and helper pods that a run makes: all of them go again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.services.kubernetes_delivery import delivered, refused
from tests.services.kubernetes_exec import Fault
from tests.services.kubernetes_server import SNAPSHOTS, KubernetesServer
from tests.sources.runs import Runs, wait_until

CLAIM = "kubernetes://prod/data"
SNAPSHOT = ("-o", "kubernetes.method=snapshot")


@pytest.fixture(autouse=True)
def content(cluster: KubernetesServer) -> Path:
    """A cluster that can take snapshots, and a claim with something in it."""
    cluster.add_csi()
    claim = cluster.claim_folder("prod", "data")
    (claim / "a").write_bytes(os.urandom(500_000))
    return claim


def made(cluster: KubernetesServer) -> list[str]:
    """What there is beside what was there before."""
    names = [*cluster.names("volumesnapshots"), *cluster.names("pods"), *cluster.names("persistentvolumeclaims")]
    return [name for name in names if name not in {"shop-0", "data"}]


def test_a_failure_leaves_nothing(cluster: KubernetesServer) -> None:
    """Snapshots cost money every hour, and a helper pod holds its claim."""
    cluster.fault = Fault("xargs", cut_after_bytes=1)
    refused(cluster, "prod/data", method="snapshot")
    assert made(cluster) == []


def test_a_signal_leaves_nothing(cluster: KubernetesServer, runs: Runs) -> None:
    """Also amid the waiting for a pod that never starts."""
    cluster.stuck.add("pods")
    runs.stopped(*SNAPSHOT, CLAIM, at=lambda: len(cluster.names("pods")) > 1)
    assert made(cluster) == []


def test_what_a_killed_run_has_left_is_removed_by_the_next(cluster: KubernetesServer, runs: Runs) -> None:
    """Nobody would look for it, and it would be there for ever."""
    cluster.fault = Fault("xargs", stall_after_bytes=1)
    process = runs.start("backup", *SNAPSHOT, CLAIM)
    wait_until(lambda: any("xargs" in command[2] for command in cluster.commands))
    running = made(cluster)
    assert len(running) == 3
    cluster.fault = None
    delivered(cluster, "prod/data", method="exec")
    assert made(cluster) == running, "what is alive is left alone"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said = delivered(cluster, "prod/data", method="exec").said
    assert len([line for line in said if "which a run that was killed had left" in line]) == 3
    assert made(cluster) == []


def test_leftovers_of_another_machine_are_removed_when_they_are_old(cluster: KubernetesServer) -> None:
    """Whether a run on another machine is alive is not to be told from here."""
    metadata = {
        "labels": {"limpet.backup/run": "abc"},
        "annotations": {"limpet.backup/owner": "elsewhere/1/2"},
        "creationTimestamp": "2999-01-01T00:00:00Z",
    }
    cluster.add(SNAPSHOTS, "volumesnapshots", "new", {"metadata": dict(metadata), "spec": _of("data")})
    metadata["creationTimestamp"] = "2020-01-01T00:00:00Z"
    cluster.add(SNAPSHOTS, "volumesnapshots", "old", {"metadata": dict(metadata), "spec": _of("data")})
    delivered(cluster, "prod/data", method="exec")
    assert made(cluster) == ["new"]


def _of(claim: str) -> dict[str, object]:
    return {"source": {"persistentVolumeClaimName": claim}}


def test_a_snapshot_that_fails(cluster: KubernetesServer) -> None:
    """The driver knows why, and the user has to hear it."""
    cluster.snapshot_error = "quota exceeded"
    assert "failed: quota exceeded" in refused(cluster, "prod/data", method="snapshot")
    assert made(cluster) == []


def test_what_never_gets_ready_is_given_up(cluster: KubernetesServer) -> None:
    """A driver that does nothing must not hold a backup for ever."""
    cluster.stuck.add("volumesnapshots")
    said = refused(cluster, "prod/data", method="snapshot", wait=1)
    assert "is not ready after 1 s: it was not cut yet" in said
    assert made(cluster) == []


def test_a_helper_that_cannot_start_says_why(cluster: KubernetesServer) -> None:
    """An image that cannot be had is the usual reason in a cluster without a way out."""
    waiting = {"reason": "ErrImagePull", "message": "no route"}
    cluster.pod_status = {
        "phase": "Pending",
        "containerStatuses": [{"name": "limpet", "state": {"waiting": waiting}}],
    }
    said = refused(cluster, "prod/data", method="snapshot")
    assert "does not start: ErrImagePull: no route (-o kubernetes.helper_image names another image)" in said
    assert made(cluster) == []


def test_no_snapshots_here(cluster: KubernetesServer) -> None:
    """Asked for and not to be had is an error; auto goes another way."""
    cluster.without.add(SNAPSHOTS)
    assert "not found" in refused(cluster, "prod/data", method="snapshot")
    assert len(delivered(cluster, "prod/data").contents) == 1
