"""Pruning from the command line, for `prune` and `forget --prune`: flags, the run, its figures in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click

from limpet.cli.formatting import format_bytes, format_percent
from limpet.cli.parameters import parse_size
from limpet.cli.session import Session
from limpet.errors import UsageError
from limpet.ids import StorageId
from limpet.operations.prune import PruneOptions, PruneResult, UnusedLimit
from limpet.progress import Reporter
from limpet.repository.repository import Repository

Command = TypeVar("Command", bound=Callable[..., object])
NO_CACHE_WARNING = "warning: running prune without a cache, this may be very slow!"


def prune_flags(decorated: Command) -> Command:
    """Add the flags to a command."""
    for option in (
        click.option(
            "--repack-smaller-than",
            metavar="below-limit",
            default="",
            help="pack `below-limit` packfiles (suffixes m/M)",
        ),
        click.option("--repack-uncompressed", is_flag=True, help="repack all uncompressed data"),
        click.option("--repack-small", is_flag=True, hidden=True),
        click.option("--repack-cacheable-only", is_flag=True, help="only repack packs which are cacheable"),
        click.option(
            "--max-repack-size",
            metavar="size",
            default="",
            help="stop after repacking this much data in total (suffixes k/K, m/M, g/G, t/T)",
        ),
        click.option(
            "--max-unused",
            metavar="limit",
            default="5%",
            help="tolerate given limit of unused data (bytes with suffixes k/K, m/M, g/G, t/T, a value in %, "
            "or the word 'unlimited')  [default: 5%]",
        ),
    ):
        option(decorated)
    return decorated


def take_prune_options(session: Session, flags: Mapping[str, Any], *, dry_run: bool) -> PruneOptions:
    """What the flags ask for; UsageError for what makes no sense. Tells of deprecated ones."""
    if flags["repack_small"]:
        session.terminal.error(
            "Flag --repack-small has been deprecated, small files are automatically repacked. "
            "Use --repack-smaller-than to specify a minimum size"
        )
    max_repack, smaller_than = flags["max_repack_size"], flags["repack_smaller_than"]
    options = PruneOptions(
        max_repack_bytes=_size(max_repack, "--max-repack-size") if max_repack else None,
        max_unused=parse_unused_limit(flags["max_unused"]),
        repack_cacheable_only=flags["repack_cacheable_only"],
        repack_smaller_than_bytes=_size(smaller_than, "--repack-smaller-than") if smaller_than else 0,
        repack_uncompressed=flags["repack_uncompressed"],
        dry_run=dry_run,
    )
    if smaller_than and not options.repack_smaller_than_bytes:
        raise UsageError("--repack-smaller-than must be larger than zero")
    if options.repack_uncompressed and session.options.compression == "off":
        raise UsageError("disabled compression and `--repack-uncompressed` are mutually exclusive")
    return options


def parse_unused_limit(text: str) -> UnusedLimit:
    """The limit from `unlimited`, a percentage or a size; UsageError for anything else."""
    trimmed = text.strip()
    if not trimmed:
        raise UsageError(f'invalid value for --max-unused: "{text}"')
    if trimmed == "unlimited":
        return UnusedLimit()
    if not trimmed.endswith("%"):
        return UnusedLimit(size_bytes=_size(trimmed, "--max-unused"))
    try:
        percent = float(trimmed[:-1])
    except ValueError as error:
        raise UsageError(f'invalid percentage "{text}" passed for --max-unused') from error
    if percent < 0 or math.isnan(percent):
        raise UsageError("percentage for --max-unused must be positive")
    if percent >= 100:
        raise UsageError("percentage for --max-unused must be below 100%")
    return UnusedLimit(percent=percent)


def run_prune(
    session: Session, repository: Repository, options: PruneOptions, ignored_snapshots: Collection[StorageId] = ()
) -> None:
    """Prune the locked repository and tell of it, in words or as a document."""
    from limpet.operations.prune.run import prune  # noqa: PLC0415  # most runs of `forget` do without

    if repository.settings.cache_folder is None and not session.json:
        session.print(NO_CACHE_WARNING)

    def planned(result: PruneResult) -> None:
        if session.json:
            session.print_json(result.as_document())
        else:
            tell_figures(session.reporter, result)

    result = prune(repository, options, session.reporter, planned, ignored_snapshots=ignored_snapshots)
    if not result.dry_run:
        session.figures["packs_removed"] = result.packs.remove_total + result.packs.repack
        session.figures["bytes_removed"] = result.sizes.remove_total
        session.figures["bytes_remaining"] = result.sizes.remaining


def tell_figures(reporter: Reporter, result: PruneResult) -> None:
    """The plan's figures, line by line as restic has them; with -v what there is, too."""
    if result.dry_run:
        reporter.note("\nWould have made the following changes:")
    _tell_found(reporter, result)
    _tell_changes(reporter, result)
    _tell_packs(reporter, result)


def _tell_found(reporter: Reporter, result: PruneResult) -> None:
    blobs, sizes = result.blobs, result.sizes
    lines = [f"\nused:         {blobs.used:10} blobs / {format_bytes(sizes.used)}"]
    if blobs.duplicate:
        lines.append(f"duplicates:   {blobs.duplicate:10} blobs / {format_bytes(sizes.duplicate)}")
    lines.append(f"unused:       {blobs.unused:10} blobs / {format_bytes(sizes.unused)}")
    if sizes.unreferenced:
        lines.append(f"unreferenced:                    {format_bytes(sizes.unreferenced)}")
    lines.append(f"total:        {blobs.total:10} blobs / {format_bytes(sizes.total)}")
    lines.append(f"unused size: {format_percent(sizes.duplicate + sizes.unused, sizes.total)} of total size")
    for line in lines:
        reporter.note(line, verbosity=2)


def _tell_changes(reporter: Reporter, result: PruneResult) -> None:
    blobs, sizes = result.blobs, result.sizes
    reporter.note(f"\nto repack:    {blobs.repack:10} blobs / {format_bytes(sizes.repack)}")
    reporter.note(f"this removes: {blobs.repack_remove:10} blobs / {format_bytes(sizes.repack_remove)}")
    reporter.note(f"to delete:    {blobs.remove:10} blobs / {format_bytes(sizes.remove + sizes.unreferenced)}")
    reporter.note(f"total prune:  {blobs.remove_total:10} blobs / {format_bytes(sizes.remove_total)}")
    if sizes.uncompressed:
        reporter.note(f"not yet compressed:              {format_bytes(sizes.uncompressed)}")
    reporter.note(f"remaining:    {blobs.remaining:10} blobs / {format_bytes(sizes.remaining)}")
    share = format_percent(sizes.remaining_unused, sizes.remaining)
    reporter.note(f"unused size after prune: {format_bytes(sizes.remaining_unused)} ({share} of remaining size)")
    reporter.note("")


def _tell_packs(reporter: Reporter, result: PruneResult) -> None:
    packs = result.packs
    lines = [
        f"totally used packs: {packs.used:10}",
        f"partly used packs:  {packs.partly_used:10}",
        f"unused packs:       {packs.unused:10}\n\n",
        f"to keep:      {packs.keep:10} packs",
        f"to repack:    {packs.repack:10} packs",
        f"to delete:    {packs.remove:10} packs",
    ]
    if packs.unreferenced:
        lines.append(f"to delete:    {packs.unreferenced:10} unreferenced packs\n\n")
    for line in lines:
        reporter.note(line, verbosity=2)


def _size(text: str, flag: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f'invalid number of bytes "{text}" for {flag}: {error}') from error
