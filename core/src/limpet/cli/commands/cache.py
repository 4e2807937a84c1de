"""`limpet cache`: the caches of repositories on this machine."""

from __future__ import annotations

import shutil
import time

import click

from limpet.cli.formatting import format_bytes
from limpet.cli.places import cache_folder
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table
from limpet.errors import UsageError
from limpet.storage.cachefolder import MAX_AGE_DAYS, list_caches

DAY_NS = 86_400 * 10**9
CHECK_CACHE_PREFIX = "restic-check-cache-"
SHORT_NAME = 10


@click.command("cache")
@click.option("--cleanup", is_flag=True, help="remove old cache directories")
@click.option(
    "--max-age",
    type=click.IntRange(min=0),
    default=MAX_AGE_DAYS,
    metavar="days",
    help="max age in days for cache directories to be considered old",
)
@click.option("--no-size", is_flag=True, help="do not output the size of the cache directories")
@pass_session
def command(session: Session, *, cleanup: bool, max_age: int, no_size: bool) -> None:
    """Operate on local cache directories."""
    if session.options.no_cache:
        raise UsageError("Refusing to do anything, the cache is disabled")
    folder = cache_folder(session.options)
    caches = sorted(list_caches(folder), key=lambda cache: cache.last_used_ns)
    if cleanup or session.options.cleanup_cache:
        old = [cache for cache in caches if cache.is_old(max_age)]
        _say(session, f"remove {len(old)} old cache directories" if old else "no old cache dirs found")
        for cache in old:
            try:
                shutil.rmtree(cache.path)
            except OSError as error:
                session.terminal.error(f"unable to remove {cache.path}: {error.strerror}")
        return
    if not caches:
        session.print(f"no cache dirs found, basedir is {folder}")
        return
    now_ns = time.time_ns()
    rows = [
        [
            cache.name if cache.name.startswith(CHECK_CACHE_PREFIX) else cache.name[:SHORT_NAME],
            f"{max(0, now_ns - cache.last_used_ns) // DAY_NS} days ago",
            "yes" if cache.is_old(max_age, now_ns) else "",
            *([] if no_size else [f"{format_bytes(cache.size_bytes()):>11}"]),
        ]
        for cache in caches
    ]
    session.print(format_table(["Repo ID", "Last Used", "Old", *([] if no_size else ["Size"])], rows))
    session.print(f"{len(caches)} cache dirs in {folder}")


def _say(session: Session, text: str) -> None:
    # As restic: this command has no JSON, so only --quiet silences it.
    if not session.quiet:
        session.print(text)
