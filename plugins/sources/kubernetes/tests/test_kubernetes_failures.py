"""What goes wrong between tar and us: nothing is saved as good that is not, and one line says why."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from limpet_source_kubernetes import remote

from tests.services.kubernetes_delivery import delivered, opened, refused
from tests.services.kubernetes_exec import Fault
from tests.services.kubernetes_server import TOOLS, KubernetesServer
from tests.services.process import free_port
from tests.sources.runs import Runs, command_lines, wait_until

CLAIM = "kubernetes://prod/data"
PATH = "/kubernetes/prod/volumes/data"
READ, LIST = "xargs", "find"
"""Words of the two commands that are run in a container."""
ALL = ("sh", "find", "xargs", "head", "tar", "rm", "cat")
MakeTools = Callable[..., None]


@pytest.fixture
def big(cluster: KubernetesServer) -> Path:
    """A claim with files enough that something can happen amid them."""
    claim = cluster.claim_folder("prod", "data")
    for number in range(20):
        (claim / f"file {number:02}").write_bytes(os.urandom(200_000))
    return claim


@pytest.fixture
def tools(cluster: KubernetesServer, tmp_path: Path) -> MakeTools:
    """Gives the container the machine's tools, but another `tar`; or no others than are named."""

    def make(
        tar: str | None = None, only: tuple[str, ...] = ("sh", "find", "xargs", "head", "tar", "rm", "cat")
    ) -> None:
        folder = tmp_path / "tools"
        folder.mkdir()
        for name in only:
            (folder / name).symlink_to(str(shutil.which(name)))
        if tar is not None:
            (folder / "tar").unlink()
            (folder / "tar").write_text(f"#!/bin/sh\n{tar}\n")
            (folder / "tar").chmod(0o755)
        cluster.objects["v1", "pods", "prod", "shop-0"]["metadata"]["annotations"] = {TOOLS: str(folder)}

    return make


def test_a_backup_of_half_a_volume_is_no_snapshot(cluster: KubernetesServer, runs: Runs, big: Path) -> None:
    """All the way: the source's word must count in the run as well."""
    cluster.fault = Fault(READ, cut_after_bytes=1_000_000)
    assert "the connection was cut before the command said how it ended" in runs.refused(CLAIM)


@pytest.mark.parametrize("command", [READ, LIST])
@pytest.mark.parametrize("is_in_order", [False, True], ids=["cut", "closed without a status"])
def test_a_connection_that_ends_early(cluster: KubernetesServer, big: Path, command: str, is_in_order: bool) -> None:
    """Half a volume, or half a listing of it, would be a backup that looks well until it is needed."""
    cluster.fault = Fault(command, is_silent_about_end=True) if is_in_order else Fault(command, cut_after_bytes=1)
    said = refused(cluster, "prod/data")
    assert "the connection was cut before the command said how it ended" in said
    assert "pod prod/shop-0, container main" in said


def test_a_command_that_is_killed(cluster: KubernetesServer, big: Path) -> None:
    """The kernel kills what needs too much memory: the kubelet then says 137, and in good order."""
    cluster.fault = Fault(READ, kill_after_bytes=500_000)
    assert "pod prod/shop-0, container main" in refused(cluster, "prod/data")
    for number in range(3000):  # more than a pipe holds: the listing cannot have ended before it is killed
        (big / f"a file with quite a long name {number}").touch()
    cluster.fault = Fault(LIST, kill_after_bytes=1)
    assert "exit status 137" in refused(cluster, "prod/data")


def test_a_tar_that_is_killed_alone(cluster: KubernetesServer, big: Path, tools: MakeTools) -> None:
    """The shell around it lives on and ends with a code of its own."""
    tools("head -c 300000 /dev/zero | /bin/tar -cf - --files-from=/dev/null; kill -KILL $$")
    assert "exit status 125" in refused(cluster, "prod/data")


@pytest.mark.parametrize(
    ("tar", "reason"),
    [
        ('/bin/tar "$@" | head -c 1000000', "ends within a"),
        ('/bin/tar "$@" | head -c 512; exit 2', "ends within a"),
        ("head -c 20000 /dev/urandom", "damaged"),
        ("exit 0", "left files out without saying why"),
    ],
    ids=["cut", "cut, and says so", "garbage", "nothing"],
)
def test_an_archive_that_is_none(cluster: KubernetesServer, big: Path, tools: MakeTools, tar: str, reason: str) -> None:
    """A tar that ends well has not always written well: a full disk below a wrapper, a broken tool."""
    tools(tar)
    assert reason in refused(cluster, "prod/data")


def test_a_file_that_vanishes_is_left_out_and_told(runs: Runs, big: Path, tools: MakeTools) -> None:
    """A volume in use changes all the time: the other files are worth a snapshot, and the exit code says 3."""
    tools(f"rm -f '{big}/file 05' '{big}/file 19'\nexec /bin/tar \"$@\"")
    said = runs.run("backup", CLAIM, exit_code=3)
    assert f"{PATH}/file 05: not there any more" in said
    assert f"{PATH}/file 19: not there any more" in said
    listed = runs.run("ls", "latest")
    assert [f"{PATH}/file {number:02}" in listed for number in range(20)] == [n not in {5, 19} for n in range(20)]
    assert runs.restored(f"{PATH}/file 06") == (big / "file 06").read_bytes()
    assert runs.restored(f"{PATH}/file 18") == (big / "file 18").read_bytes()


def test_a_file_that_changes_is_told(cluster: KubernetesServer, big: Path, tools: MakeTools) -> None:
    """What tar says of a file that it could not read as one whole must reach the user."""
    tools('/bin/tar "$@"\necho "tar: ./file 03: file changed as we read it" >&2\nexit 1')
    found = delivered(cluster, "prod/data")
    assert found.contents == {f"{PATH}/{path.name}": path.read_bytes() for path in big.iterdir()}
    assert found.error_count == 1
    assert "a file has changed while it was read: tar: ./file 03: file changed as we read it" in found.said[-1]


def test_a_container_without_tools(cluster: KubernetesServer, big: Path, tools: MakeTools) -> None:
    """Images without a shell are common: the user needs to hear of the other way."""
    tools(only=("sh",))
    assert "use -o kubernetes.method=snapshot" in refused(cluster, "prod/data")
    cluster.objects["v1", "pods", "prod", "shop-0"]["metadata"]["annotations"] = {TOOLS: "/nowhere"}
    assert "could not be run" in refused(cluster, "prod/data")


def test_a_volume_that_is_not_mounted_there(cluster: KubernetesServer) -> None:
    """A pod that is just being replaced."""
    cluster.claim_folder("prod", "data").rmdir()
    assert "there is no folder /data to read the volume from" in refused(cluster, "prod/data")


def test_what_is_not_there(cluster: KubernetesServer) -> None:
    """A claim that was renamed must not be missing from backups in silence."""
    assert "kubernetes://prod/nothing: there is no such claim" in refused(cluster, "prod/nothing")
    assert "not found" in refused(cluster, "elsewhere")


def test_one_of_several_is_left_out_when_asked(cluster: KubernetesServer, runs: Runs) -> None:
    """A namespace of fifty claims should not be without a backup for one that is broken."""
    (cluster.claim_folder("prod", "data") / "a").write_text("kept")
    said = runs.run("backup", "--allow-partial", CLAIM, "kubernetes://prod/nothing", exit_code=3)
    assert "left out of the snapshot: /kubernetes/prod/volumes/nothing" in said
    assert runs.restored(f"{PATH}/a") == b"kept"


def test_credentials_that_are_refused(cluster: KubernetesServer, runs: Runs, big: Path) -> None:
    """An expired token is the commonest failure of all; no token may show in messages, command lines or snapshots."""
    token, cluster.token = cluster.token, "another"
    said = runs.refused(CLAIM)
    assert "the cluster does not know who we are (401)" in said
    cluster.token = token
    with command_lines() as seen:
        said += runs.run("backup", "-vv", "kubernetes://prod")
    assert not [line for line in seen if token.encode() in line]
    assert token not in said
    cluster.forbidden.add(("GET", "pods/exec"))
    assert "forbidden, a role is missing (403)" in refused(cluster, "prod/data")


def test_an_api_that_is_down(cluster: KubernetesServer) -> None:
    """It is to be seen at once where nobody answers."""
    port = free_port()
    cluster.kubeconfig.write_text(cluster.kubeconfig.read_text().replace(cluster.url, f"http://127.0.0.1:{port}"))
    said = refused(cluster, "prod/data")
    assert f"the Kubernetes API at http://127.0.0.1:{port} does not answer: Connection refused" in said


def test_an_api_that_is_none(cluster: KubernetesServer) -> None:
    """A login page in between answers everything with 200."""
    cluster.answers_all_with = b"<html>Sign in</html>"
    assert "the answer is no JSON: is this a Kubernetes API?" in refused(cluster, "prod/data")


def test_a_tar_that_takes_its_time(
    cluster: KubernetesServer, big: Path, tools: MakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk says nothing for minutes, and is fine: the other end still answers."""
    monkeypatch.setattr(remote, "SILENCE_S", 0.05)
    tools('sleep 1; exec /bin/tar "$@"', only=(*ALL, "sleep"))
    assert len(delivered(cluster, "prod/data").contents) == 20


def test_an_end_that_does_not_answer(cluster: KubernetesServer, big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is gone sends nothing that would say so: waiting for it would take for ever."""
    monkeypatch.setattr(remote, "SILENCE_S", 0.05)
    cluster.fault = Fault(READ, stall_after_bytes=1, is_deaf=True)
    assert "the connection to the command is dead" in refused(cluster, "prod/data")


def test_a_core_that_is_slow_slows_tar(cluster: KubernetesServer) -> None:
    """A storage that is away for a while must neither fill the memory nor break the stream of names."""
    claim = cluster.claim_folder("prod", "data")
    names = [f"{'n' * 200} {number}" for number in range(6000)]
    for name in names:
        (claim / name).write_bytes(bytes(3000))
    found = []
    with opened(cluster, "prod/data", []) as source:
        (target,) = source.targets()
        (folder,) = source.folders(target)
        for entry in folder.entries:
            assert entry.stream is not None
            with entry.stream() as stream:
                found.append(len(stream.read()))
            if len(found) == 1:
                time.sleep(1)  # all buffers between tar and us are full by now, and names still waiting
        source.finish()
    assert found == [3000] * 6000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_amid_a_stream(cluster: KubernetesServer, runs: Runs, big: Path, number: int) -> None:
    """A run that waits for a pod that says nothing must still end at once when it is told to."""
    cluster.fault = Fault(READ, stall_after_bytes=1_000_000)
    runs.stopped(CLAIM, at=lambda: any(READ in command[2] for command in cluster.commands), number=number)
    wait_until(lambda: cluster.running == 0)


def test_more_than_the_kernel_holds_for_us(runs: Runs, cluster: KubernetesServer) -> None:
    """A file larger than any buffer between tar and the repository, byte for byte."""
    content = os.urandom(1 << 20) * 48
    (cluster.claim_folder("prod", "data") / "large").write_bytes(content)
    runs.backup(CLAIM)
    assert runs.restored(f"{PATH}/large") == content
