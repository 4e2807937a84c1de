"""Jobs as units of systemd: a timer and the service that it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from limpet.cli.configuration.profile_lock import EXIT_RUNNING
from limpet.cli.scheduling.job import Installed, Job, JobKeeper, Scope, mark, read_mark, require_ours
from limpet.cli.scheduling.times import calendar_times
from limpet.errors import UsageError

RUNNING = Path("/run/systemd/system")
"""There where systemd runs, see sd_booted(3)."""
SYSTEM_FOLDER = Path("/etc/systemd/system")
_SANDBOX = {
    "NoNewPrivileges": "yes",
    "LockPersonality": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures": "native",
}
_SYSTEM_SANDBOX = {
    # Not stricter: everything has to be readable, hooks make snapshots of volumes, and LVM writes below /etc.
    "ProtectSystem": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
}
_NOT_HERE = "is there a systemd? Else use --cron"
_CALENDAR = "OnCalendar="


class SystemdKeeper(JobKeeper):
    """The units of the system, or of the user."""

    @property
    def folder(self) -> Path:
        """Where the units are."""
        if self.scope is Scope.SYSTEM:
            return SYSTEM_FOLDER
        configured = os.environ.get("XDG_CONFIG_HOME")
        return (Path(configured) if configured else Path("~/.config").expanduser()) / "systemd" / "user"

    def install(self, job: Job, *, start: bool) -> Sequence[str]:
        service, timer = self._files(job.profile)
        texts = {service: service_text(job, self.scope), timer: timer_text(job)}
        for file in texts:
            if file.exists():
                require_ours(file.read_text(), job, file)
        _verify({file.name: text for file, text in texts.items()})
        for file, text in texts.items():
            _write(file, text)
        self._systemctl("enable", timer.name)
        if start:
            self._systemctl("daemon-reload")
            self._systemctl("restart", timer.name)
        return [f"wrote {file}" for file in texts]

    def installed(self) -> Sequence[Installed]:
        found = []
        for timer in sorted(self.folder.glob("limpet-*.timer")):
            text = timer.read_text()
            marked = read_mark(text)
            if marked is not None:
                at = [line.removeprefix(_CALENDAR) for line in text.splitlines() if line.startswith(_CALENDAR)]
                times = sorted((time for one in at for time in calendar_times(one, 3)), key=_moment)[:3]
                found.append(Installed(*marked, f"systemd ({self.scope.value})", at, times))
        return found

    def remove(self, profile: str) -> Sequence[str]:
        service, timer = self._files(profile)
        ours = [file for file in (timer, service) if file.exists() and read_mark(file.read_text()) is not None]
        if timer in ours:
            self._systemctl("disable", *(["--now"] if RUNNING.is_dir() else []), timer.name)
        for file in ours:
            _remove(file)
        if ours and RUNNING.is_dir():
            self._systemctl("daemon-reload")
        return [f"removed {file}" for file in ours]

    def _files(self, profile: str) -> tuple[Path, Path]:
        return self.folder / f"limpet-{profile}.service", self.folder / f"limpet-{profile}.timer"

    def _systemctl(self, *arguments: str) -> None:
        """UsageError where systemctl refuses."""
        scope = ["--user"] if self.scope is Scope.USER else []
        try:
            done = subprocess.run(
                ["systemctl", *scope, *arguments],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise UsageError(f"cannot run systemctl: {error.strerror}; {_NOT_HERE}") from error
        if done.returncode:
            reason = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise UsageError(f"systemctl {' '.join([*scope, *arguments])} failed: {reason[-1]}")


def service_text(job: Job, scope: Scope) -> str:
    """The unit that runs the profile once."""
    schedule = job.schedule
    # Only the run itself is asked to end: it tells its command, which still needs its ssh, its pg_dump, ...
    service = {
        "Type": "oneshot",
        "ExecStart": " ".join(map(quoted, job.words)),
        "KillMode": "mixed",
        "SuccessExitStatus": str(EXIT_RUNNING),
        "Nice": str(schedule.nice),
        "IOSchedulingClass": schedule.io_class,
    }
    if job.environment:
        pairs = (quoted(f"{name}={value}") for name, value in job.environment.items())
        service["Environment"] = " ".join(pairs)
    if job.environment_file is not None:
        service["EnvironmentFile"] = str(job.environment_file).replace("%", "%%")
    if schedule.sandbox:
        service |= _SANDBOX | (_SYSTEM_SANDBOX if scope is Scope.SYSTEM else {})
    service |= {name: str(setting.value) for name, setting in schedule.service.items()}
    # A user's manager knows no network-online.target.
    network = {"Wants": "network-online.target", "After": "network-online.target"} if scope is Scope.SYSTEM else {}
    unit = {"Description": f"Limpet runs the profile {job.profile}", **network}
    return "".join([mark(job.profile, job.configuration), "\n", *_section("Unit", unit), *_section("Service", service)])


def timer_text(job: Job) -> str:
    """The unit that starts the service at its time."""
    schedule = job.schedule
    lines = [_CALENDAR + calendar for when in job.whens for calendar in when.calendar]
    lines.append(f"Persistent={'true' if schedule.persistent else 'false'}")
    if schedule.randomized_delay is not None:
        lines.append(f"RandomizedDelaySec={schedule.randomized_delay}")
    return (
        f"{mark(job.profile, job.configuration)}\n"
        f"[Unit]\nDescription=When Limpet runs the profile {job.profile}\n\n"
        "[Timer]\n" + "\n".join(lines) + "\n\n[Install]\nWantedBy=timers.target\n"
    )


def quoted(word: str) -> str:
    """One word of a command line as systemd reads it, see systemd.service(5)."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if not word or any(letter in word for letter in " \t'\"\\;") else word


def _section(name: str, values: Mapping[str, str]) -> Iterator[str]:
    yield f"[{name}]\n"
    for key, value in values.items():
        yield f"{key}={value}\n"
    yield "\n"


def _verify(texts: Mapping[str, str]) -> None:
    """UsageError where systemd's own judge finds a mistake; nothing where there is none."""
    if shutil.which("systemd-analyze") is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in texts]
        for file, text in zip(files, texts.values(), strict=True):
            file.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *files],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        said = [line for line in done.stderr.splitlines() if folder in line or "limpet-" in line]
        if said:
            raise UsageError(f"systemd would not take the units: {said[0].replace(folder + '/', '')}")


def _write(file: Path, text: str) -> None:
    """The whole file or nothing; UsageError where that is not allowed."""
    part = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text)
        part.chmod(0o644)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"cannot write {file}: {error.strerror}; --user needs no other rights than yours") from error


def _remove(file: Path) -> None:
    try:
        file.unlink()
    except OSError as error:
        raise UsageError(f"cannot remove {file}: {error.strerror}") from error


def _moment(time: str) -> str:
    """What sorts times as systemd shows them, `Mon 2026-11-23 02:30:00 UTC`."""
    return time.partition(" ")[2]
