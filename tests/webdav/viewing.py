"""A repository and the views that `limpet webdav` gives of it, as processes of their own; and a client of few words."""

from __future__ import annotations

import http.client
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes
from xml.etree import ElementTree

from tests.safety.program import Ended, Running, Site

END_LIMIT_S = 20.0
"""Ending is to take 3 s; a machine may be busy with other tests."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class View:
    """A running view on loopback."""

    running: Running
    port: int

    @property
    def url(self) -> str:
        """Of its root, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str | bytes, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """The answer to one request, on a connection of its own; `http.client` errors where it breaks off."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, quote(path), body or None, dict(headers or {}))
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, fields, answer.read())
        finally:
            connection.close()

    def names(self, path: str | bytes) -> list[bytes]:
        """The names in a folder, as PROPFIND tells them."""
        answer = self.ask("PROPFIND", path, {"Depth": "1"})
        assert answer.status == 207, answer
        hrefs = [element.text or "" for element in ElementTree.fromstring(answer.body).iter("{DAV:}href")]
        return [unquote_to_bytes(href.rstrip("/").rpartition("/")[2]) for href in hrefs[1:]]

    def end(self, number: signal.Signals = signal.SIGINT) -> Ended:
        """How it ended after the signal; AssertionError if anything of it is left."""
        self.running.signal_parent(number)
        ended = self.running.end(END_LIMIT_S)
        self.running.assert_none_survives()
        return ended


def start_view(site: Site, *flags: str | Path, listen: str = "127.0.0.1:0") -> View:
    """A view that answers; AssertionError with what it said if it ends at once."""
    running = site.start("webdav", "--listen", listen, *flags)
    assert running.process.stdout is not None
    line = running.process.stdout.readline().decode()
    found = re.search(r"http://.*:(\d+)/$", line)
    assert found is not None, running.end().err
    return View(running, int(found[1]))


def latest(folder: Path) -> str:
    """The path of a folder in the newest snapshot."""
    return f"/snapshots/latest{folder}"
