"""The program that has etcdctl make a snapshot, checks it and prints it: etcdctl writes to files only.

The cluster is named by the environment, as etcdctl itself takes it.
"""

from __future__ import annotations

import os
import sys

from limpet.contracts.made_dump import print_made_file

from limpet_source_etcd import checksum
from limpet_source_etcd.tools import ToolError, etcdctl, etcdutl, run


def make(path: str) -> None:
    """Write a snapshot; ToolError if the server does not answer, does not let us, or what came is not whole."""
    # Asked first, for the snapshot itself would be waited for without end.
    run([etcdctl(), "endpoint", "health"])
    run([etcdctl(), "snapshot", "save", path], lambda: _size(f"{path}.part"))
    if found := checksum.problem(path):
        raise ToolError(f"the snapshot is damaged: {found}")
    run([etcdutl(), "snapshot", "status", path])


def main() -> int:
    """Do it in the folder that the command line names."""
    try:
        print_made_file(make, sys.argv[1])
    except (ToolError, OSError) as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return 1
    return 0


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


if __name__ == "__main__":
    sys.exit(main())
