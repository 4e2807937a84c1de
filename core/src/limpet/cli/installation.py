"""How this Limpet was installed, and so how it is brought up to date."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit

PACKAGE = "limpet"
CORE = "limpet-core"
_OWNERS = {
    "/pipx/venvs/": f"pipx upgrade {PACKAGE}",
    "/uv/tools/": f"uv tool upgrade {PACKAGE}",
    "/dist-packages": f"apt-get install --only-upgrade {PACKAGE}",
}
"""What is in the path of an installation, and what then updates it."""


def update_command() -> str:
    """The command line that updates the installation this process runs from."""
    try:
        core = distribution(CORE)
    except PackageNotFoundError:
        return f"pip install --upgrade {PACKAGE}"
    checkout = _checkout(core)
    if checkout is not None:
        return f"git -C {shlex.quote(checkout)} pull"
    place = str(core.locate_file(""))
    for mark, by_its_owner in _OWNERS.items():
        if mark in place:
            return by_its_owner
    if (core.read_text("INSTALLER") or "").strip() == "uv":
        return f"uv pip install --python {shlex.quote(sys.executable)} --upgrade {PACKAGE}"
    return f"{shlex.quote(sys.executable)} -m pip install --upgrade {PACKAGE}"


def _checkout(core: Distribution) -> str | None:
    """The folder it was installed from as editable; None for an ordinary installation."""
    text = core.read_text("direct_url.json")
    if text is None:
        return None
    document = json.loads(text)
    if not document.get("dir_info", {}).get("editable"):
        return None
    return unquote(urlsplit(document["url"]).path)
