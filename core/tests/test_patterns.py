"""Patterns: restic's meaning, case by case, against a plain reading of the rules, and against restic itself."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from limpet.errors import UsageError
from limpet.patterns import Patterns, compile_name, expand_environment, fold_case, pattern_lines
from limpet.testing.restic import Restic

MATCHES = """
*.py        /src/app/main.py            yes
*.pyc       /src/app/main.py            no
*           /src                        yes
**          /src                        yes
app*        /src/app/main.py            yes
app/*       /src/app/main.py            yes
app/*       /src/app                    no
ap?/m*.py   /src/app/main.py            yes
app         /src/app/main.py            yes
app         /src/apple                  no
ma          /src/main.py                no
main.PY     /src/app/main.py            no
/app        /src/app                    no
/src        /src/app/main.py            yes
/src/       /src                        yes
src//app/   /src/app                    yes
/src/./x/../app  /src/app               yes
../app      /src/app                    no
/src/*      /src                        no
/*/app      /src/app/main.py            yes
/*/app      /src/x/app                  no
/src/*/*/x  /src/a/x                    no
src/**/x    /src/x                      yes
src/**/x    /src/a/b/c/x                yes
src/**/x    /src/a/b/c/x/y              yes
src/**/x    /a/x                        no
src/**      /src                        yes
**/src      /src                        yes
/**/x       /a/b/x                      yes
/**/x       /x                          yes
/           /anything/at/all            yes
a/**/b/**/c /a/b/c                      yes
a/**/b/**/c /z/a/1/b/2/3/c              yes
/a/**/b/**  /a/x/b                      no
/a/**/b/**  /a/x/b/c                    yes
/a/**/b/**  /a/b                        no
/a/**/b/**/c  /a/b/c                    no
/a/**/b/**/c  /a/x/b/c                  no
/a/**/b/**/c  /a/b/x/c                  yes
/a/**/b/**/c  /a/b/c/d                  yes
[a-c]1      /b1                         yes
[a-c]1      /d1                         no
[^a-c]1     /d1                         yes
[^a-c]1     /b1                         no
[]]         /]                          bad
[\\]]       /]                          yes
[a\\-c]     /-                          yes
[a\\-c]     /b                          no
[z-a]       /m                          no
[^z-a]      /m                          yes
[*?]        /?                          yes
[*?]        /x                          no
x[.-0]y     /x/y                        no
\\*         /*                          yes
\\*         /x                          no
a]          /a]                         yes
?           /é                          yes
??          /é                          no
[é-ü]       /ö                          yes
[é-ü]       /z                          no
[a-😀]      /日                         yes
[^a]        /日                         yes
*é*         /caféteria                  yes
"""

INVALID = ["[", "a[b", "[a-]", "[-a]", "[]", "[^]", "[^", "[a", "x\\", "ok/[", "**/[", "[a/b]", "![", "[\udcff]"]


@pytest.mark.parametrize(("pattern", "path", "wanted"), [line.split() for line in MATCHES.strip().splitlines()])
def test_one_pattern(pattern: str, path: str, wanted: str) -> None:
    """A pattern read otherwise than by restic saves what should stay out, or loses what should be kept."""
    if wanted == "bad":
        with pytest.raises(UsageError):
            Patterns([pattern])
        return
    assert Patterns([pattern]).matches(path.encode()) is (wanted == "yes")


@pytest.mark.parametrize(
    ("patterns", "path", "wanted"),
    [
        ([], "/a/b", (False, False)),
        (["", "*.c"], "/a/b.h", (False, True)),
        (["/a/b"], "/a", (False, True)),
        (["/a/b"], "/a/b/c", (True, True)),
        (["/a/b"], "/x", (False, False)),
        (["/a/*/c"], "/a/b", (False, True)),
        (["/a/*/c"], "/a/b/d", (False, False)),
        (["/a/**/z"], "/a/b/c/d", (False, True)),
        (["/**"], "/a", (True, True)),
        (["*.c", "!main.*"], "/a/main.c", (False, False)),
        (["*.c", "!main.*", "*"], "/a/main.c", (True, True)),
        (["!*", "*.c"], "/a.c", (True, True)),
        (["/a/*", "!/a/b"], "/a/b/c", (False, False)),
        (["/a/b/*", "!/a/b/[c-e]"], "/a", (False, True)),
        (["/x", "b"], "/a", (False, True)),
    ],
)
def test_lists(patterns: list[str], path: str, wanted: tuple[bool, bool]) -> None:
    """Restore leaves out a folder that cannot lead to an included path, and nothing else."""
    prepared = Patterns(patterns)
    assert prepared.matches_or_leads(path.encode()) == wanted
    assert prepared.matches(path.encode()) is wanted[0]


@pytest.mark.parametrize("pattern", INVALID)
def test_invalid_patterns_are_named(pattern: str) -> None:
    """A typing error must not select nothing in silence."""
    with pytest.raises(UsageError) as caught:
        Patterns(["fine", pattern], option="--exclude")
    assert repr(pattern) in str(caught.value)
    assert str(caught.value).startswith("--exclude: ")
    assert "fine" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_case_folding() -> None:
    """`--iexclude` must find names of any alphabet, and not break on bytes that are no text."""
    prepared = Patterns(["*.JPG", "ÜBER", "[A-C]x"], ignore_case=True)
    assert prepared.matches(b"/photo.jPg")
    assert prepared.matches("/über/x".encode())
    assert prepared.matches(b"/BX")
    assert not prepared.matches(b"/dx")
    assert Patterns(["*\udcff"], ignore_case=True).matches(b"/a\xfe")  # all stray bytes are one character
    assert fold_case(b"A\xff\xc3\x89\xc4\xb0\xce\xa3") == "a\ufffdéi\u03c3".encode()


def test_no_patterns_cost_nothing() -> None:
    """Most backups have no patterns and millions of files."""
    assert not Patterns([])
    assert not Patterns(["", ""])
    assert Patterns([]).within(b"/a") is None
    assert Patterns(["/x/y"]).within(b"/a") is None


def test_many_stars_do_not_explode() -> None:
    """One odd name must not stop a backup for hours."""
    assert not Patterns(["*a" * 40 + "b", "x/" + "**/y/" * 12 + "z"]).matches(b"/" + b"a" * 250)
    deep = b"/x" + b"/y" * 2000
    assert not Patterns(["x/" + "**/y/" * 4 + "q"]).matches(deep[:300])


def test_eighty_thousand_paths_are_quick() -> None:
    """A few patterns must not double the time of a scan: below 2 microseconds a path are usual."""
    prepared = Patterns(["node_modules", ".git", "*.o", "*.py[co]", "/home/*/.cache"])
    begin = time.process_time()
    hits = 0
    for number in range(8_000):
        left_out = prepared.within(b"/home/user/project/folder-%d" % number)
        assert left_out is not None
        hits += sum(map(left_out, (b"main.c", b"main.o", b".git", b"x.pyc", b"readme", b"a", b"b", b"c", b"d", b"e")))
    assert hits == 24_000
    assert time.process_time() - begin < 1.6  # ten times what it takes


# -- against a plain reading of the rules --------------------------------------------------------------------------


def plainly(pattern: str, path: str) -> bool:
    """Whether the pattern matches, by restic's rules taken literally: `**` expanded one after the other."""
    rooted = pattern.startswith("/")
    names = ["/", *path[1:].split("/")]
    parts = (["/"] if rooted else []) + [part for part in pattern.split("/") if part]
    return expanded(parts, names)


def expanded(parts: list[str], names: list[str]) -> bool:
    """Each `**` in its turn is any number of `*`; then the parts match a run of names."""
    if "**" in parts:
        at = parts.index("**")
        tries = range(len(names) - len(parts) + 2)
        return any(expanded(parts[:at] + ["*"] * count + parts[at + 1 :], names) for count in tries)
    if not parts or len(parts) > len(names):
        return False
    starts = [0] if parts[0] == "/" else range(1, len(names) - len(parts) + 1)
    return any(all(map(component, parts, names[start:])) for start in starts)


def component(part: str, name: str) -> bool:
    """`*` and `?` only, by trying everything."""
    if not part:
        return not name
    if part[0] == "*":
        return any(component(part[1:], name[skip:]) for skip in range(len(name) + 1))
    return bool(name) and part[0] in {"?", name[0]} and component(part[1:], name[1:])


names = st.text("ab", min_size=1, max_size=3)
parts = st.one_of(names, st.just("**"), st.text("ab*?", min_size=1, max_size=4))
paths = st.lists(names, min_size=1, max_size=6).map(lambda found: "/" + "/".join(found))
patterns = st.builds(
    lambda root, found: root + "/".join(found), st.sampled_from(["", "/"]), st.lists(parts, min_size=1, max_size=5)
)


@settings(max_examples=600, deadline=None)
@given(pattern=patterns, path=paths)
@example(pattern="/a/**/b/**", path="/a/x/b")
def test_as_the_rules_say(pattern: str, path: str) -> None:
    """The regular expressions are a translation; this is the original."""
    assert Patterns([pattern]).matches(path.encode()) is plainly(pattern, path)


@settings(max_examples=400, deadline=None)
@given(
    patterns=st.lists(st.builds(str.__add__, st.sampled_from(["", "", "!"]), patterns), max_size=4),
    path=paths,
    fold=st.booleans(),
)
def test_the_quick_way_is_the_same(patterns: list[str], path: str, fold: bool) -> None:
    """A walker asks folder by folder: an answer other than for the whole path would depend on who asks."""
    prepared = Patterns(patterns, ignore_case=fold)
    folder, _, name = path.rpartition("/")
    within = prepared.within(folder.encode() or b"/")
    assert (within is not None and within(name.encode())) is prepared.matches(path.encode())


@settings(max_examples=400, deadline=None)
@given(patterns=st.lists(patterns, min_size=1, max_size=3), path=paths)
def test_what_matches_is_led_to(patterns: list[str], path: str) -> None:
    """A restore that does not enter a folder loses all included files below it."""
    prepared = Patterns(patterns)
    if prepared.matches(path.encode()):
        pieces = path.split("/")
        assert all(
            prepared.matches_or_leads("/".join(pieces[:end]).encode() or b"/")[1] for end in range(1, len(pieces))
        )


@settings(max_examples=300, deadline=None)
@given(glob=st.binary(max_size=8), name=st.binary(max_size=5))
def test_any_bytes(glob: bytes, name: bytes) -> None:
    """Names are any bytes: a pattern of them is valid or refused, and never breaks."""
    try:
        matches = compile_name(glob)
    except UsageError:
        return
    matches(name.replace(b"/", b""))


@settings(max_examples=300, deadline=None)
@given(
    low=st.characters(exclude_categories=["Cs"]),
    high=st.characters(exclude_categories=["Cs"]),
    other=st.characters(exclude_categories=["Cs"], exclude_characters="/"),
)
def test_ranges_of_characters(low: str, high: str, other: str) -> None:
    """A class is about characters, while names are bytes."""
    if "/" in low + high:
        return
    low, high = sorted((low, high))
    inside = compile_name(f"[\\{low}-\\{high}]".encode())
    outside = compile_name(f"[^\\{low}-\\{high}]".encode())
    for character in (low, high, other):
        assert inside(character.encode()) is (low <= character <= high)
        assert outside(character.encode()) is not (low <= character <= high)


# -- files of patterns -----------------------------------------------------------------------------------------------


def test_pattern_files() -> None:
    """Exclude files are shared with restic: comments, blanks and variables must mean the same."""
    text = "# comment\n\n  *.o \t\r\n$HOME/x\n${HOME}y\n$$lit\n$NONE/z\n!keep\n #c\n\u00a0nb\n\x1cgs\nlast"
    wanted = ["*.o", "/h/x", "/hy", "$lit", "/z", "!keep", "nb", "\x1cgs", "last"]
    environment = {"HOME": "/h"}
    assert pattern_lines(text.encode(), environment) == wanted
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        assert pattern_lines(mark + text.encode(encoding), environment) == wanted
    assert pattern_lines(b"caf\xe9\n", {}) == ["caf\udce9"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a$", "a$"), ("$", "$"), ("$/x", "$/x"), ("${}", ""), ("${A", "A"), ("${A}B", "1B"), ("$AB", ""),
        ("$A-B", "1-B"),
        ("$$A", "$A"), ("$*x", "x"), ("$1x", "x"), ("${$}", "$"), ("${a b}", ""), ("$$$$", "$$"), ("${A$A", "A1"),
    ],
)  # fmt: skip
def test_variables(text: str, wanted: str) -> None:
    """A dollar sign in a name must be written as restic's users learnt it."""
    assert expand_environment(text, {"A": "1"}) == wanted


# -- restic as the judge ---------------------------------------------------------------------------------------------


@pytest.mark.interop
def test_as_restic_selects(restic_new: Restic, tmp_path: Path) -> None:
    """Generated patterns over generated trees, in one backup: each pattern has a tree of its own."""
    chance = random.Random(20)
    root = tmp_path / "r"
    given_patterns: list[str] = []
    for number in range(60):
        for _ in range(14):
            depth = chance.randint(1, 5)
            file = root.joinpath(
                str(number), *(chance.choice(["a", "b", "ab", "x.c", "é", "[b]"]) for _ in range(depth))
            )
            if not any(folder.is_file() for folder in file.parents) and not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        choices = ["a", "b", "*", "**", "**", "?", "a*", "[a-b]", "*.c", "[^a]", "\\[b]", "??"]
        parts = [chance.choice(choices) for _ in range(chance.randint(1, 4))]
        prefix = f"{root}/{number}" if chance.random() < 0.6 else str(number)
        sign = "!" if chance.random() < 0.2 else ""
        given_patterns.append("/".join([sign + prefix, *parts]))
    excludes = [f"--exclude={pattern}" for pattern in given_patterns]
    repo = tmp_path / "repo"
    restic_new.run("init", repo=repo, password="p")
    restic_new.run("backup", "--no-scan", *excludes, "r", repo=repo, password="p", cwd=tmp_path)
    lines = restic_new.run("--json", "ls", "latest", repo=repo, password="p").stdout.splitlines()[1:]
    expected = {json.loads(line)["path"] for line in lines}

    prepared = Patterns(given_patterns)
    found = {"/r"}
    for folder, folders, files in os.walk(root):
        left_out = prepared.within(os.fsencode(folder))
        assert left_out is not None
        folders[:] = [name for name in folders if not left_out(os.fsencode(name))]
        kept = [*folders, *(name for name in files if not left_out(os.fsencode(name)))]
        found |= {"/" + os.path.relpath(os.path.join(folder, name), tmp_path) for name in kept}
    assert found == expected
    assert len(expected) < sum(1 for _ in root.rglob("*")), "some were left out"
