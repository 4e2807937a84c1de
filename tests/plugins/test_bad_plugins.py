"""Plugins that raise, print, hang or talk nonsense: a line names them, and nothing false is saved."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path

import pytest
from limpet.testing.site import Site

SOURCE = """
    import io, os, stat, sys, time
    from limpet.contracts.destination import Destination
    from limpet.contracts.source import Entry, Folder, MadeStat, Source, Target

    class Content(io.RawIOBase):
        "A stream of the target's own name."
        def __init__(self, kind):
            self.kind, self.rest = kind, b"content"

        def readable(self):
            return True

        def readinto(self, buffer):
            misbehave(self.kind, "read")
            if self.kind == "count":
                return len(buffer) + 1
            count = min(len(buffer), len(self.rest))
            buffer[:count], self.rest = self.rest[:count], self.rest[count:]
            return count

    def misbehave(kind, moment):
        if kind == moment:
            raise ValueError("no idea\\nat all")
        if kind == "refused" and moment == "targets":
            raise ConnectionRefusedError(111, "Connection refused")
        if kind == "reset" and moment == "read":
            raise ConnectionResetError(104, "Connection reset")
        if kind == "exit" and moment in {"folders", "receive"}:
            sys.exit(0)
        if kind == "print":
            print("printed at", moment)
            sys.stdout.buffer.write(b"raw bytes\\n")
        if kind == "hang" and moment == "targets":
            time.sleep(2)

    class Extents(list):
        def __iter__(self):
            raise ValueError("no idea")

    class BadDestination(Destination):
        "Its place says how it misbehaves."
        def __init__(self, kind):
            self.kind = kind

        @classmethod
        def open(cls, request):
            return cls(request.place)

        def receive(self, file):
            misbehave(self.kind, "receive")
            for piece in file.pieces():
                misbehave(self.kind, "piece")
                if self.kind == "slow":
                    time.sleep(0.7)

        def finish(self):
            if self.kind == "hang":
                time.sleep(2.5)

        def close(self):
            misbehave(self.kind, "close")

    class Bad(Source):
        "Its target says how it misbehaves."
        contract_version = 1
        destination = BadDestination

        def __init__(self, kind):
            self.kind = kind

        @classmethod
        def open(cls, request):
            misbehave(request.targets[0], "open")
            return cls(request.targets[0])

        @property
        def snapshot_paths(self):
            return 5 if self.kind == "paths" else ["/bad"]

        def targets(self):
            misbehave(self.kind, "targets")
            if self.kind == "target":
                return ["/bad"]
            if self.kind == "named":
                return [Target(b"/bad", Entry(b"other", MadeStat(stat.S_IFDIR | 0o755, 0), made=True))]
            if self.kind == "upwards":
                return [Target(b"/../bad", Entry(b"bad", MadeStat(stat.S_IFDIR | 0o755, 0), made=True))]
            return [Target(b"/bad", Entry(b"bad", MadeStat(stat.S_IFDIR | 0o755, 0), made=True))]

        def folders(self, target):
            misbehave(self.kind, "folders")
            names = {"order": [b"b", b"a"], "twice": [b"a", b"a"], "text": ["a"], "way out": [b".."]}
            extents = {"extents": Extents(), "extent": [5]}.get(self.kind)
            entries = [
                Entry(name, MadeStat(stat.S_IFREG, 0), stream=lambda: Content(self.kind), extents=extents, made=True)
                for name in names.get(self.kind, [b"a"])
            ]
            yield "nonsense" if self.kind == "folder" else Folder(b"/bad", entries)

        def scan(self):
            if self.kind == "slow":
                time.sleep(5)
            return 1, 7

        def finish(self):
            misbehave(self.kind, "finish")
            if self.kind == "slow":
                time.sleep(2.5)

        def close(self):
            misbehave(self.kind, "close")
    """

BACKEND = """
    from limpet.contracts.backend import Backend, BackendProperties
    from limpet_backend_local import LocalBackend

    class Bad(LocalBackend):
        "A folder; its location begins with how it misbehaves."
        contract_version = 1

        @classmethod
        def open(cls, location, options, transport=None):
            kind, _, path = location.partition("@")
            if kind == "open":
                raise KeyError("no idea")
            made = super().open(path, {})
            made.kind = kind
            return made

        def save(self, handle, content):
            if self.kind == "save" and handle.kind.value == "snapshots":
                raise ZeroDivisionError("no idea")
            print("saving")
            super().save(handle, content)

        def load(self, handle, offset_bytes=0, length_bytes=None):
            return "text" if self.kind == "load" else super().load(handle, offset_bytes, length_bytes)

        def list(self, kind):
            return iter([5]) if self.kind == "list" else super().list(kind)
    """

HOOK = """
    import time
    from limpet.contracts.hooks import Hook, hookimpl
    from limpet.contracts.options import Option

    class Bad(Hook):
        "Misbehaves as it is told."
        contract_version = 1
        options = (Option("kind", "how"),)

        @hookimpl
        def limpet_run_started(self):
            if self.settings["kind"] == "raise":
                raise ValueError("no idea")
            if self.settings["kind"] == "exit":
                raise SystemExit(0)
            print("printed by the hook")

        @hookimpl
        def limpet_source_prepare(self, path):
            if self.settings["kind"] == "nonsense":
                return 5
            if self.settings["kind"] == "hang":
                time.sleep(2)
    """


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The bad plugins, a repository, and a file to back up."""
    folder, home = tmp_path / "site", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (home / "file").write_text("content")
    site = Site(folder, home)
    points = {"limpet.sources": {"bad": "bad_source:Bad"}, "limpet.hooks": {"bad": "bad_hook:Bad"}}
    points["limpet.backends"] = {"bad": "bad_backend:Bad"}
    # A call is told of after a minute; here after a second.
    short = "import limpet.registry.plugin_calls as calls\ncalls.QUIET_S = 1.0\n"
    modules = {"bad_source": SOURCE, "bad_backend": BACKEND, "bad_hook": HOOK, "shortly": short}
    site.install("bad", points, modules)
    (folder / "sitecustomize.py").write_text("import shortly\n")
    run(site, "init")
    return site


def run(
    site: Site, *arguments: str, exit_code: int = 0, repository: str = "repository"
) -> subprocess.CompletedProcess[str]:
    """A command on the repository; the test fails if it does not end as expected, or with a traceback."""
    done = site.limpet("--no-cache", "-r", repository, *arguments, LIMPET_PASSWORD="secret")
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def snapshots(site: Site) -> int:
    """How many there are."""
    return len(json.loads(run(site, "snapshots", "--json").stdout))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("open", "the source plugin 'bad' could not open bad:open: ValueError: no idea at all"),
        ("targets", "the source plugin 'bad' failed at targets: ValueError: no idea at all"),
        ("folders", "the source plugin 'bad' failed at folders: ValueError: no idea at all"),
        ("read", "the source plugin 'bad' failed at reading /bad/a: ValueError: no idea at all"),
        ("finish", "the source plugin 'bad' failed at finish: ValueError: no idea at all"),
        ("exit", "the source plugin 'bad' failed at folders: it tried to end the program (0)"),
        (
            "refused",
            "the source plugin 'bad' failed at targets: ConnectionRefusedError: [Errno 111] Connection refused",
        ),
        (
            "reset",
            "the source plugin 'bad' failed at reading /bad/a: ConnectionResetError: [Errno 104] Connection reset",
        ),
        ("named", "the source plugin 'bad' delivers nonsense from targets"),
        ("upwards", "the source plugin 'bad' delivers nonsense from targets"),
        ("paths", "the source plugin 'bad' delivers nonsense from snapshot_paths: 5"),
        ("target", "the source plugin 'bad' delivers nonsense from targets: /bad"),
        ("folder", "the source plugin 'bad' delivers nonsense from folders: nonsense"),
        ("order", "delivers nonsense from folders: names unsorted, twice or not possible in b'/bad': [b'b', b'a']"),
        ("twice", "names unsorted, twice or not possible"),
        ("text", "names unsorted, twice or not possible"),
        ("way out", "names unsorted, twice or not possible"),
        ("extents", "the source plugin 'bad' failed at reading /bad/a: ValueError: no idea"),
        ("extent", "the source plugin 'bad' gives nonsense as extents: 5"),
        ("count", "the source plugin 'bad' gives nonsense from reading /bad/a"),
    ],
)
def test_a_source(site: Site, kind: str, why: str) -> None:
    """Half of a tree from a broken plugin would be a snapshot that nobody doubts."""
    done = run(site, "backup", f"bad:{kind}", "file", exit_code=1)
    assert why in done.stderr.splitlines()[-1]
    assert snapshots(site) == 0


def test_a_source_is_left_out_when_asked(site: Site) -> None:
    """A plugin's mistake is a failure of its source, as any other."""
    done = run(site, "backup", "--allow-partial", "bad:read", "file", exit_code=3)
    assert "left out of the snapshot: /bad: the source plugin 'bad' failed at reading" in done.stderr
    assert snapshots(site) == 1


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("receive", "the source plugin 'bad' failed at receive /file: ValueError: no idea at all"),
        ("exit", "the source plugin 'bad' failed at receive /file: it tried to end the program (0)"),
        ("close", "the source plugin 'bad' failed at close: ValueError: no idea at all"),
    ],
)
def test_a_destination(site: Site, kind: str, why: str) -> None:
    """A database that was not loaded would be taken for a restored one."""
    run(site, "backup", f"{site.home}/file")
    done = run(site, "restore", f"latest:{site.home}/file", "--into", f"bad:{kind}", exit_code=1)
    assert why.replace("/file", f"{site.home}/file") in done.stderr.splitlines()[-1]


def test_what_a_destination_prints(site: Site) -> None:
    """As of a source: standard output is the result."""
    run(site, "backup", f"{site.home}/file")
    done = run(site, "--json", "restore", f"latest:{site.home}/file", "--into", "bad:print")
    assert json.loads(done.stdout)["message_type"] == "summary"
    assert "the source plugin 'bad' prints: printed at receive" in done.stderr


def test_a_destination_that_is_fed_does_not_hang(site: Site) -> None:
    """Loading a large database takes hours: a warning every few minutes would teach people not to read them."""
    pieces = site.home / "pieces"
    pieces.write_bytes(random.Random(1).randbytes(16 << 20))
    run(site, "backup", str(pieces))
    said = run(site, "restore", f"latest:{pieces}", "--into", "bad:slow").stderr
    assert "has not come back" not in said
    said = run(site, "restore", f"latest:{pieces}", "--into", "bad:hang").stderr
    assert re.search(r"'bad' has not come back for \d s from: finish", said)


def test_what_a_source_prints(site: Site) -> None:
    """A word on standard output amid JSON, and no wrapper can read the result of the backup."""
    done = run(site, "--json", "backup", "bad:print", "file")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert documents[-1]["message_type"] == "summary"
    assert "the source plugin 'bad' prints: printed at targets" in done.stderr
    assert "prints: printed at read" in done.stderr
    assert "prints: raw bytes" in done.stderr


def test_a_source_that_hangs_is_named(site: Site) -> None:
    """A run that stands still tells nobody whom to ask."""
    said = run(site, "backup", "bad:hang", "file").stderr
    assert re.search(r"'bad' has not come back for \d s from: targets", said)


def test_a_scan_may_be_slow(site: Site) -> None:
    """Counting ten million files takes minutes: no run of that size would be without a warning."""
    said = run(site, "--json", "backup", "bad:slow").stderr
    assert "from: finish" in said
    assert "from: scan" not in said


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("open", "the backend plugin 'bad' could not open bad:open@repository: KeyError: 'no idea'"),
        ("save", "the backend plugin 'bad' failed at save snapshot"),
        ("load", "the backend plugin 'bad' gives nonsense for load"),
        ("list", "the backend plugin 'bad' gives nonsense for list"),
    ],
)
def test_a_backend(site: Site, kind: str, why: str) -> None:
    """At 3 a.m. `unexpected ZeroDivisionError` says nothing; the plugin's name says whom to ask."""
    done = run(site, "backup", "file", repository=f"bad:{kind}@repository", exit_code=1)
    assert why in done.stderr.splitlines()[-1]
    assert snapshots(site) == 0


def test_what_a_backend_prints(site: Site) -> None:
    """As of a source: standard output is the result."""
    done = run(site, "--json", "backup", "file", repository="bad:@repository")
    assert json.loads(done.stdout.splitlines()[-1])["message_type"] == "summary"
    assert "the backend plugin 'bad' prints: saving" in done.stderr


@pytest.mark.parametrize(
    ("kind", "exit_code", "why"),
    [
        ("raise", 1, "hook bad failed at run started: no idea"),
        ("exit", 1, "hook bad failed at run started: it tried to end the program \\(0\\)"),
        ("nonsense", 1, "hook bad failed at source prepare: it wants 5 to be read, which is no absolute path"),
        ("print", 0, "the hook plugin 'bad' prints: printed by the hook"),
        ("hang", 0, r"the hook plugin 'bad' has not come back for \d s from: source prepare"),
    ],
)
def test_a_hook(site: Site, kind: str, exit_code: int, why: str) -> None:
    """A hook that fails in silence is a snapshot of the wrong place, or none."""
    done = run(site, "--json", "-o", f"bad.kind={kind}", "backup", "file", exit_code=exit_code)
    assert re.search(why, done.stderr)
    assert all(json.loads(line) for line in done.stdout.splitlines())
