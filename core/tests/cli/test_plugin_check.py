"""`limpet plugin check`: the suite of its kind with an installed plugin, which tells and loses nothing by it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import limpet
import pytest
from limpet.cli.main import main
from limpet.testing.site import Site

CUTTING = """
    from limpet_backend_local import LocalBackend

    class Cutting(LocalBackend):
        '''Loses the last byte of what it loads as a whole.'''
        contract_version = 1

        def load(self, handle, offset_bytes=0, length_bytes=None):
            data = super().load(handle, offset_bytes, length_bytes)
            return data[:-1] if length_bytes is None else data
    """


CHECKING = """
    from limpet.contracts.backend import FileKind
    from limpet.errors import BackendError
    from limpet_backend_local import LocalBackend

    class Checking(LocalBackend):
        '''Refuses content whose hash is not its name, as rest-server does, and as if it had been damaged on its way.'''
        contract_version = 1

        def save(self, handle, content):
            if handle.kind is not FileKind.CONFIG and content.sha256.hex() != handle.name:
                raise BackendError("bad request")
            super().save(handle, content)
    """


def test_a_backend_that_keeps_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who wants to know whether a server will do must get an answer, and the place back as it was."""
    place = tmp_path / "place"
    only = "test_config or damage or stray_names or wrong_credentials"
    assert main(["plugin", "check", "local", "--location", str(place), "--only", only]) == 0
    printed = capsys.readouterr().out
    assert "test_config PASSED" in printed
    assert printed.endswith("passed: 2, skipped: 2, failed: 0\n")
    assert not place.exists()


def test_nothing_around_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check in a downloaded folder must not run that folder's code with the user's keys in its environment."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in ("conftest.py", "pytest.py", "json.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.chdir(folder)
    assert main(["plugin", "check", "local", "--location", "../place", "--only", "test_config"]) == 0
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "place").exists()


def test_a_backend_that_breaks_the_contract(tmp_path: Path) -> None:
    """A backend that loses bytes must not pass."""
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site", tmp_path)
    site.install("limpet-cutting", {"limpet.backends": {"cutting": "cutting:Cutting"}}, {"cutting": CUTTING})
    only = "test_config or contract_version"
    arguments = ["plugin", "check", "cutting", "--location", f"cutting:{tmp_path}/place", "--only", only]
    done = site.limpet("--json", *arguments)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert (document["plugin"], document["passed"]) == ("cutting", 1)
    assert [failed["test"] for failed in document["failed"]] == ["test_config"]
    assert "does not keep the contract" in done.stderr


def test_a_store_that_checks_names(tmp_path: Path) -> None:
    """A store that is stricter than it must be keeps the contract; nothing can be damaged through it."""
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site", tmp_path)
    site.install("limpet-checking", {"limpet.backends": {"checking": "checking:Checking"}}, {"checking": CHECKING})
    arguments = ["plugin", "check", "checking", "--location", f"checking:{tmp_path}/place"]
    done = site.limpet("--json", *arguments, "--only", "test_config or damage or save_over_existing or another_program")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] == 3
    assert [skipped["test"] for skipped in document["skipped"]] == ["test_damage_is_passed_on"]


def test_a_place_with_a_repository_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The suite deletes what it finds: on somebody's repository that would be the end of it."""
    limpet.create_repository(str(tmp_path / "repository"), "secret").close()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(["plugin", "check", "local", "--location", str(tmp_path / "repository")]) == 1
    assert "there is a repository in" in capsys.readouterr().err
    (tmp_path / "repository/config").unlink()
    assert main(["plugin", "check", "local", "--location", str(tmp_path / "repository")]) == 1
    assert "is not empty, it holds keys" in capsys.readouterr().err
    del before[tmp_path / "repository/config"]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} <= set(before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["local"], "say with --location"),
        (["shell", "--location", "/nowhere"], "'shell' is a hook: --location is for backends"),
        (["shell", "--argument", "x"], "'shell' is a hook: --argument is for sources"),
        (["nothing", "--location", "/nowhere"], "no plugin is called 'nothing'"),
        (["path"], "'path' is the name of a backend and a source: say which with --kind"),
        (["path", "--kind", "hook"], "no hook plugin is called 'path'"),
        (["path", "--kind", "source"], "say with --argument"),
        (["command", "--argument", ""], "command"),
        (["command", "--argument", "true", "-o", "command.nothing=1"], "option 'command.nothing' is not known"),
        (["prometheus"], "prometheus"),
        (["local", "--location", "nothing:/nowhere"], "no backend is called 'nothing'"),
        (["local", "--location", "{place}", "--only", "no_such_test"], "no test was left"),
    ],
)
def test_what_cannot_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """A mistake in the command line must not look like a failed check."""
    given = [argument.format(place=tmp_path / "place") for argument in arguments]
    assert main(["plugin", "check", *given]) == 1
    assert message in capsys.readouterr().err


def test_without_pytest(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Limpet does not bring pytest: who lacks it needs to be told so, not an import error."""
    monkeypatch.setitem(sys.modules, "pytest", None)  # as Python marks what is not there
    assert main(["plugin", "check", "local", "--location", str(tmp_path / "place")]) == 1
    assert "`pip install pytest`" in capsys.readouterr().err


def test_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What reads a user's own data can only be tried with that."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("content")
    only = "sorted or streams or errors"
    arguments = ["plugin", "check", "files", "--argument", str(tmp_path / "folder"), "--only", only]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "test_errors_are_typed PASSED" in printed
    assert printed.endswith("passed: 3, skipped: 0, failed: 0\n")


TWICE = """
    import stat

    from limpet.contracts.source import Entry, Folder, MadeStat, Source, Target

    class Twice(Source):
        '''A folder in which a name comes twice, where two arguments are one.'''
        contract_version = 1

        def __init__(self, request):
            self.names = request.targets

        @classmethod
        def open(cls, request):
            return cls(request)

        @property
        def snapshot_paths(self):
            return ["/twice"]

        def targets(self):
            return [Target(b"/twice", Entry(b"twice", MadeStat(stat.S_IFDIR | 0o755, 0), made=True))]

        def folders(self, target):
            status = MadeStat(stat.S_IFLNK | 0o777, 0)
            yield Folder(b"/twice", [Entry(n.encode(), status, link_target=b"x", made=True) for n in self.names])

        def close(self):
            pass
    """


def test_a_source_that_breaks_the_contract(tmp_path: Path) -> None:
    """A source whose trees restic would refuse must not pass."""
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site", tmp_path)
    site.install("limpet-twice", {"limpet.sources": {"twice": "twice:Twice"}}, {"twice": TWICE})
    arguments = ["plugin", "check", "twice", "--only", "sorted or scan or errors"]
    done = site.limpet("--json", *arguments, "--argument", "a", "--argument", "a")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert (document["kind"], document["passed"]) == ("source", 1)
    assert [failed["test"] for failed in document["failed"]] == ["test_names_are_sorted_and_unique_in_each_folder"]
    assert [skipped["test"] for skipped in document["skipped"]] == ["test_errors_are_typed"]
    assert "the source 'twice' does not keep the contract" in done.stderr
    assert site.limpet(*arguments, "--argument", "a", "--argument", "b").returncode == 0


TELLING = """
    from limpet.contracts.hooks import Hook, hookimpl
    from limpet.contracts.options import Option
    from limpet.errors import UsageError

    class Telling(Hook):
        '''Writes to a file, or where the option says so to standard output.'''
        contract_version = 1
        options = (Option("path", "the file"), Option("aloud", "say it, too", type="boolean", default=False))

        def __init__(self, options):
            super().__init__(options)
            if not options.get("path"):
                raise UsageError("telling.path says which file")

        @hookimpl
        def limpet_run_finished(self, run, result):
            open(self.settings["path"], "a").write("told")
            if self.settings["aloud"]:
                print("told")
    """


def test_a_hook(tmp_path: Path) -> None:
    """A hook is held to its contract with the options that it is to be used with."""
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site", tmp_path)
    site.install("limpet-telling", {"limpet.hooks": {"telling": "telling:Telling"}}, {"telling": TELLING})
    arguments = ["plugin", "check", "telling"]
    done = site.limpet(*arguments)
    assert (done.returncode, done.stderr.strip()) == (1, "Fatal: telling.path says which file")
    arguments += ["-o", "telling.path=told", "-o", "telling.on_error=warn"]
    done = site.limpet(*arguments)
    assert done.returncode == 0, done.stdout
    assert "told" in (site.home / "told").read_text()
    done = site.limpet("--json", *arguments, "-o", "telling.aloud=true")
    assert done.returncode == 1
    assert [failed["test"] for failed in json.loads(done.stdout)["failed"]] == ["test_standard_output_is_left_alone"]
    assert "the hook 'telling' does not keep the contract" in done.stderr


COUNTING = """
    import click
    from limpet.contracts.command import Command

    @click.group("counting")
    def counting():
        '''Count things.'''

    @counting.command("up")
    @click.option("--to", help="where to end")
    def up(to):
        '''Count upwards.'''

    class Counting(Command):
        contract_version = 1

        @classmethod
        def click_command(cls):
            return counting

    @click.command("other")
    @click.option("--to")
    def snapshots(to):
        '''Hide a command of Limpet's own.'''

    class Hiding(Command):
        contract_version = 1

        @classmethod
        def click_command(cls):
            return snapshots
    """


def test_a_command(tmp_path: Path) -> None:
    """A command that nobody can call, or that explains another one, must not pass."""
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site", tmp_path)
    points = {"counting": "counting:Counting", "snapshots": "counting:Hiding"}
    site.install("limpet-counting", {"limpet.commands": points}, {"counting": COUNTING})
    done = site.limpet("plugin", "check", "counting")
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("passed: 6, skipped: 0, failed: 0\n")
    done = site.limpet("--json", "plugin", "check", "snapshots")
    assert done.returncode == 1
    assert {failed["test"] for failed in json.loads(done.stdout)["failed"]} >= {
        "test_is_found_by_its_name",
        "test_goes_by_its_name",
        "test_says_what_it_and_its_flags_do",
    }
