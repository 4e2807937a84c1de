"""`Site`: throw-away distributions, real packages with real entry points, seen by a Python of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path


class Site:
    """A folder of installed distributions, and a Python that sees it beside the real ones."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home

    def install(
        self, distribution: str, entry_points: Mapping[str, Mapping[str, str]], modules: Mapping[str, str]
    ) -> None:
        """Put a distribution there: entry points by group, sources by module name."""
        self._register(distribution, entry_points)
        for name, source in modules.items():
            (self.folder / f"{name}.py").write_text(textwrap.dedent(source))

    def install_project(self, project: Path) -> None:
        """Put a project with a `pyproject.toml` and its packages in `src` there, as its wheel would."""
        declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        self._register(declared["name"], declared["entry-points"])
        shutil.copytree(project / "src", self.folder, dirs_exist_ok=True)

    def _register(self, distribution: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = []
        for group, points in entry_points.items():
            lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def run(self, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A fresh interpreter that runs the program."""
        return self._start(["-c", textwrap.dedent(program), *arguments], environment)

    def limpet(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command line, as a user starts it."""
        program = "import sys; from limpet.cli.main import main; sys.exit(main())"
        return self._start(["-c", program, *arguments], environment)

    def _start(self, arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_"))}
        return subprocess.run(
            [sys.executable, *arguments],
            env={**own, "PYTHONPATH": str(self.folder), "HOME": str(self.home), **environment},
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
