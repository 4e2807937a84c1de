"""Schedules that really start runs: by a systemd and a cron of the test's own, beside whatever runs the machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from limpet import registry
from limpet.format.kdf import KdfParameters, new_salt
from limpet.repository.repository import Repository

from tests.services.private_system import run_privately
from tests.services.process import unavailable

PASSWORD = "geheim-5f3a"
SYSTEMD = next((path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if Path(path).exists()), None)

USER_SYSTEMD = f"""
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd/system $XDG_RUNTIME_DIR
{SYSTEMD} --user --log-target=console > systemd.log 2>&1 &
until [ -S $XDG_RUNTIME_DIR/systemd/private ]; do kill -0 $!; sleep 0.1; done
limpet schedule install home --user
"""
"""Boots a manager of user units, and has it know the profile."""
PRIVATE_CRON = """
for folder in /run /etc/cron.d /var/spool/cron; do mount -t tmpfs tmpfs $folder; done
mkdir -m 1730 /var/spool/cron/crontabs
touch nothing; mount --bind nothing /etc/crontab
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a repository and a profile `home`, and the environment to use them in."""

    folder: Path
    environment: Mapping[str, str]

    def add(self, text: str) -> None:
        """Add lines to the profile."""
        with (self.folder / "limpet.toml").open("a") as file:
            file.write(text)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """The script in a private view of the machine, in this folder."""
        return run_privately(f"cd {self.folder}\n{script}", self.environment)

    def snapshots(self) -> int:
        """How many there are."""
        return len(list((self.folder / "repository" / "snapshots").iterdir()))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """As above; the profile runs at half past two."""
    Repository.create(
        registry.open_backend(str(tmp_path / "repository")), PASSWORD, kdf=KdfParameters(16, 1, 1, new_salt())
    ).close()
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "work").mkdir()
    (tmp_path / "limpet.toml").write_text(
        """\
[profiles.home]
repositories = ["./repository"]
password-file = "password"
sources = ["work"]
schedule = { at = "30 2 * * *" }
"""
    )
    programs = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {
        "PATH": programs,
        "HOME": str(tmp_path),
        "LIMPET_CONFIG": str(tmp_path / "limpet.toml"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_RUNTIME_DIR": "/run/user/0",
        "LANG": "C.UTF-8",
    }
    return Place(tmp_path, environment)


@pytest.mark.skipif(SYSTEMD is None, reason="there is no systemd here")
def test_a_timer_of_systemd_starts_the_run(place: Place) -> None:
    """Units that look right and never run are found out on the day of the restore."""
    done = place.run(
        USER_SYSTEMD
        + """
        mkdir config/systemd/user/limpet-home.timer.d
        printf '[Timer]\\nOnActiveSec=100ms\\nAccuracySec=10ms\\n' > config/systemd/user/limpet-home.timer.d/now.conf
        systemctl --user daemon-reload
        systemctl --user restart limpet-home.timer
        until [ "$(systemctl --user show -P ExecMainExitTimestampMonotonic limpet-home.service)" != 0 ]; do
            sleep 0.1
        done
        systemctl --user show -P Result -P ExecMainStatus -P NoNewPrivileges -P Nice limpet-home.service
        systemctl --user list-timers --all --no-legend
        limpet schedule list --json > list
        limpet schedule remove home --user
        systemctl --user list-timers --all --no-legend | grep limpet || echo gone
        ls config/systemd/user
        """
    )
    assert done.returncode == 0, done.stderr + (place.folder / "systemd.log").read_text()
    assert place.snapshots() == 1
    lines = done.stdout.splitlines()
    assert lines[2].startswith("next runs (30 2 * * *): ")
    assert sorted(lines[3:7]) == sorted(["success", "0", "yes", "10"])  # systemd has an order of its own
    assert "limpet-home.timer" in lines[7]
    assert lines[-2:] == ["gone", "limpet-home.timer.d"]
    (listed,) = [one for one in json.loads((place.folder / "list").read_text()) if one["by"] == "systemd (user)"]
    assert len(listed["next_runs"]) == 3


@pytest.mark.skipif(SYSTEMD is None, reason="there is no systemd here")
def test_a_service_that_is_stopped_cleans_up(place: Place) -> None:
    """SIGTERM for all of its processes at once would take the repository's connection from the command that unlocks."""
    place.add("extend-sources = ['command:slow=sh -c \"touch begun; exec sleep 600\"']\n")
    done = place.run(
        USER_SYSTEMD
        + """
        systemctl --user start --no-block limpet-home.service
        until [ -e begun ]; do sleep 0.1; done
        ls repository/locks | wc -l
        limpet run home || echo "exit code $?"
        systemctl --user stop limpet-home.service
        ls repository/locks | wc -l
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["1", "exit code 75", "0"]
    assert place.snapshots() == 0


def test_cron_starts_the_run(place: Place) -> None:
    """A line that cron does not like is passed over without a word."""
    for program in ("cron", "crontab", "faketime"):
        if shutil.which(program, path=place.environment["PATH"]) is None:
            unavailable(f"there is no program {program}")
    place.add('[profiles."system"]\ninherits = "home"\n')
    done = place.run(
        PRIVATE_CRON
        + """
        printf '# mine\\n5 4 * * * true\\n' | crontab -
        limpet schedule install home --user --cron
        limpet schedule install system --system --cron
        limpet schedule list
        faketime -f '@2026-11-23 02:29:57' cron -f > cron.log 2>&1 &
        until [ "$(ls repository/snapshots | wc -l)" = 2 ]; do kill -0 $!; sleep 0.1; done
        limpet schedule remove home --user
        limpet schedule remove system --system
        limpet schedule list
        crontab -l
        ls -A /etc/cron.d
        """
    )
    assert done.returncode == 0, done.stderr
    assert place.snapshots() == 2
    assert "cron (user)" in done.stdout
    assert "cron (system)" in done.stdout
    assert done.stdout.splitlines()[-3:] == ["no profile is scheduled", "# mine", "5 4 * * * true"]
