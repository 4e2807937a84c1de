"""Where things are by the options: the repository, and the folder of all caches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limpet import registry
from limpet.cli.options import GlobalOptions
from limpet.cli.text_file import read_text_file
from limpet.errors import UsageError
from limpet.registry.location import PATH

_LOCAL = {PATH, "local"}


def location_of(options: GlobalOptions) -> str:
    """Where the repository is by --repo or --repository-file; UsageError if that is not said, or said twice."""
    if not options.repo and not options.repository_file:
        raise UsageError("Please specify repository location (-r or --repository-file)")
    if options.repo and options.repository_file:
        raise UsageError("Options -r and --repository-file are mutually exclusive, please specify only one")
    return options.repo or read_text_file(options.repository_file or "")


def cache_folder(options: GlobalOptions) -> Path:
    """The folder of all caches: --cache-dir, its variable, or the user's cache folder."""
    if options.cache_dir:
        return Path(options.cache_dir)
    import platformdirs  # noqa: PLC0415  # only where a cache is used

    return Path(platformdirs.user_cache_dir("limpet", appauthor=False))


def own_places(options: GlobalOptions) -> Sequence[str]:
    """Folders that a run itself uses: a repository on this machine, the cache."""
    places = [] if options.no_cache else [str(cache_folder(options))]
    location = registry.backend_location(location_of(options))
    return [*places, location.rest] if location.scheme in _LOCAL else places
