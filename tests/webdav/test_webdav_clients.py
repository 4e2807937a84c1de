"""Real clients get out of the view what was backed up: rclone, curl, davfs2, and one that asks what few others ask."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.safety.program import Site
from tests.services.process import PEERS, program
from tests.webdav.viewing import View, latest, start_view

MIB = 1 << 20
NAMING = b'<propfind xmlns="DAV:"><prop>%s</prop></propfind>'
BILLION_LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (number, b"&a%d;" % (number - 1) * 10) for number in range(1, 10))
    + b"]>"
    + NAMING % b"<x>&a9;</x>"
)
ODD_NAMES = [
    b"no utf-8 \xff\xfe",
    b"percent %2F %41",
    b"question? and #number; semicolon",
    b"<angles> & \"quotes\" 'single'",
    b"a line\nbreak, a tab\t, an escape \x1b[31m",
    "ünïcödé 日本 🐚".encode(),
    b" spaces around ",
    b"back\\slash",
    b"x" * 255,
]


@pytest.fixture(scope="module")
def source(shared_site: Site) -> Path:
    """What was backed up: odd names, links, a pipe, an empty folder, a large file."""
    folder = shared_site.folder / "source"
    (folder / "inner" / "empty folder").mkdir(parents=True)
    for number, name in enumerate(ODD_NAMES):
        (folder / os.fsdecode(name)).write_bytes(b"%d" % number * number)
    (folder / "large").write_bytes(random.Random(1).randbytes(40 * MIB))
    (folder / "page.html").write_text("<script>fetch('/')</script>")
    os.utime(folder / "page.html", (1_000_000_000, 1_000_000_000))
    os.utime(folder / "large", (-5_000_000, -5_000_000))
    (folder / "link").symlink_to("large")
    (folder / "dangling").symlink_to(os.fsdecode(b"no\xffwhere"))
    os.mkfifo(folder / "inner" / "pipe")
    shared_site.run("backup", folder, "--tag", "one,two", "--host", "shell")
    return folder


@pytest.fixture(scope="module")
def view(shared_site: Site, source: Path) -> Iterator[View]:
    """A view of it."""
    view = start_view(shared_site)
    yield view
    ended = view.end()
    assert (ended.code, ended.err) == (0, "\rsignal interrupt received, cleaning up\n")
    assert shared_site.files("locks") == set()


def test_rclone(view: View, source: Path, tmp_path: Path) -> None:
    """The way out of a snapshot for many: with `--links` even symbolic links come back as what they were."""
    target = tmp_path / "copied"
    (tmp_path / "rclone.conf").touch()
    command: list[str | Path] = [
        program("rclone", PEERS),
        "--config",
        tmp_path / "rclone.conf",
        "copy",
        "--links",
        "--metadata",
    ]
    place = f":webdav,url='{view.url}':{latest(source).lstrip('/')}"
    subprocess.run([*command, "--create-empty-src-dirs", place, target], check=True, capture_output=True, timeout=120)
    assert tree(target) == {**tree(source)}


def tree(folder: Path) -> dict[str, object]:
    """All that a client of WebDAV can know: folders, digests of files, targets of links."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = "folder"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.mark.parametrize("wanted", ["0-0", "5-20000005", "41943030-", "-7", "41943039-99999999999"])
def test_curl_range(view: View, source: Path, wanted: str) -> None:
    """A player jumps to the middle of a film, and a download that was cut goes on: only that part is sent."""
    url = f"{view.url}{latest(source)}/large"
    done = subprocess.run([program("curl"), "-sSf", "-r", wanted, url], check=True, capture_output=True, timeout=60)
    content = (source / "large").read_bytes()
    first, _, last = wanted.partition("-")
    expected = content[-int(last) :] if not first else content[int(first) : int(last) + 1 if last else None]
    assert done.stdout == expected


@pytest.mark.parametrize("wanted", [f"{40 * MIB}-", f"{40 * MIB}-{41 * MIB}", "-0"])
def test_a_range_behind_the_end(view: View, source: Path, wanted: str) -> None:
    """Who asks for what is not there must not get something else."""
    answer = view.ask("GET", f"{latest(source)}/large", {"Range": f"bytes={wanted}"})
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{40 * MIB}")


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("GET", "bytes=0-1,4-5"),
        ("GET", "bytes=5-2"),
        ("GET", "bytes=-"),
        ("GET", "bytes=x-y"),
        ("GET", "lines=0-4"),
        ("GET", "bytes=0-" + "9" * 5000),
        ("HEAD", "bytes=0-4"),
    ],
)
def test_what_is_no_single_range(view: View, source: Path, method: str, wanted: str) -> None:
    """One part in place of two, or of what was not asked for, would be taken for the right one."""
    answer = view.ask(method, f"{latest(source)}/page.html", {"Range": wanted})
    assert (answer.status, answer.headers["content-length"]) == (200, str((source / "page.html").stat().st_size))


def test_conditions(view: View, source: Path) -> None:
    """A client with a copy of its own asks whether that is still right, and need not fetch it again."""
    path = f"{latest(source)}/page.html"
    head = view.ask("HEAD", path)
    assert head.body == b""
    assert head.headers["last-modified"] == formatdate(1_000_000_000, usegmt=True)
    assert head.headers["content-length"] == str((source / "page.html").stat().st_size)
    tag = head.headers["etag"]
    assert view.ask("GET", path, {"If-None-Match": tag}).status == 304
    assert view.ask("GET", path, {"If-None-Match": '"another"'}).status == 200
    assert view.ask("GET", path, {"If-Modified-Since": head.headers["last-modified"]}).status == 304
    assert view.ask("GET", path, {"If-Match": '"another"'}).status == 412
    assert view.ask("GET", path, {"If-Range": '"another"', "Range": "bytes=0-1"}).status == 200
    assert view.ask("GET", path, {"If-Range": tag, "Range": "bytes=0-1"}).body == b"<s"
    assert view.ask("HEAD", f"{latest(source)}/large").headers["etag"] != tag


def test_odd_names(view: View, source: Path) -> None:
    """A name that some client cannot show must be there for the others, and take no other entry with it."""
    names = view.names(latest(source))
    assert sorted(names) == sorted(
        [*ODD_NAMES, b"large", b"page.html", b"inner", b"link.rclonelink", b"dangling.rclonelink"]
    )
    for number, name in enumerate(ODD_NAMES):
        answer = view.ask("GET", os.fsencode(latest(source)) + b"/" + name)
        assert (answer.status, answer.body) == (200, b"%d" % number * number), name


def test_links_and_special_files(view: View, source: Path) -> None:
    """WebDAV has neither: a link shows where it leads, and nobody hangs in a pipe."""
    assert view.ask("GET", f"{latest(source)}/link.rclonelink").body == b"large"
    assert view.ask("GET", f"{latest(source)}/dangling.rclonelink").body == b"no\xffwhere"
    assert view.ask("GET", f"{latest(source)}/link").status == 404
    assert view.names(f"{latest(source)}/inner") == [b"empty folder"]
    assert view.ask("GET", f"{latest(source)}/inner/pipe").status == 404
    assert view.ask("GET", f"{latest(source)}/inner/pipe.rclonelink").status == 404
    assert view.ask("GET", f"{latest(source)}/large/inside").status == 404


def test_pages_for_browsers(view: View, source: Path) -> None:
    """A browser is all that a helpless user has; what is in a backup must not run there and read the rest."""
    moved = view.ask("GET", latest(source))
    assert (moved.status, moved.headers["location"]) == (301, "./source/")
    page = view.ask("GET", f"{latest(source)}/")
    text = page.body.decode()
    assert page.status == 200
    assert 'href="./inner/"' in text
    assert "href=\"./%3Cangles%3E%20%26%20%22quotes%22%20'single'\"" in text.replace("&#x27;", "'")
    assert "&lt;angles&gt; &amp; &quot;quotes&quot;" in text
    assert "link → large" in text
    assert "\x1b" not in text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    html = view.ask("GET", f"{latest(source)}/page.html")
    assert html.headers["content-type"] == "text/html"
    assert "script-src 'none'" in html.headers["content-security-policy"]
    assert html.headers["cross-origin-resource-policy"] == "same-origin"


def test_views(view: View, source: Path) -> None:
    """Snapshots are found by id, time, host and tag as in a mount; `latest` is a folder, for WebDAV knows no links."""
    assert view.names("/") == [b"ids", b"snapshots", b"hosts", b"tags"]
    assert view.names("/hosts") == [b"shell"]
    assert view.names("/tags") == [b"one", b"two"]
    (at, link) = view.names("/hosts/shell")
    assert link == b"latest"
    assert view.names(f"/tags/two/{at.decode()}{source}") == view.names(f"/hosts/shell/latest{source}")


@pytest.mark.parametrize(
    "method", ["PUT", "POST", "DELETE", "MKCOL", "MOVE", "COPY", "PROPPATCH", "LOCK", "UNLOCK", "PATCH", "NONSENSE"]
)
def test_nothing_can_be_written(view: View, source: Path, method: str) -> None:
    """A file manager that saves, renames or removes must be told no, and a large upload be taken off the line."""
    for body in (b"", b"<x/>", bytes(MIB)):
        answer = view.ask(method, f"{latest(source)}/page.html", {"Destination": f"{view.url}/x"}, body)
        assert answer.status == 405
        assert answer.headers["allow"] == "OPTIONS, HEAD, GET, PROPFIND"
    assert view.ask("GET", f"{latest(source)}/page.html").status == 200


def test_a_body_in_chunks(view: View) -> None:
    """A chunk of any size would be held in memory, whoever sends it: none is read, and the connection ends."""
    with socket.create_connection(("127.0.0.1", view.port), timeout=30) as connection:
        connection.sendall(
            b"PROPFIND / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n"
        )
        with connection.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in answer.read().lower()


def test_a_file_has_no_depth(view: View, source: Path) -> None:
    """Clients that ask about a file often do not say how deep: below it there is nothing."""
    for headers in ({}, {"Depth": "infinity"}):
        assert view.ask("PROPFIND", f"{latest(source)}/large", headers).status == 207


def test_options(view: View, source: Path) -> None:
    """By this answer clients know that it is WebDAV, and that nothing can be locked for writing."""
    answer = view.ask("OPTIONS", f"{latest(source)}/page.html")
    assert answer.status == 200
    assert answer.headers["dav"] == "1"
    assert "PUT" not in answer.headers["allow"]


def test_properties(view: View, source: Path) -> None:
    """Clients name the properties they want; those that nothing has are to be told as missing, by RFC 4918."""
    body = b"""<?xml version="1.0"?><propfind xmlns="DAV:" xmlns:o="urn:&lt;odd&gt;"><prop>
        <getcontentlength/><getlastmodified/><resourcetype/><quota-used-bytes/><o:unknown/></prop></propfind>"""
    answer = view.ask("PROPFIND", f"{latest(source)}/large", {"Depth": "0"}, body)
    found: dict[str, dict[str, str | None]] = {}
    for part in ElementTree.fromstring(answer.body).iter("{DAV:}propstat"):
        status = part.findtext("{DAV:}status", "").split()[1]
        found[status] = {element.tag: element.text for element in part.find("{DAV:}prop") or ()}
    assert found == {
        "200": {
            "{DAV:}getcontentlength": str(40 * MIB),
            "{DAV:}getlastmodified": "Thu, 01 Jan 1970 00:00:00 GMT",  # older times HTTP cannot tell
            "{DAV:}resourcetype": None,
        },
        "404": {"{DAV:}quota-used-bytes": None, "{urn:<odd>}unknown": None},
    }
    names = view.ask(
        "PROPFIND", f"{latest(source)}/large", {"Depth": "0"}, b'<propfind xmlns="DAV:"><propname/></propfind>'
    )
    assert {element.tag: element.text for element in ElementTree.fromstring(names.body).iter()}["{DAV:}getetag"] is None


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Depth": "infinity"}, b"", 403),
        ({}, b"", 403),
        ({"Depth": "1"}, b"no xml", 400),
        ({"Depth": "1"}, b"<x/>", 400),
        ({"Depth": "1"}, b"<x>" + bytes(70_000), 413),
        ({"Depth": "1"}, b'<?xml version="1.0" encoding="nonsense"?><x/>', 400),
        ({"Depth": "1"}, b"<x>" * 20_000, 400),
        ({"Depth": "1"}, BILLION_LAUGHS, 400),
        ({"Depth": "1"}, b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + NAMING % b"<x>&a;</x>", 400),
        ({"Depth": "1"}, b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">' + NAMING % b"<x/>", 400),
        ({"Depth": "1"}, NAMING % (b'<x xmlns="%s">' % (b"x" * 4000) + b"<y/>" * 4000 + b"</x>"), 207),
        (
            {"Depth": "1"},
            b'<D:propfind xmlns:D="DAV:" xmlns="%s"><D:prop>%s</D:prop></D:propfind>'
            % (b"x" * 4000, b"".join(b"<y%d/>" % number for number in range(4000))),
            400,
        ),
        ({"Depth": "1"}, NAMING % (b"<getetag/>" * 6000), 207),
    ],
)
def test_bad_questions(view: View, headers: dict[str, str], body: bytes, status: int) -> None:
    """A question without an end, or one that only looks like one, must not take the server down."""
    assert view.ask("PROPFIND", "/", headers, body).status == status


@pytest.mark.parametrize("path", ["/..", "/../../etc/passwd", "/snapshots/latest/../../../etc", "/ids/%2e%2e/%2e%2e"])
def test_no_way_out(view: View, path: str) -> None:
    """Whatever a path looks like, there is nothing to be had but snapshots."""
    with socket.create_connection(("127.0.0.1", view.port), timeout=30) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = line.makefile("rb").read()
    assert b"root:" not in answer
    assert answer.split()[1] in {b"200", b"400", b"404"}


def test_a_page_that_takes_our_name(view: View) -> None:
    """A web page whose name suddenly leads here would read all snapshots through its visitor's browser."""
    assert view.ask("GET", "/", {"Host": "evil.example"}).status == 403
    for host in ("localhost", f"127.0.0.1:{view.port}", "[::1]", "LocalHost:80"):
        assert view.ask("GET", "/", {"Host": host}).status == 200


def test_a_connection_lasts(view: View, source: Path) -> None:
    """A client that copies thousands of small files must not need a connection for each."""
    connection = http.client.HTTPConnection("127.0.0.1", view.port, timeout=30)
    try:
        connection.connect()
        line = connection.sock
        file = f"{latest(source)}/page.html"
        for method, path in [("PROPFIND", "/"), ("GET", "/"), ("GET", file), ("PUT", "/x"), ("HEAD", file)] * 3:
            headers = {"Depth": "1"} if method == "PROPFIND" else {}
            connection.request(method, path, b"<x/>" if method == "PUT" else None, headers)
            connection.getresponse().read()
            assert connection.sock is line
    finally:
        connection.close()


def test_davfs2(view: View, source: Path, tmp_path: Path) -> None:
    """Where FUSE may be used, but nothing of ours be installed, it is a file system all the same."""
    mounter = program("mount.davfs")
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("davfs2 mounts as root, through /dev/fuse")
    point, settings = tmp_path / "point", tmp_path / "davfs2.conf"
    point.mkdir()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as cache:
        shutil.chown(cache, group="davfs2")  # what it works as
        os.chmod(cache, 0o770)
        settings.write_text(f"ask_auth 0\nuse_locks 0\ncache_dir {cache}\n")
        place = f"{view.url}{latest(source)}/"
        subprocess.run([mounter, "-o", f"conf={settings},ro", place, point], check=True, timeout=60)
        try:
            assert (point / "large").read_bytes() == (source / "large").read_bytes()
            assert (point / "page.html").stat().st_mtime == 1_000_000_000
            # By name alone: on new kernels davfs2 1.6 lists no folder at all, rclone's server or ours.
            assert (point / "inner" / "empty folder").is_dir()
            assert (point / "ünïcödé 日本 🐚").read_bytes() == b"55555"
            assert (point / "link.rclonelink").read_bytes() == b"large"
            with pytest.raises(OSError, match=r"Read-only|Invalid"):
                (point / "new").touch()
        finally:
            subprocess.run(["umount", point], check=True, capture_output=True, timeout=60)


def test_a_folder_of_a_hundred_thousand(site: Site, tmp_path: Path) -> None:
    """Mail in Maildir, caches: a folder of that size must be listed whole, in memory that does not grow with it."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(100_000):
        os.close(os.open(folder / f"a name of usual length {number}", os.O_CREAT | os.O_WRONLY))
    site.run("backup", folder)
    view = start_view(site)
    assert view.names("/snapshots") != []
    before = peak_memory(view)
    answer = view.ask("PROPFIND", latest(folder), {"Depth": "1"})
    assert answer.body.count(b"<D:href>") == 100_001
    page = view.ask("GET", f"{latest(folder)}/")
    assert page.body.count(b"<a href=") == 100_001
    assert peak_memory(view) - before < 150 * MIB
    assert view.end().code == 0


def peak_memory(view: View) -> int:
    """Of the process, in bytes."""
    status = Path(f"/proc/{view.running.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_signing_in(site: Site, tmp_path: Path) -> None:
    """Beyond loopback only one user gets in, whose password stands in a file and in no list of processes."""
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    view = start_view(site, "--user", "ann", "-o", f"webdav.password_file={secret}", listen="0.0.0.0:0")
    curl: list[str | Path] = [program("curl"), "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"{view.url}/"]
    for given, status in (([], b"401"), (["-u", "ann:wrong"], b"401"), (["-u", "ann:correct horse"], b"200")):
        assert subprocess.run([*curl, *given], check=True, capture_output=True, timeout=60).stdout == status
    assert view.ask("GET", "/", {"Host": "backup.example"}).status == 401
    ended = view.end()
    assert ended.code == 0
    assert ended.err.count("wrong user or password from 127.0.0.1") == 1


def test_new_snapshots_appear(site: Site, tmp_path: Path) -> None:
    """A view that runs for weeks must show what was backed up last night."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "file").write_text("first")
    site.run("backup", folder)
    view = start_view(site)
    assert view.ask("GET", f"{latest(folder)}/file").body == b"first"
    (folder / "file").write_text("second")
    site.run("backup", folder)
    deadline = time.monotonic() + 60
    while view.ask("GET", f"{latest(folder)}/file").body != b"second":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert view.end().code == 0
