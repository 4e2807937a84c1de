"""A script in a private view of this machine: folders of the system and control groups of its own. Root only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

TIMEOUT_S = 90.0


def run_privately(script: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the bash script where mounts are its own; skips the test where this machine does not allow that.

    `environment` is all that it has. Whatever the script leaves running is ended with it.
    """
    if os.getuid() != 0:
        pytest.skip("needs root: mounts of its own")
    with _control_group() as group:
        return subprocess.run(
            ["unshare", "--mount", "--cgroup", "bash", "-e", "-c", script],
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None,
        )


@contextmanager
def _control_group() -> Iterator[Path]:
    """A control group of our own, ended and removed with all that is in it."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(place) for _, place, kind, *_ in mounts if kind == "cgroup2"]
    if not roots:
        pytest.skip("needs control groups of version 2")
    group = roots[0] / f"limpet-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error.strerror}")
    try:
        yield group
    finally:
        _end(group)


def _end(group: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    with contextlib.suppress(OSError):  # older kernels do not have it; what is left then ends by itself
        (group / "cgroup.kill").write_text("1")
    while group.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for inner in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                inner.rmdir()
            group.rmdir()
        time.sleep(0.05)
