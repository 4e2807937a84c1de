"""Verify: damaged files are found, by name, and remembered over restarts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet_command_serve import verify_files
from limpet_command_serve.verify import Report, Verifier
from limpet_command_serve.verify_files import FolderFiles, Parts


def put(root: Path, repository: str, kind: str, content: bytes) -> Path:
    """A stored file, where the server puts it."""
    name = hashlib.sha256(content).hexdigest()
    folder = root / repository / kind
    path = (folder / name[:2] if kind == "data" else folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def stored(tmp_path: Path) -> list[Path]:
    """Some files of two repositories, and what is no stored file."""
    root = tmp_path / "root"
    files = [put(root, "web1/db", "data", bytes([n]) * 1000) for n in range(20)]
    files += [put(root, "", kind, kind.encode()) for kind in ("snapshots", "index", "keys", "data", "locks")]
    (root / "config").write_bytes(b"no hash")
    (root / "data" / "stray").write_bytes(b"no id")
    (root / "web1" / "db" / "data" / "00" / ("f" * 64)).parent.mkdir(exist_ok=True)
    (root / "web1" / "db" / "data" / "00" / ("f" * 64)).write_bytes(b"in the wrong folder")
    (root / "keys" / ("e" * 64)).symlink_to("/dev/zero")
    put(root, "web1/db/.removed/2026-01-01", "data", b"removed").write_bytes(b"damaged, but removed")
    return files


def make_verifier(root: Path, told: list[str], **given: object) -> Verifier:
    """A verifier without a limit."""
    return Verifier(FolderFiles(root), rate_bps=None, tell=told.append, report_path=root / ".verify.json", **given)  # type: ignore[arg-type]  # its own keywords


def test_every_damage_is_found_and_nothing_else(tmp_path: Path, stored: list[Path]) -> None:
    """A flipped bit, a cut file and an empty one: what check would find when it is too late."""
    root, told = tmp_path / "root", list[str]()
    flipped, cut, empty = stored[3], stored[7], stored[20]
    flipped.write_bytes(b"\x02" + flipped.read_bytes()[1:])
    cut.write_bytes(cut.read_bytes()[:-1])
    empty.write_bytes(b"")
    verifier = make_verifier(root, told)
    assert verifier.run_round()
    assert {Path(path).name for path in verifier.report.damaged} == {path.name for path in (flipped, cut, empty)}
    assert verifier.report.last is not None
    assert verifier.report.last.files == len(stored)
    assert verifier.report.last.bytes == sum(path.stat().st_size for path in stored)
    assert len(told) == 3
    assert f"data/{flipped.name} of repository web1/db is damaged" in "\n".join(told)
    assert Report.decode((root / ".verify.json").read_bytes()) == verifier.report


def test_what_is_mended_or_removed_is_no_damage_any_more(tmp_path: Path, stored: list[Path]) -> None:
    """A report of what is long mended would be read by nobody."""
    root, told = tmp_path / "root", list[str]()
    good = stored[3].read_bytes()
    stored[3].write_bytes(b"damaged")
    stored[4].write_bytes(b"damaged")
    make_verifier(root, told).run_round()
    stored[3].write_bytes(good)
    stored[4].unlink()
    verifier = make_verifier(root, told)
    assert len(verifier.report.damaged) == 2
    verifier.run_round()
    assert verifier.report.damaged == {}
    assert told[-1].endswith("is whole again")


def test_a_restart_goes_on_where_it_was(tmp_path: Path, stored: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is restarted every night must still come to the end of 100 TB some day."""
    root, seen = tmp_path / "root", list[str]()
    monkeypatch.setattr(verify_files, "PIECE_BYTES", 100)
    original = FolderFiles.pieces
    stop_after = 9

    def pieces(self: FolderFiles, parts: Parts) -> Iterator[memoryview]:
        seen.append(parts[-1])
        if len(seen) == stop_after:
            interrupted.stop()
        return original(self, parts)

    monkeypatch.setattr(FolderFiles, "pieces", pieces)
    interrupted = make_verifier(root, [])
    assert not interrupted.run_round()
    verifier = make_verifier(root, [])
    assert verifier.run_round()
    assert sorted(set(seen)) == sorted(path.name for path in stored)
    assert len(seen) == len(stored) + 1, "only the file that was being read is read again"
    assert verifier.report.last is not None
    assert verifier.report.last.files == len(stored)
    assert verifier.run_round(), "and the next round begins at the beginning"
    assert len(seen) == 2 * len(stored) + 1


def test_it_ends_at_once_when_it_is_told(tmp_path: Path, stored: list[Path]) -> None:
    """SIGTERM must not wait for a rate of one byte a second."""
    verifier = Verifier(FolderFiles(tmp_path / "root"), rate_bps=1, tell=print)
    verifier.start()
    verifier.stop()
    verifier.stop()
    assert verifier.report.last is None


def test_a_broken_report_is_told_and_made_anew(tmp_path: Path, stored: list[Path]) -> None:
    """A report cut by a crash must not stop the server."""
    root, told = tmp_path / "root", list[str]()
    (root / ".verify.json").write_text('{"version": 1}')
    make_verifier(root, told).run_round()
    assert "begins anew" in told[0]
    assert json.loads((root / ".verify.json").read_text())["damaged"] == {}
