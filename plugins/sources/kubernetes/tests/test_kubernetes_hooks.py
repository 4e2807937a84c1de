"""Commands before and after, from the annotations of pods."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.services.kubernetes_delivery import delivered, refused
from tests.services.kubernetes_exec import Fault
from tests.services.kubernetes_server import KubernetesServer
from tests.sources.runs import Runs, wait_until

CLAIM = "kubernetes://prod/data"
EXEC = ("-o", "kubernetes.method=exec")
NOTES = "notes"
Annotate = Callable[[Mapping[str, str]], None]
Noted = Callable[[], list[str]]


@pytest.fixture
def annotate(cluster: KubernetesServer) -> Annotate:
    """Gives the pod `shop-0` hooks: by the annotations' names without `.hook.backup.velero.io`."""

    def do(given: Mapping[str, str], pod: str = "shop-0") -> None:
        annotations = {name.replace("/", ".hook.backup.velero.io/"): value for name, value in given.items()}
        cluster.objects["v1", "pods", "prod", pod]["metadata"]["annotations"] = annotations

    return do


@pytest.fixture
def noted(cluster: KubernetesServer, tmp_path: Path) -> Noted:
    """Lines that hooks have written, made by `note`."""
    (cluster.claim_folder("prod", "data") / "a").write_bytes(os.urandom(300_000))
    return lambda: (tmp_path / NOTES).read_text().split() if (tmp_path / NOTES).exists() else []


def note(folder: Path, word: str, then: str = "true") -> str:
    """A command that writes a word down, as an annotation holds it."""
    return json.dumps(["sh", "-c", f"echo {word} >> {folder / NOTES}; {then}"])


def test_before_and_after_are_around_the_reading(
    cluster: KubernetesServer, annotate: Annotate, noted: Noted, tmp_path: Path
) -> None:
    """What freezes a database must come before the first byte, and what thaws it after the last, and soon."""
    frozen = cluster.claim_folder("prod", "data") / "frozen"
    annotate({
        "pre/command": note(tmp_path, "pre", f"touch {frozen}"),
        "pre/container": "main",
        "post/command": note(tmp_path, "post", f"rm {frozen}"),
    })  # fmt: skip
    found = delivered(cluster, "prod/data", method="exec")
    assert noted() == ["pre", "post"]
    assert found.contents["/kubernetes/prod/volumes/data/frozen"] == b"", "it was read while it was frozen"
    assert not frozen.exists()


def test_a_single_word_is_a_command(annotate: Annotate, cluster: KubernetesServer) -> None:
    """Velero takes `/sbin/fsfreeze` without brackets."""
    annotate({"pre/command": "true", "post/command": "true"})
    delivered(cluster, "prod/data", method="exec")
    assert cluster.commands.count(["true"]) == 2


def test_after_runs_whatever_happens(
    cluster: KubernetesServer, runs: Runs, annotate: Annotate, noted: Noted, tmp_path: Path
) -> None:
    """A database that stays frozen because of a broken backup is an outage."""
    annotate({"pre/command": note(tmp_path, "pre"), "post/command": note(tmp_path, "post")})
    cluster.fault = Fault("xargs", cut_after_bytes=1)
    refused(cluster, "prod/data", method="exec")
    assert noted() == ["pre", "post"]
    cluster.fault = Fault("xargs", stall_after_bytes=1)
    cluster.commands.clear()
    runs.stopped(*EXEC, CLAIM, at=lambda: any("xargs" in word for command in cluster.commands for word in command))
    assert noted() == ["pre", "post"] * 2
    annotate({"pre/command": note(tmp_path, "pre", "false"), "post/command": note(tmp_path, "post")})
    assert "pre hook in pod prod/shop-0, container main failed: exit status 1" in refused(
        cluster, "prod/data", method="exec"
    )
    assert noted() == ["pre", "post"] * 3


def test_what_fails_may_be_told_only(
    cluster: KubernetesServer, annotate: Annotate, noted: Noted, tmp_path: Path
) -> None:
    """`on-error: Continue` is the wish of somebody who prefers such a backup to none."""
    annotate({
        "pre/command": note(tmp_path, "pre", "echo not today >&2; exit 7"), "pre/on-error": "Continue",
        "post/command": note(tmp_path, "post"), "post/on-error": "Fail",
    })  # fmt: skip
    (said,) = delivered(cluster, "prod/data", method="exec").said
    assert "pre hook in pod prod/shop-0, container main failed: exit status 7: not today; going on" in said
    assert noted() == ["pre", "post"]
    annotate({"post/command": note(tmp_path, "post", "exit 7")})
    assert "post hook in pod prod/shop-0, container main failed: exit status 7" in refused(
        cluster, "prod/data", method="exec"
    )


def test_a_hook_that_hangs_is_given_up(annotate: Annotate, cluster: KubernetesServer) -> None:
    """A backup must not wait for ever for a command of somebody else."""
    annotate({"pre/command": json.dumps(["sleep", "600"]), "pre/timeout": "500ms"})
    assert "did not end within 0.5 s" in refused(cluster, "prod/data", method="exec")
    wait_until(lambda: cluster.running == 0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"pre/command": "[1]"}, "is no list of words"),
        ({"pre/command": '["a"'}, "is no JSON list"),
        ({"pre/command": "a", "pre/container": "side"}, "has no container 'side' (it has main)"),
        ({"pre/command": "a", "pre/on-error": "Maybe"}, "neither Fail nor Continue"),
        ({"post/command": "a", "post/timeout": "soon"}, "is no duration"),
    ],
)
def test_annotations_that_make_no_sense(
    cluster: KubernetesServer, annotate: Annotate, given: Mapping[str, str], reason: str
) -> None:
    """A hook that is not understood and not run would leave a backup of a database in motion."""
    annotate(given)
    said = refused(cluster, "prod/data", method="exec")
    assert reason in said
    assert "pod prod/shop-0: annotation" in said


def test_hooks_can_be_switched_off(annotate: Annotate, cluster: KubernetesServer) -> None:
    """Where Velero is still there and runs them itself."""
    annotate({"pre/command": "false"})
    delivered(cluster, "prod/data", method="exec", hooks=False)
    assert ["false"] not in cluster.commands


def test_a_snapshot_is_between_before_and_after(
    cluster: KubernetesServer, annotate: Annotate, noted: Noted, tmp_path: Path
) -> None:
    """The pod goes on as soon as the snapshot is cut, long before anything was read."""
    cluster.add_csi()
    frozen = cluster.claim_folder("prod", "data") / "frozen"
    annotate(
        {
            "pre/command": note(tmp_path, "pre", f"touch {frozen}"),
            "post/command": note(tmp_path, "post", f"rm {frozen}"),
        }
    )
    found = delivered(cluster, "prod/data", method="snapshot")
    assert noted() == ["pre", "post"]
    assert "xargs" in cluster.commands[-1][2], "both ran before the content was read"
    assert "/kubernetes/prod/volumes/data/frozen" in found.contents


def test_pods_without_a_claim_have_hooks_too(cluster: KubernetesServer, noted: Noted, tmp_path: Path) -> None:
    """With a whole namespace, Velero runs those of every pod in it."""
    cluster.add_pod("cache-0", {})
    annotations = {f"{phase}.hook.backup.velero.io/command": note(tmp_path, phase) for phase in ("pre", "post")}
    cluster.objects["v1", "pods", "prod", "cache-0"]["metadata"]["annotations"] = annotations
    delivered(cluster, "prod", method="exec")
    assert noted() == ["pre", "post"]


def test_all_volumes_of_a_pod_are_cut_while_it_is_frozen(
    cluster: KubernetesServer, noted: Noted, annotate: Annotate, tmp_path: Path
) -> None:
    """A database with its log on a second volume is consistent only if both are of one moment."""
    cluster.add_csi()
    cluster.add_claim("log")
    del cluster.objects["v1", "pods", "prod", "shop-0"]
    cluster.add_pod("shop-0", {"data": "/data", "log": "/log"})
    for method in ("snapshot", "exec"):
        frozen = [cluster.claim_folder("prod", claim) / f"frozen {method}" for claim in ("data", "log")]
        shown = " ".join(f"'{path}'" for path in frozen)
        annotate({
            "pre/command": note(tmp_path, "pre", f"touch {shown}"),
            "post/command": note(tmp_path, "post", f"rm {shown}"),
        })  # fmt: skip
        contents = delivered(cluster, "prod", method=method).contents
        assert {path for path in contents if path.endswith(f"/frozen {method}")} == {
            f"/kubernetes/prod/volumes/{claim}/frozen {method}" for claim in ("data", "log")
        }
    assert noted() == ["pre", "post"] * 2
