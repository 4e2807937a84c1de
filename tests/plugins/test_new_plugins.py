"""`limpet plugin new`: what it writes installs, works, keeps its contract and passes its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from limpet.registry.kinds import PluginKind
from limpet.testing.site import Site

from tests.packaging.distributions import ROOT, build, run

KINDS = [kind.value for kind in PluginKind]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty place for distributions."""
    (tmp_path / "site").mkdir()
    (tmp_path / "home").mkdir()
    return Site(tmp_path / "site", tmp_path / "home")


def limpet(site: Site, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command line; the test fails if it does not end as expected."""
    done = site.limpet(*arguments)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests(site: Site, kind: str) -> None:
    """A stranger whose first plugin fails before he has changed a line will not write a second."""
    limpet(site, "plugin", "new", kind, "shelf")
    project = site.home / f"limpet-{kind}-shelf"
    site.install_project(project)
    assert f"limpet_{kind}_shelf:" in limpet(site, "plugin", "info", "shelf").stdout
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, project / "tests"],
        env={**inherited, "PYTHONPATH": str(site.folder), "HOME": str(site.home)},
        cwd=site.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_builds(site: Site, kind: str, tmp_path: Path) -> None:
    """One that cannot be built can be tried, and not be given to anybody."""
    limpet(site, "plugin", "new", kind, "shelf", "--target", str(tmp_path / "mine"))
    build("--wheel", tmp_path / "mine", tmp_path)
    assert [wheel.name for wheel in tmp_path.glob("*.whl")] == [f"limpet_{kind}_shelf-0.1-py3-none-any.whl"]


def test_new_plugins_are_tidy(site: Site, tmp_path: Path) -> None:
    """What a stranger begins with is what he goes on with: it passes the same checks as what is ours."""
    (tmp_path / "ruff.toml").write_text(f"extend = '{ROOT / 'pyproject.toml'}'\n")
    environment = {"MYPYPATH": os.pathsep.join(str(site.home / f"limpet-{kind}-shelf/src") for kind in KINDS)}
    for kind in KINDS:
        limpet(site, "plugin", "new", kind, "shelf")
    ruff = [sys.executable, "-m", "ruff"]
    run([*ruff, "check", "--no-cache", "--config", tmp_path / "ruff.toml", site.home], cwd=site.home)
    run([*ruff, "format", "--check", "--no-cache", "--config", tmp_path / "ruff.toml", site.home], cwd=site.home)
    command: list[str | Path] = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "mypy", site.home]
    run(command, cwd=site.home, environment=environment)


def test_a_working_backend_is_short() -> None:
    """The guide promises fewer than 60 lines."""
    from importlib import resources  # noqa: PLC0415  # here alone

    template = (resources.files("limpet.cli") / "templates/backend.py.txt").read_text()
    assert len([line for line in template.splitlines() if line]) < 60


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["backend", "Shelf"], "'Shelf' cannot be the name of a plugin"),
        (["backend", "a/b"], "'a/b' cannot be the name of a plugin"),
        (["backend", "local"], "there is a backend called 'local' already"),
        (["thing", "shelf"], "'thing' is not one of"),
        (["source", "shelf", "--target", "/proc/nowhere"], "cannot write to /proc/nowhere"),
    ],
)
def test_what_cannot_be_is_refused(site: Site, arguments: list[str], why: str) -> None:
    """A name that no location can hold is found out when the plugin is done."""
    assert why in limpet(site, "plugin", "new", *arguments, exit_code=1).stderr
    assert [path.name for path in site.home.iterdir() if path.name != ".cache"] == []  # which is stevedore's


def test_nothing_is_written_over(site: Site) -> None:
    """An afternoon's work in a plugin of that name would be gone."""
    limpet(site, "plugin", "new", "hook", "shelf")
    file = site.home / "limpet-hook-shelf/src/limpet_hook_shelf/__init__.py"
    file.write_text("mine")
    assert "is there already" in limpet(site, "plugin", "new", "hook", "shelf", exit_code=1).stderr
    assert file.read_text() == "mine"
