"""Who makes a snapshot, where and when: what it says of that."""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """What a snapshot says of its making."""

    hostname: str
    username: str
    uid: int
    gid: int
    time_ns: int
    program_version: str = ""

    @classmethod
    def here(cls, program_version: str = "") -> Origin:
        """This process, now."""
        uid = os.getuid() if hasattr(os, "getuid") else 0
        gid = os.getgid() if hasattr(os, "getgid") else 0
        return cls(socket.gethostname(), login_name(), uid, gid, time.time_ns(), program_version)


def login_name() -> str:
    """The user's name; empty where nobody knows it."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""
