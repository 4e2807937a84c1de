"""Where `limpet serve` means to answer otherwise than rest-server 0.14, and why; docs/serve.md shows this table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """What each server does, for a reader of the documentation, and what the comparison sees in these cases."""

    what: str
    theirs: str
    ours: str
    reason: str
    seen: tuple[str, str]
    cases: Sequence[str]


OCTETS = "application/octet-stream"

UNREAD = Difference(
    "`GET` of a file that ends in 304, 412 or 416, in the metrics",
    "a blob read, with the bytes of the error",
    "not counted",
    "nothing of the file was read",
    ("1 read", "0 read"),
    (),  # compared with the metrics of real clients
)

DIFFERENCES: Sequence[Difference] = (
    Difference(
        "`POST` of a file that is there, with the same content, also of the config and with `--append-only`",
        "403",
        "200",
        "whose answer got lost sends again: that is no failure",
        ("403", "200"),
        (
            "config: the same again",
            "the same file again",
            "the same file again in chunks",
            "append-only: the same config again",
            "append-only: the same file again",
        ),
    ),
    Difference(
        "`POST` of the config before the repository was made",
        "500",
        "200",
        "as with all other files, whose folders are made too",
        ("500, 0 files", "200, 1 files"),
        ("config: before the repository",),
    ),
    Difference(
        "a list where uploads are under way or were cut",
        "temporary files too",
        "files only",
        "what is listed can be loaded",
        ("1 listed", "0 listed"),
        ("temporary file in a list", "stray file in a list", "stray folder in a list"),
    ),
    Difference(
        "a list where a pack is in the wrong folder",
        "listed",
        "not listed",
        "nobody could load it",
        ("1 listed", "0 listed"),
        ("file in the wrong folder",),
    ),
    Difference(
        "a path with `..`, `.` or empty folders",
        "301",
        "404",
        "no client asks for that by chance",
        ("301", "404"),
        (
            "list twice the slash",
            "repository in another's folder",
            "folder of dots",
            "folder of escaped dots",
            "empty folder",
            "private: back out by escaped dots",
        ),
    ),
    Difference(
        "such a path, without a login",
        "301",
        "401",
        "without a login nothing is answered",
        ("301", "401"),
        ("login: none for a bad path",),
    ),
    Difference(
        "a folder whose name begins with a dot",
        "200",
        "404",
        "these are the server's own",
        ("200", "404"),
        ("folder that begins with a dot",),
    ),
    Difference(
        "a folder with a name longer than file systems take",
        "500",
        "404",
        "it is the client's mistake",
        ("500", "404"),
        ("folder that is no file's name",),
    ),
    Difference(
        "more than `--max-size` in a file whose size is said",
        "507, leaves a temporary file",
        "507",
        "what is refused takes no room",
        ("1 files", "0 files"),
        ("max-size: too large by its length",),
    ),
    Difference(
        "more than `--max-size` in chunks",
        "500",
        "507",
        "clients do not try again then",
        ("500", "507"),
        ("max-size: too large in chunks",),
    ),
    Difference(
        "a config that is larger than `--max-size`",
        "200",
        "507",
        "it takes room as other files do",
        ("200, 1 files", "507, 0 files"),
        ("max-size: large config",),
    ),
    Difference(
        "`GET` of a file that looks like text, or is empty",
        "`Content-Type: text/plain; charset=utf-8`",
        f"`{OCTETS}`",
        "no guesses about sealed bytes",
        ("content-type text/plain; charset=utf-8", "content-type application/octet-stream"),
        (
            "config: GET",
            "config: GET of a range",
            "empty file",
            "empty file, with a range",
            "escaped slashes",
            "text in a file",
            "no-verify-upload: another hash",
        ),
    ),
    Difference(
        "`HEAD` of a file",
        "no `Content-Type`",
        f"`{OCTETS}`",
        "as with `GET`: RFC 9110",
        ("content-type none", "content-type application/octet-stream"),
        (
            "config: HEAD",
            "data: HEAD",
            "index: HEAD",
            "keys: HEAD",
            "locks: HEAD",
            "snapshots: HEAD",
            "HEAD with a range",
        ),
    ),
    Difference(
        "a range that is none",
        "416",
        "416, and the file's size in `Content-Range`",
        "as with a range behind the end",
        ("content-range ", "content-range bytes */22"),
        (
            "range bytes=5-2",
            "range bytes=-",
            "range bytes=x-y",
            "range bytes=99999999999999999999999-",
            "range items=0-4",
            "range 0-4",
        ),
    ),
    Difference(
        "a range with spaces around its numbers",
        "206",
        "416",
        "RFC 9110 has none there",
        ("206", "416"),
        ("range bytes= 1 - 2 ",),
    ),
    Difference(
        "several ranges at once",
        "206 with several parts",
        "200 with all of it",
        "RFC 9110 allows it, and no client asks",
        ("206", "200"),
        ("range bytes=0-1,4-5", "range bytes=0-0,-1", "range bytes=0-1,999-"),
    ),
    UNREAD,
)


def difference_of(case: str) -> tuple[str, str]:
    """What the two servers do in this case, theirs first; twice nothing if it is the same."""
    for difference in DIFFERENCES:
        if case in difference.cases:
            return difference.seen
    return "", ""


def table() -> Iterator[str]:
    """The lines of the documentation's table."""
    yield "| request | rest-server 0.14 | `limpet serve` | because |"
    yield "|---|---|---|---|"
    for one in DIFFERENCES:
        yield f"| {one.what} | {one.theirs} | {one.ours} | {one.reason} |"
