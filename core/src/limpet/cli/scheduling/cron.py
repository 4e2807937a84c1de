"""Jobs as lines for cron: in the user's crontab, or a file of their own in /etc/cron.d."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from limpet.cli.scheduling.job import Installed, Job, JobKeeper, Scope, mark, read_mark, require_ours
from limpet.cli.scheduling.times import CRON_FIELDS, next_cron_runs
from limpet.errors import UsageError

FOLDER = Path("/etc/cron.d")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As systemd's services have it: cron's own lacks what hooks and sources call."""
_IO_CLASSES = {"realtime": "1", "best-effort": "2", "idle": "3"}
_END = "# limpet schedule: end"


class CronKeeper(JobKeeper):
    """The lines of the user's crontab (scope user), or files in /etc/cron.d (scope system)."""

    def install(self, job: Job, *, start: bool) -> Sequence[str]:
        if self.scope is Scope.SYSTEM:
            return self._install_file(job)
        before = read_crontab()
        old = _block(before, job.profile)
        if old is not None:
            require_ours(old, job, f"the block of {job.profile} in your crontab")
        rest = _without_block(before, job.profile)
        write_crontab(rest + ("\n" if rest and not rest.endswith("\n") else "") + block_text(job))
        return ["wrote to your crontab:", *lines_of(job, user=None)]

    def installed(self) -> Sequence[Installed]:
        return [_installed(text, self.scope) for text in self._blocks()]

    def remove(self, profile: str) -> Sequence[str]:
        if self.scope is Scope.SYSTEM:
            return self._remove_file(profile)
        before = read_crontab()
        block = _block(before, profile)
        if block is None:
            return []
        write_crontab(_without_block(before, profile))
        return ["removed from your crontab:", *_command_lines(block)]

    def _blocks(self) -> Iterator[str]:
        if self.scope is Scope.SYSTEM:
            for file in sorted(FOLDER.glob("limpet-*")):
                if read_mark(text := file.read_text()) is not None:
                    yield text
        elif shutil.which("crontab"):
            yield from _BLOCK.findall(read_crontab())

    def _install_file(self, job: Job) -> Sequence[str]:
        file = _file(job.profile)
        try:
            if file.exists():
                require_ours(file.read_text(), job, file)
            # Cron reads no file with a dot in its name: neither does it read a half-written one.
            part = file.with_name(f"{file.name}.new")
            part.write_text(f"{mark(job.profile, job.configuration)}\n" + "\n".join(lines_of(job, user="root")) + "\n")
            part.chmod(0o644)
            part.replace(file)
        except OSError as error:
            raise UsageError(
                f"cannot write {file}: {error.strerror}; --user needs no other rights than yours"
            ) from error
        return [f"wrote {file}:", *lines_of(job, user="root")]

    def _remove_file(self, profile: str) -> Sequence[str]:
        file = _file(profile)
        if not file.exists() or read_mark(file.read_text()) is None:
            return []
        try:
            file.unlink()
        except OSError as error:
            raise UsageError(f"cannot remove {file}: {error.strerror}") from error
        return [f"removed {file}"]


_BLOCK = re.compile(rf"^# limpet schedule: profile .*\n(?:.*\n)*?{re.escape(_END)}\n", re.MULTILINE)


def block_text(job: Job) -> str:
    """The job's lines between marks."""
    return "\n".join([mark(job.profile, job.configuration), *lines_of(job, user=None), _END]) + "\n"


def lines_of(job: Job, *, user: str | None) -> list[str]:
    """A line for each of the job's times; UsageError for one that only systemd knows."""
    lines = []
    for when in job.whens:
        if when.cron is None:
            raise when.place.mistake(
                f"{when.text!r} is a time of systemd's; for cron write its five fields, which systemd gets translated: "
                "`30 2 * * 1-5`"
            )
        lines.append(" ".join([when.cron, *([user] if user else []), _command(job)]))
    return lines


def read_crontab() -> str:
    """The user's crontab; empty where there is none. UsageError where cron cannot be asked."""
    done = _crontab("-l")
    if done.returncode and "no crontab" not in done.stderr.lower():
        raise UsageError(f"crontab -l failed: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return "" if done.returncode else done.stdout


def write_crontab(text: str) -> None:
    """Put the text in place of the user's crontab; without any text there is none any more."""
    done = _crontab("-", text=text) if text else _crontab("-r")
    if done.returncode:
        raise UsageError(f"crontab refused: {done.stderr.strip() or f'exit status {done.returncode}'}")


def _crontab(argument: str, text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["crontab", argument], input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(
            "there is no program crontab: install cron (or have --no-start write units for a systemd that does not run "
            "now)"
        ) from error


def _command(job: Job) -> str:
    """The command line, for the shell that cron starts."""
    words = [f"{name}={value}" for name, value in job.environment.items()]
    priority = ["nice", "-n", str(job.schedule.nice)]
    if job.schedule.io_class in _IO_CLASSES and shutil.which("ionice"):
        priority += ["ionice", "-c", _IO_CLASSES[job.schedule.io_class]]
    command = " ".join([_PATH, *map(_assignment, words), shlex.join([*priority, *job.words])])
    if job.environment_file is not None:
        command = f"set -a; . {shlex.quote(str(job.environment_file))}; set +a; {command}"
    return command.replace("%", r"\%")


def _assignment(word: str) -> str:
    name, _, value = word.partition("=")
    return f"{name}={shlex.quote(value)}"


def _file(profile: str) -> Path:
    return FOLDER / f"limpet-{profile}"


def _block(crontab: str, profile: str) -> str | None:
    return next((block for block in _BLOCK.findall(crontab) if (read_mark(block) or ("",))[0] == profile), None)


def _without_block(crontab: str, profile: str) -> str:
    block = _block(crontab, profile)
    return crontab if block is None else crontab.replace(block, "", 1)


def _command_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _installed(text: str, scope: Scope) -> Installed:
    marked = read_mark(text)
    assert marked is not None, "only marked blocks are looked at"
    at = [" ".join(line.split()[:CRON_FIELDS]) for line in _command_lines(text)]
    times = sorted(time for one in at for time in next_cron_runs(one, datetime.now()))
    return Installed(*marked, f"cron ({scope.value})", at, [f"{time:%a %Y-%m-%d %H:%M:%S}" for time in times[:3]])
