"""What is run in a container: scripts for any POSIX shell, with GNU's, busybox's or toybox's tools.

Paths are arguments or come NUL-separated through standard input, never part of a script. The exec protocol cannot say
that the input has ended (v4), so its length is told beforehand and `head` reads that much.
"""

from __future__ import annotations

from collections.abc import Sequence

NO_FOLDER = 66
"""Exit code: the volume is not mounted there."""

_ENTER = f'LC_ALL=C; export LC_ALL; cd "$1" || exit {NO_FOLDER}\n'

_LIST = (
    _ENTER
    + r"""
if find . -prune -printf x >/dev/null 2>&1; then
  exec find . -xdev $2 -printf '%y %m %U %G %s %T@ %C@ %i %n %D\0%p\0%l\0'
fi
exec find . -xdev $2 -exec sh -c '
for f; do
  s=$(stat -c "x %f %u %g %s %Y %Z %i %h %d" "$f") || continue
  l=; if [ -h "$f" ]; then l=$(readlink "$f" && echo x); l=${l%x}; l=${l%?}; fi
  printf "%s\0%s\0%s\0" "$s" "$f" "$l"
done' sh {} +
"""
)
"""Records of kind, mode, owner, group, size, times of content and status, inode, links, device; path; link target.

`-xdev` keeps to the volume where another one is mounted inside it. Busybox's `find` prints no status, its `stat` whole
seconds only: one short process for each file.
"""

_READ = (
    _ENTER
    + """
TAR_OPTIONS=--blocking-factor=64; export TAR_OPTIONS
head -c "$2" | xargs -0 -r tar -cf -
"""
)
"""Archives, one after the other, of the files named in the input, in their order.

`xargs` ends with 123 where `tar` complained about files, and with another code where it was killed or is missing.
GNU's tar takes the option from the environment and writes 32 KiB at once, others ignore it.
"""
COMPLAINED = 123

_WRITE = _ENTER + 'head -c "$2" | tar -xpf -\n'
"""Unpacks an archive of that many bytes."""

_COUNT = _ENTER + 'ls -A | grep -v "^lost+found$" | head -n 1\n'
"""A name in the folder, if there is any that a new file system has not."""


def list_argv(folder: str, *, is_only_root: bool = False) -> list[str]:
    """Command that lists the folder and all below it, or the folder alone."""
    return ["sh", "-c", _LIST, "sh", folder, "-prune" if is_only_root else ""]


def read_argv(folder: str, names_size_bytes: int) -> list[str]:
    """Command that reads NUL-separated names, below the folder, and writes archives of them."""
    return ["sh", "-c", _READ, "sh", folder, str(names_size_bytes)]


def write_argv(folder: str, archive_size_bytes: int) -> list[str]:
    """Command that unpacks an archive into the folder."""
    return ["sh", "-c", _WRITE, "sh", folder, str(archive_size_bytes)]


def look_argv(folder: str) -> Sequence[str]:
    """Command that prints a name if the folder holds something."""
    return ["sh", "-c", _COUNT, "sh", folder]
