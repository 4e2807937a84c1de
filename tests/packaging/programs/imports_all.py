"""usage: imports_all.py PACKAGE: imports all that the package's modules import anywhere, also in their functions."""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path


def imported_by(source: str) -> set[str]:
    """The modules named in its import statements, but for those that only a type checker reads."""
    tree = ast.parse(source)
    ignored = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
    return found


package = importlib.import_module(sys.argv[1])
for module in [
    package.__name__,
    *(info.name for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")),
]:
    file = importlib.import_module(module).__file__
    for name in sorted(imported_by(Path(str(file)).read_text())):
        importlib.import_module(name)
print(f"{package.__name__} is complete")
