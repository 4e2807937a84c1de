"""Every distribution builds to the same bytes, and works in an environment that holds nothing else."""

from __future__ import annotations

import email
import json
import shutil
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from email.message import Message
from functools import partial
from pathlib import Path

import limpet
import pytest

from tests.packaging.distributions import PROJECTS, ROOT, Environment, Project, build, only

pytestmark = pytest.mark.slow

PLUGINS = {
    "backend": ("azure", "b2", "gs", "libcloud", "rclone", "rest", "s3", "sftp", "swift"),
    "source": ("device", "etcd", "kubernetes", "ldap", "mongodb", "mysql", "postgres", "redis", "sqlite"),
    "hook": ("btrfs", "healthchecks", "keyring", "lvm", "notify", "prometheus", "zfs"),
    "command": ("mount", "serve", "webdav"),
}
PROGRAMS = Path(__file__).with_name("programs")
MakeEnvironment = Callable[..., Environment]

DEFAULT_PLUGINS = {
    requirement.partition("==")[0]
    for requirement in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
}
each_project = pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)


def core_works(environment: Environment) -> None:
    """The command, and a backup by the library from a source of the caller's own into memory."""
    assert environment.run("limpet", "version").startswith(f"limpet {limpet.__version__} ")
    assert environment.run("python", PROGRAMS / "round_trip.py", "own", "hello") == "/own hello\n"


def core_alone_works(environment: Environment) -> None:
    """The above, and there is no plugin."""
    core_works(environment)
    assert "limpet-" not in environment.run("limpet", "plugin", "list")


def local_works(environment: Environment) -> None:
    """A repository in a folder, by both spellings of its location."""
    core_works(environment)
    environment.run("limpet", "-r", "repository", "init")
    config = json.loads(environment.run("limpet", "-r", "local:repository", "cat", "config"))
    assert config["version"] == 2


def files_work(environment: Environment) -> None:
    """A real file, saved and read back."""
    core_works(environment)
    (environment.work / "letter").write_text("from a file")
    printed = environment.run("python", PROGRAMS / "round_trip.py", "path", "letter")
    assert printed.endswith("/letter from a file\n")


def command_works(environment: Environment) -> None:
    """What a command prints, saved and read back."""
    core_works(environment)
    assert environment.run("python", PROGRAMS / "round_trip.py", "command", "echo", "printed") == "/stdin printed\n\n"


def shell_works(environment: Environment) -> None:
    """A command line before the run."""
    core_works(environment)
    assert "shell" in environment.run("limpet", "plugin", "list")
    environment.run("python", PROGRAMS / "before_a_run.py", "touch was-here")
    assert (environment.work / "was-here").exists()


def plugin_works(kind: str, name: str, environment: Environment) -> None:
    """The command finds it, and all that it imports is there."""
    core_works(environment)
    listed = [line.split() for line in environment.run("limpet", "plugin", "list").splitlines()]
    assert [line[-1] for line in listed if line[:2] == [kind, name]] == ["ok"]
    package = f"limpet_{kind}_{name}"
    assert environment.run("python", PROGRAMS / "imports_all.py", package) == f"{package} is complete\n"


def limpet_works(environment: Environment) -> None:
    """The whole main job, as `make demo` shows it, with every default plugin in place."""
    assert environment.installed() >= DEFAULT_PLUGINS
    assert "ok" in environment.run("limpet", "plugin", "list")
    assert "The demo is done" in environment.run("python", ROOT / "tests/demo.py")


WORKS: dict[str, Callable[[Environment], None]] = {
    "limpet": limpet_works,
    "limpet-core": core_alone_works,
    "limpet-backend-local": local_works,
    "limpet-source-files": files_work,
    "limpet-source-command": command_works,
    "limpet-hook-shell": shell_works,
    **{f"limpet-{kind}-{name}": partial(plugin_works, kind, name) for kind, names in PLUGINS.items() for name in names},
}


@each_project
def test_installs_alone_from_its_wheel(project: Project, wheels: Path, environment: MakeEnvironment) -> None:
    """A requirement that is missing in the metadata, or a file in the wheel, shows only where nothing else is."""
    empty = environment(wheels)
    empty.install(project.name)
    assert project.name in empty.installed()
    WORKS[project.name](empty)


@pytest.mark.parametrize("name", ["limpet-core", "limpet-backend-local"])
def test_installs_alone_from_its_sdist(name: str, sdists: Path, wheels: Path, environment: MakeEnvironment) -> None:
    """Distributions build from sdists: a file that only the checkout has would break them.

    Of the others the wheel that comes from the sdist is compared with the one tried above.
    """
    empty = environment(wheels)
    empty.install(only(sdists, f"{name.replace('-', '_')}-*.tar.gz"))
    WORKS[name](empty)


@each_project
def test_wheel_builds_to_the_same_bytes(project: Project, wheels: Path, wheels_built_elsewhere: Path) -> None:
    """Nobody could check that a published wheel was made from the published source."""
    first, second = (only(folder, f"{project.file_name}-*.whl") for folder in (wheels, wheels_built_elsewhere))
    assert first.name == second.name
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as other:
        listed = [[(i.filename, i.date_time, oct(i.external_attr), i.CRC) for i in z.infolist()] for z in (one, other)]
    assert listed[0] == listed[1]
    assert first.read_bytes() == second.read_bytes()


@each_project
def test_wheel_built_from_the_sdist_is_the_same(project: Project, sdists: Path, wheels: Path, tmp_path: Path) -> None:
    """What an sdist leaves out would be missing only for those who build from it."""
    shutil.unpack_archive(only(sdists, f"{project.file_name}-*.tar.gz"), tmp_path)
    build("--wheel", only(tmp_path, f"{project.file_name}-*"), tmp_path)
    built = only(tmp_path, "*.whl")
    assert built.read_bytes() == (wheels / built.name).read_bytes()


def test_core_wheel_holds_the_extension_for_every_later_python(wheels: Path) -> None:
    """Without the stable ABI every new Python would need a new wheel; C sources in it would be dead weight."""
    wheel = only(wheels, "limpet_core-*.whl")
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if "_native" in name and name.endswith(".so")] == ["limpet/format/_native.abi3.so"]
    assert not [name for name in names if name.endswith((".c", ".h"))]
    assert {"limpet/py.typed", "limpet/format/_native.pyi", "limpet/format/go_printable_ranges.txt"} <= set(names)


def test_core_sdist_holds_the_c_sources(sdists: Path) -> None:
    """An sdist without them would quietly install the slow twins."""
    with tarfile.open(only(sdists, "limpet_core-*.tar.gz")) as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert {path.name for path in (ROOT / "core/src/limpet/format/native").glob("*.[ch]")} <= names


def test_core_works_without_a_compiler(sdists: Path, environment: MakeEnvironment) -> None:
    """Where there is neither a wheel nor a compiler, the plain-Python twins have to take over by themselves."""
    empty = environment()
    empty.install(only(sdists, "limpet_core-*.tar.gz"), CC="/bin/false")
    code = "import importlib.util as u; print(u.find_spec('limpet.format._native'))"
    assert empty.run("python", "-c", code) == "None\n"
    core_alone_works(empty)


@each_project
def test_metadata_is_complete(project: Project, wheels: Path, sdists: Path) -> None:
    """An index and its readers know of a distribution only what this says."""
    metadata = metadata_of(only(wheels, f"{project.file_name}-*.whl"))
    assert metadata["Version"] == limpet.__version__
    assert metadata["License-Expression"] == "BSD-2-Clause"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# ")
    for field in ("Summary", "Keywords", "Author"):
        assert metadata[field], field
    assert "Topic :: System :: Archiving :: Backup" in metadata.get_all("Classifier", [])
    with tarfile.open(only(sdists, f"{project.file_name}-*.tar.gz")) as archive:
        top = {Path(name).parts[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml"} <= top


def test_one_version_for_all() -> None:
    """A core of one version with plugins of another is what nobody has tested."""
    for project in PROJECTS:
        settings = tomllib.loads((ROOT / project.folder / "pyproject.toml").read_text())["project"]
        assert settings["version"] == limpet.__version__, project.name
        for requirement in settings["dependencies"]:
            if requirement.startswith("limpet"):
                assert requirement.partition("==")[2] == limpet.__version__, f"{project.name}: {requirement}"


def test_limpet_requires_every_default_plugin() -> None:
    """`pip install limpet` has to give a tool that works, not a core that reaches nothing."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {requirement.partition("==")[0] for requirement in settings["dependencies"]}
    extras = {name for group in settings.get("optional-dependencies", {}).values() for name in group}
    assert required | {extra.partition("==")[0] for extra in extras} == {
        project.name for project in PROJECTS if project.name != "limpet"
    }


def test_one_licence_for_all() -> None:
    """Each distribution carries the text; a copy that differs would be another licence."""
    text = (ROOT / "LICENSE").read_bytes()
    assert all((ROOT / project.folder / "LICENSE").read_bytes() == text for project in PROJECTS)


def test_constraints_name_versions_only() -> None:
    """A URL in the pins would tie the project to one machine's mirror."""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, equals, version = line.partition("==")
        assert equals and name.translate(str.maketrans("", "", "-_.")).isalnum() and version[0].isdigit(), line  # noqa: PT018


def metadata_of(wheel: Path) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_string(archive.read(name).decode())
