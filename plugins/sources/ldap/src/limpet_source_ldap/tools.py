"""Where the tools of slapd are: in /usr/sbin, which is not in everybody's PATH."""

from __future__ import annotations

import os
import shutil

from limpet.errors import UsageError

SLAPCAT, SLAPADD = "slapcat", "slapadd"
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/symas/sbin")


def program(name: str) -> str:
    """The path of the tool; UsageError where it is not to be found."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES])
    path = shutil.which(name, path=places)
    if path is None:
        raise UsageError(f"the program {name} is neither in $PATH nor in /usr/sbin: install it (OpenLDAP's slapd)")
    return path
