"""restic's REST protocol, request by request: rest-server 0.14 and `limpet serve` side by side."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.serve.cases import DATA, KINDS, SETTINGS, Case, Setting
from tests.serve.differences import DIFFERENCES, difference_of, table
from tests.serve.wire import Answer, ask
from tests.services.rest_server import LimpetServer, RestServer

ROOT = Path(__file__).parents[2]
NUMBERS = itertools.count()
COMPARED_HEADERS = ("content-type", "content-length", "content-range", "content-encoding", "allow", "location")
"""Besides the status. The others say who answers and when, or how the bytes are framed."""
TOLD_ALONE = {"status", "files", "listed"}
ALL = [pytest.param(setting, case, id=case.name) for setting in SETTINGS for case in setting.cases]

Pair = tuple[RestServer, LimpetServer]


class Servers:
    """Both servers with the same options, started when they are first asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, Pair] = {}

    def of(self, setting: Setting) -> Pair:
        """Theirs and ours."""
        if setting.name not in self._running:
            theirs = RestServer(self._folder / setting.name / "theirs", *setting.flags, users=setting.users)
            try:
                ours = LimpetServer(self._folder / setting.name / "ours", *setting.flags, users=setting.users)
            except BaseException:
                theirs.close()
                raise
            self._running[setting.name] = theirs, ours
        return self._running[setting.name]

    def close(self) -> None:
        """End all of them."""
        for server in itertools.chain.from_iterable(self._running.values()):
            server.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers of this module."""
    servers = Servers(tmp_path_factory.mktemp("serve"))
    yield servers
    servers.close()


@pytest.mark.parametrize(("setting", "case"), ALL)
def test_both_servers_answer_alike(setting: Setting, case: Case, servers: Servers) -> None:
    """restic, its front ends and people's scripts were written against rest-server: what is answered otherwise by
    chance breaks one of them, so each difference is meant, listed, and has its reason.
    """
    repository = f"case-{next(NUMBERS)}"
    theirs, ours = ([*outcomes(server, repository, case)] for server in servers.of(setting))
    assert theirs[:-2] == ours[:-2]
    assert told(theirs[-2:], ours[-2:]) == difference_of(case.name)


def test_differences_are_documented() -> None:
    """What a reader of the documentation is told is what was compared."""
    names = [case for difference in DIFFERENCES for case in difference.cases]
    assert sorted(names) == sorted(set(names))
    assert set(names) <= {case.name for setting in SETTINGS for case in setting.cases}
    assert "\n".join(table()) in (ROOT / "docs" / "serve.md").read_text()


def outcomes(server: RestServer, repository: str, case: Case) -> Iterator[dict[str, str]]:
    """What is told about each request, and at last about the files that the repository has."""
    folder = server.data / repository
    if case.is_made:
        for kind in KINDS:
            (folder / kind).mkdir(parents=True)
    for name in case.planted:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(DATA)
    for one in case.asks:
        answer = ask(server, one.method, one.target_in(repository), one.headers, one.body)
        if isinstance(server, LimpetServer) and answer.status >= 400 and one.method != "HEAD":
            assert answer.body.count(b"\n") == 1, f"an error is said in one line, not as {answer.body!r}"
            assert bytes(server.data) not in answer.body
        yield {name: value.replace(repository, "R") for name, value in compared(answer).items()}
    yield stored(folder)


def compared(answer: Answer) -> Mapping[str, str]:
    """What has to be the same in two answers; the words of an error are each server's own."""
    if answer.status >= 300:
        headers = {name: answer.headers.get(name, "") for name in ("content-range", "allow", "location")}
        return {"status": str(answer.status), **headers}
    headers = {name: answer.headers.get(name, "none") for name in COMPARED_HEADERS}
    parts = {"status": str(answer.status), **headers, "body": repr(answer.body)}
    if headers["content-type"].startswith("application/vnd.x.restic.rest."):
        parts["listed"] = f"{len(json.loads(answer.body))} listed"
    _, _, boundary = headers["content-type"].partition("multipart/byteranges; boundary=")
    return {name: value.replace(boundary, "...") if boundary else value for name, value in parts.items()}


def stored(folder: Path) -> dict[str, str]:
    """The repository's files, their modes and what is in them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [f"{path.relative_to(folder)} {path.stat().st_mode & 0o777:o} {hash(path.read_bytes())}" for path in files]
    return {"files": f"{len(files)} files", "names": "; ".join(listed)}


def told(theirs: list[dict[str, str]], ours: list[dict[str, str]]) -> tuple[str, str]:
    """The parts in which two outcomes differ; where a status or a number does, nothing else is told."""
    parts: tuple[list[str], list[str]] = ([], [])
    for one, other in zip(theirs, ours, strict=True):
        differing = [name for name in one if one[name] != other.get(name)]
        first = [name for name in differing if name in TOLD_ALONE] or differing
        for side, outcome in zip(parts, (one, other), strict=True):
            side += [outcome[name] if name in TOLD_ALONE else f"{name} {outcome[name]}" for name in first]
    return ", ".join(parts[0]), ", ".join(parts[1])
