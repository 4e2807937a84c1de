"""A mount whose storage does not answer ends all the same: no mount, no process, no lock where that can be removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mount.mounting import END_LIMIT_S, JUDGED, Mounted, Mounts, is_mounted, make_site, point_at, wait_for
from tests.safety.files import write_tree
from tests.safety.program import Ended
from tests.services.fault_proxy import BLACK_HOLE, FaultProxy, Request, status
from tests.services.rest_server import RestServer

READ = "import sys; file = open(sys.argv[1], 'rb'); print('opened', flush=True); file.read(); print('read', flush=True)"
LIST = "import os, sys; print('began', flush=True); os.listdir(sys.argv[1]); print('listed', flush=True)"


@pytest.fixture
def server(tmp_path: Path, closing: ExitStack) -> RestServer:
    """restic's REST server."""
    server = RestServer(tmp_path / "server")
    closing.callback(server.close)
    return server


@pytest.fixture
def far_away(server: RestServer, closing: ExitStack) -> FaultProxy:
    """What is between the mount and the server."""
    return closing.enter_context(FaultProxy(server.port))


@pytest.fixture
def mount(tmp_path: Path, server: RestServer, far_away: FaultProxy) -> Iterator[Mounted]:
    """A mount of the repository on the server, in which one file of `source` was looked up."""
    site = make_site(tmp_path)
    site.repository = server.data / "repository"
    site.create()
    point_at(site, str(site.repository))
    source = tmp_path / "source"
    source.mkdir()
    write_tree(source, 1, small=0, large_mib=8)
    site.run("--no-cache", "backup", source)
    point_at(site, f"rest:http://127.0.0.1:{far_away.port}/repository/")
    mounts = Mounts(site, tmp_path)
    try:
        mount = mounts.start("--no-cache", prefix=["env", "--default-signal=INT,TERM"])
        wait_for(mount, large_file(mount, tmp_path))
        yield mount
    finally:
        mounts.close()


def large_file(mount: Mounted, folder: Path) -> Path:
    """One that nobody has read yet."""
    return mount.point / "snapshots" / "latest" / str(folder / "source" / "large-0").lstrip("/")


def of_data(request: Request) -> bool:
    """A request for a pack."""
    return request.reads and "/data/" in request.path


def of_snapshots(request: Request) -> bool:
    """A request for one of them."""
    return request.reads and "/snapshots/" in request.path and not request.path.endswith("/")


def to_list(request: Request) -> bool:
    """A request for the list of them."""
    return request.path.endswith("/snapshots/")


def waiting(script: str, path: Path) -> subprocess.Popen[bytes]:
    """A process that has begun to wait for something in the mount."""
    process = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() in {b"opened\n", b"began\n"}
    return process


@pytest.fixture
def reader(mount: Mounted, far_away: FaultProxy, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for data which do not come."""
    plan = far_away.inject(BLACK_HOLE, when=of_data)
    with waiting(READ, large_file(mount, tmp_path)) as process:
        try:
            mount.running.wait_until(lambda: plan.happened > 0, "the data were asked for")
            yield process
        finally:
            process.kill()


def locks(server: RestServer) -> list[str]:
    """Where the storage lives."""
    return os.listdir(server.data / "repository" / "locks")


@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM", "umount --lazy", "SIGINT after umount --lazy"])
def test_a_stuck_reader(mount: Mounted, reader: subprocess.Popen[bytes], server: RestServer, way: str) -> None:
    """The data never come: the mount ends all the same, and the reader gets an error instead of hanging on."""
    if "umount" in way:
        subprocess.run(["umount", "--lazy", mount.point], check=True)
    if way == "umount --lazy":
        # Somebody still reads: what was asked for is waited for, as after any lazy unmount, until he gives up.
        assert mount.running.process.poll() is None
        reader.kill()
        ended = mount.gone()
    else:
        ended = mount.end(getattr(signal, way.split(maxsplit=1)[0]))
    assert "Traceback" not in ended.err
    assert reader.wait(END_LIMIT_S) != 0
    assert locks(server) == []


@pytest.mark.parametrize("way", ["SIGTERM", "umount", "umount --lazy"])
def test_a_stopped_server(mount: Mounted, server: RestServer, way: str) -> None:
    """A server that is stopped takes connections and never answers: the lock stays, which is told, and nothing else."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        ended = mount.unmount(*way.split()[1:]) if "umount" in way else mount.end(getattr(signal, way))
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert "Traceback" not in ended.err
    assert JUDGED or "unable to remove the lock in time" in ended.err
    assert len(locks(server)) <= 1  # the server may have done it after all when it went on


def test_all_is_dead_and_somebody_reads(
    mount: Mounted, reader: subprocess.Popen[bytes], far_away: FaultProxy, server: RestServer
) -> None:
    """Neither data come, nor can the lock be taken away: both are given up in time."""
    far_away.inject(BLACK_HOLE, when=lambda _: True)
    ended = mount.end(signal.SIGINT)
    assert "Traceback" not in ended.err
    assert JUDGED or "unable to remove the lock in time" in ended.err
    assert reader.wait(END_LIMIT_S) != 0
    assert len(locks(server)) == 1


def test_a_server_that_is_gone(mount: Mounted, server: RestServer, far_away: FaultProxy, tmp_path: Path) -> None:
    """No server is there, and reads are tried again for long: nobody waits for that at the end."""
    server.kill()
    before = far_away.accepted
    with waiting(READ, large_file(mount, tmp_path)) as reader:
        mount.running.wait_until(lambda: far_away.accepted > before + 1, "it was tried again")
        ended = mount.end(signal.SIGINT)
        assert "Traceback" not in ended.err
        assert reader.wait(END_LIMIT_S) != 0


@pytest.mark.skipif(bool(JUDGED), reason="restic looks for new snapshots at other times")
@pytest.mark.parametrize("way", ["SIGINT", "umount --lazy"])
def test_a_look_for_new_snapshots_that_hangs(
    mount: Mounted, server: RestServer, far_away: FaultProxy, tmp_path: Path, way: str
) -> None:
    """A new snapshot is listed and never comes: its threads wait in the storage, and nobody waits for them."""
    plan = far_away.inject(BLACK_HOLE, when=of_snapshots)
    site = make_site(tmp_path / "other")
    point_at(site, str(server.data / "repository"))
    site.run("--no-cache", "backup", tmp_path / "source")
    look_until(mount, lambda: plan.happened > 0, way)
    assert locks(server) == []


@pytest.mark.skipif(bool(JUDGED), reason="restic looks for new snapshots at other times")
def test_a_look_for_new_snapshots_that_is_tried_again(mount: Mounted, server: RestServer, far_away: FaultProxy) -> None:
    """The list is refused for now, and asked for again and again: the end does not wait for the next try."""
    plan = far_away.inject(status(503), when=to_list)
    look_until(mount, lambda: plan.happened > 1, "SIGINT")
    assert locks(server) == []


@pytest.mark.skipif(bool(JUDGED), reason="restic looks for new snapshots at other times")
def test_all_is_dead_and_somebody_looks(mount: Mounted, server: RestServer, far_away: FaultProxy) -> None:
    """After a lazy unmount whoever waits for a view is answered at once: the mount cannot end before."""
    plan = far_away.inject(BLACK_HOLE, when=lambda _: True)
    ended = look_until(mount, lambda: plan.happened > 0, "umount --lazy")
    assert "unable to remove the lock in time" in ended.err
    assert len(locks(server)) == 1


def look_until(mount: Mounted, happened: Callable[[], bool], way: str) -> Ended:
    """How it ended: somebody looks into a view until this has happened; then the mount ends, and he gets an answer."""
    lookers: list[subprocess.Popen[bytes]] = []

    def look() -> bool:
        if all(one.poll() is not None for one in lookers):
            lookers.append(waiting(LIST, mount.point / "ids"))
        return happened()

    mount.running.wait_until(look, "the storage was asked")
    assert is_mounted(mount.point)
    ended = mount.end(signal.SIGINT) if way == "SIGINT" else mount.unmount("--lazy")
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    for one in lookers:
        with one:
            one.wait(END_LIMIT_S)
    return ended
