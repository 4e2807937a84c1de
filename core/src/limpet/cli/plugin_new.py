"""A new plugin as a distribution that works: the templates, with its name in them."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

from limpet import registry
from limpet.errors import UsageError
from limpet.registry.kinds import PluginKind

_NAME = re.compile(r"[a-z][a-z0-9]*")


def write_plugin(kind: PluginKind, name: str, folder: Path | None = None) -> Path:
    """The folder with the new distribution: `limpet-KIND-NAME` here, or the one given, which must not be there yet.

    UsageError for a name that cannot be one, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a plugin: it is a letter, then letters and digits, all small")
    if registry.is_installed(kind, name):
        raise UsageError(f"there is a {kind.value} called {name!r} already: `limpet plugin info {name}`")
    distribution = kind.distribution(name)
    folder = folder or Path(distribution)
    package = distribution.replace("-", "_")
    names = {
        "kind": kind.value,
        "name": name,
        "distribution": distribution,
        "package": package,
        "group": kind.group,
        "class_name": f"{name.capitalize()}{kind.value.capitalize()}",
    }
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{package}/__init__.py": f"{kind.value}.py",
        f"src/{package}/py.typed": None,
        f"tests/test_{name}_{kind.value}.py": f"{kind.value}_test.py",
    }
    try:
        folder.mkdir(parents=True)
        for path, template in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text("" if template is None else _template(template).substitute(names))
    except FileExistsError as error:
        raise UsageError(f"{folder} is there already: name another folder with --target") from error
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from error
    return folder


def _template(name: str) -> Template:
    return Template((resources.files("limpet.cli") / "templates" / f"{name}.txt").read_text())
