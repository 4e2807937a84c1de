"""Which claims, and what of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from limpet.contracts.source import SourceRequest
from limpet.errors import UsageError
from limpet_source_kubernetes import KubernetesSource

from tests.services.kubernetes_delivery import delivered, refused
from tests.services.kubernetes_server import KubernetesServer, kubelet_root
from tests.sources.runs import Runs

PATH = "/kubernetes/prod/volumes/data"
EXEC = ("-o", "kubernetes.method=exec")
CLAIM = "kubernetes://prod/data"


def test_a_selector_finds_claims(cluster: KubernetesServer) -> None:
    """The claims of a stateful set have numbers, and come and go: nobody wants to list them."""
    for name in ("data-1", "data-2", "other"):
        (cluster.add_claim(name, labels={"app": "shop" if name != "other" else "x"}) / "name").write_text(name)
    (cluster.claim_folder("prod", "data") / "name").write_text("data")
    contents = delivered(cluster, "prod/?selector=app=shop").contents
    assert contents == {f"/kubernetes/prod/volumes/{name}/name": name.encode() for name in ("data", "data-1", "data-2")}
    assert "no claim matches" in refused(cluster, "prod/?selector=app=nothing")


def test_what_a_snapshot_is_found_by_stays_the_same(cluster: KubernetesServer) -> None:
    """The next backup looks for its parent by these paths, whatever claims there are by then."""
    options = {"kubeconfig": str(cluster.kubeconfig)}
    wanted = {"prod/data": PATH, "prod/?selector=a=b": "/kubernetes/prod/volumes", "prod": "/kubernetes/prod"}
    for place, path in wanted.items():
        assert KubernetesSource.open(SourceRequest([f"//{place}"], options)).snapshot_paths == [path]


@pytest.mark.parametrize(
    "place",
    ["", "//", "//prod/a/b", "//prod/Data", "//prod/a?selector=b", "//prod/?selector=", "//u@prod", "//prod?x=1"],
)
def test_an_address_that_is_none(cluster: KubernetesServer, place: str) -> None:
    """A wrong address must be told before anything is done, with the forms that there are."""
    with pytest.raises(UsageError):
        KubernetesSource.open(SourceRequest([place], {"kubeconfig": str(cluster.kubeconfig)}))


def test_several_files_of_a_batch_in_threads(runs: Runs, cluster: KubernetesServer) -> None:
    """Threads that read one stream of tar must each get their own file, also more of them than there are at once."""
    claim = cluster.claim_folder("prod", "data")
    contents = {f"{number:04}": os.urandom(number * 7) for number in range(400)}
    for name, content in contents.items():
        (claim / name).write_bytes(content)
    runs.backup(*EXEC, "--read-concurrency", "8", CLAIM)
    target = cluster.folder / "restored"
    runs.run("restore", "latest", "--target", target)
    restored = target / PATH.strip("/")
    assert {path.name: path.read_bytes() for path in restored.iterdir()} == contents


def test_excludes_hold_in_a_container(runs: Runs, cluster: KubernetesServer) -> None:
    """A cache that is left out everywhere must not come in through a pod."""
    claim = cluster.claim_folder("prod", "data")
    for folder in ("cache", "tagged", "plain"):
        (claim / folder / "inner").mkdir(parents=True)
        (claim / folder / "inner/file").write_text("x")
    (claim / "cache/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (claim / "plain/CACHEDIR.TAG").write_text("no cache")
    (claim / "tagged/.nobackup").write_text("")
    (claim / "plain/big").write_bytes(bytes(5000))
    (claim / "plain/a.tmp").write_text("")
    flags = (
        "--exclude-caches",
        "--exclude-if-present",
        ".nobackup",
        "--exclude",
        "*.tmp",
        "--exclude-larger-than",
        "4k",
    )
    runs.backup(*EXEC, *flags, CLAIM)
    listed = runs.run("ls", "latest")
    inside = {line.removeprefix(PATH) for line in listed.splitlines() if line.startswith(PATH + "/")}
    assert inside == {
        "/cache", "/cache/CACHEDIR.TAG", "/tagged", "/tagged/.nobackup",
        "/plain", "/plain/CACHEDIR.TAG", "/plain/inner", "/plain/inner/file",
    }  # fmt: skip


def test_another_volume_inside_is_not_read_by_the_node(cluster: KubernetesServer, tmp_path: Path) -> None:
    """What is mounted inside a volume is another volume: it has a claim of its own, or is /proc."""
    claim = cluster.claim_folder("prod", "data")
    for name in ("real", "proc"):
        (claim / name).mkdir()
    if os.geteuid() or subprocess.run(["mount", "--bind", "/proc", claim / "proc"], check=False).returncode:
        pytest.skip("may not mount here")
    try:
        root = kubelet_root(tmp_path, claim)
        options = {"kubeconfig": str(cluster.kubeconfig), "method": "node", "kubelet_root": str(root)}
        source = KubernetesSource.open(SourceRequest(["//prod/data"], options))
        (target,) = source.targets()
        folders = {folder.path.rpartition(b"/")[2]: folder.entries for folder in source.folders(target)}
        source.close()
        options["method"] = "exec"
        source = KubernetesSource.open(SourceRequest(["//prod/data"], options))
        (target,) = source.targets()
        by_exec = {folder.path.rpartition(b"/")[2]: folder.entries for folder in source.folders(target)}
        source.close()
    finally:
        subprocess.run(["umount", claim / "proc"], check=True)
    assert folders == {b"data": folders[b"data"], b"proc": [], b"real": []}
    assert set(by_exec) == set(folders)
    assert by_exec[b"proc"] == []
