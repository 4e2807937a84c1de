"""`limpet plugin check`: the conformance suite at a place that a user names, which loses nothing by it."""

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
        (["shell", "--location", "/nowhere"], "'shell' is a hook: only backends can be checked"),
        (["nothing", "--location", "/nowhere"], "nothing"),
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
