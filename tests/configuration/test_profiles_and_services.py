"""Profiles with real servers around them: a REST server with a login, a monitor, a keyring; judged by restic."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.hooks.desk import PASSWORD, Desk
from tests.services.desktop_keyring import DesktopKeyring
from tests.services.http_receiver import HttpReceiver
from tests.services.rest_server import RestServer

LOGIN = "l0gin-of-the-server"
CHECK = "/0d5a-the-check"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestServer]:
    """A REST server that wants a login."""
    server = RestServer(tmp_path / "server", users={"backup": LOGIN})
    yield server
    server.close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A user without any variables that say where the repository is."""
    desk = Desk(tmp_path / "desk")
    del desk.environment["LIMPET_REPOSITORY"]
    del desk.environment["LIMPET_PASSWORD"]
    desk.environment["LIMPET_CONFIG"] = str(desk.folder / "limpet.toml")
    (desk.folder / "password").write_text(PASSWORD)
    return desk


def test_a_disk_and_a_server_with_a_monitor(desk: Desk, server: RestServer, restic_new: Restic) -> None:
    """Two repositories, one of them behind a login, and whoever watches over it: what most people need."""
    receiver = HttpReceiver()
    with receiver.running() as address:
        (desk.folder / "check").write_text(address + CHECK)
        (desk.folder / "limpet.toml").write_text(
            f"""
            [repositories.disk]
            location = "{desk.folder}/repository"
            [repositories.nas]
            location = "rest:{server.url("nas", "backup:${NAS_LOGIN}")}"
            password = "${{NAS_WORD}}"

            [profiles.home]
            repositories = ["disk", "nas"]
            password-file = "password"
            sources = ["work", "command:dump.txt=sh -c 'cat /proc/$PPID/cmdline'"]
            retention.keep-last = 1
            hooks.run = ["healthchecks"]
            options.healthchecks.url_file = "check"
            """
        )
        secrets = {"NAS_LOGIN": LOGIN, "NAS_WORD": PASSWORD}
        places = (str(desk.repository), f"rest:{server.url('nas', f'backup:{LOGIN}')}")
        for place in places:
            restic_new.run("init", repo=place, password=PASSWORD)
        assert desk.limpet("profile", "check", "--open", **secrets).returncode == 0
        for _ in range(2):
            done = desk.limpet("run", "home", **secrets)
            assert done.returncode == 0, done.stderr
        assert LOGIN not in done.stdout + done.stderr + desk.limpet("profile", "show", "home", **secrets).stdout
        paths = [one.path for one in receiver.received]
        assert paths == [f"{CHECK}/start", CHECK] * 2
        for place in places:
            (snapshot,) = restic_new.json("snapshots", repo=place, password=PASSWORD)
            assert snapshot["paths"] == ["/dump.txt", str(desk.work)]
            restic_new.run("check", "--read-data", repo=place, password=PASSWORD)
            # The dump is the backup's own command line, as anybody could have seen it.
            words = restic_new.run("dump", "latest", "/dump.txt", repo=place, password=PASSWORD).stdout.decode()
            assert "--tag=home" in words
            assert LOGIN not in words
            assert PASSWORD not in words

        (server.data / "nas/config").unlink()
        receiver.received.clear()
        failed = desk.limpet("run", "home", **secrets)
    assert failed.returncode == 10, failed.stdout
    assert "forget   disk        ok" in failed.stdout
    last = receiver.received[-1]
    assert last.path == f"{CHECK}/10"
    assert "backup in nas: exit code 10" in last.text
    assert "repository does not exist" in last.text  # the reason, too
    assert LOGIN not in last.text


def test_the_password_is_in_the_keyring(desk: Desk) -> None:
    """The way that leaves no file with the password on the disk."""
    (desk.folder / "limpet.toml").write_text(
        f"""
        [profiles.home]
        repositories = ["{desk.folder}/repository"]
        password = {{ hook = "keyring" }}
        options.keyring.entry = "disk"
        sources = ["work"]
        retention.keep-last = 1
        """
    )
    keyring = DesktopKeyring(desk.folder / "desktop")
    try:
        keyring.store("limpet", "disk", PASSWORD)
        assert desk.limpet("init", "-r", desk.repository, LIMPET_PASSWORD=PASSWORD).returncode == 0
        environment = {name: value for name, value in keyring.environment.items() if name != "HOME"}
        assert "password: hook keyring" in desk.limpet("profile", "show", "home").stdout
        done: subprocess.CompletedProcess[str] = desk.limpet("run", "home", LIMPET_PASSWORD="wrong", **environment)
    finally:
        keyring.close()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((desk.repository / "snapshots").iterdir())) == 1
