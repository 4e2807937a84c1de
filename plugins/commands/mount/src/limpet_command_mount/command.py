"""`limpet mount`: all snapshots as a file system, with restic's flags."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from functools import partial

import click
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options, view_layout, view_layout_options
from limpet.cli.session import Session, pass_session
from limpet.errors import UsageError
from limpet.operations.browse import Browser, BrowseSettings
from limpet.repository.locks import LockTiming

from limpet_command_mount.ending import Ending
from limpet_command_mount.mountpoint import is_mounted_on, require_mountpoint

SHORT_ID = 10
LOCAL_SCHEMES = ("path", "local")


@click.command("mount")
@click.option("--allow-other", is_flag=True, help="allow other users to access the data in the mounted directory")
@click.option(
    "--no-default-permissions",
    is_flag=True,
    help="for 'allow-other', ignore Unix permissions and allow users to read all snapshot files",
)
@click.option("--owner-root", is_flag=True, help="use 'root' as the owner of files and dirs")
@view_layout_options
@click.option("--snapshot-template", hidden=True)
@snapshot_filter_options()
@click.argument("arguments", nargs=-1, metavar="MOUNTPOINT")
@pass_session
def command(
    session: Session,
    *,
    arguments: Sequence[str],
    allow_other: bool,
    no_default_permissions: bool,
    owner_root: bool,
    path_template: Sequence[str],
    time_template: str,
    snapshot_template: str | None,
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
) -> None:
    """Mount the repository read-only at a folder, until it is unmounted or Ctrl-C.

    Snapshots are found under ids, snapshots, hosts and tags; `latest` leads to the newest of each folder.

    In path templates %i is the short ID of a snapshot, %I the long one, %u its user, %h its host, %t each of its tags
    and %T its time as the time template says, which shows how Mon Jan 2 15:04:05 -0700 MST 2006 is to be written.
    """
    if len(arguments) != 1:
        raise UsageError("wrong number of parameters: one folder to mount on is needed")
    (mountpoint,) = arguments
    if snapshot_template is not None:
        session.terminal.error("Flag --snapshot-template has been deprecated, use --time-template")
        time_template = snapshot_template
    layout = view_layout(path_template, time_template)
    require_mountpoint(mountpoint, _local_folder(session.location()))
    settings = BrowseSettings(layout, snapshot_filter(host, tag, path))
    ending = Ending()
    # A storage that is away is mostly why a mount is ended, and then does not take the lock away either.
    with session.locked_repository(timing=LockTiming(release_limit_s=ending.left_s)) as repository:
        from limpet_command_mount.filesystem import Filesystem  # noqa: PLC0415  # brings pyfuse3 and trio
        from limpet_command_mount.serving import MountOptions, serve  # noqa: PLC0415

        session.say("Loading snapshots...")
        browser = Browser(repository, settings, reporter=session.reporter)

        def interrupt(number: int) -> None:
            name = (signal.strsignal(number) or "").lower()
            session.terminal.error(f"signal {name} received, cleaning up")
            repository.interrupt()
            browser.close(0)

        def ready() -> None:
            session.say(
                f"Now serving the repository at {mountpoint}\n"
                "Use another terminal or tool to browse the contents of this folder.\n"
                "When finished, quit with Ctrl-c here or umount the mountpoint."
            )
            session.terminal.flush()

        try:
            serve(
                Filesystem(
                    browser,
                    session.reporter,
                    owner_root=owner_root,
                    is_mounted=partial(is_mounted_on, os.path.realpath(mountpoint)),  # before it is mounted on
                ),
                os.path.abspath(mountpoint),
                MountOptions(
                    f"limpet:{repository.config.id[:SHORT_ID]}",
                    allow_other=allow_other,
                    default_permissions=allow_other and not no_default_permissions,
                ),
                ready=ready,
                interrupt=interrupt,
                ending=ending,
            )
        finally:
            browser.close(ending.stage_s())


def _local_folder(location: str) -> str | None:
    """The folder of a repository on this machine."""
    from limpet import registry  # noqa: PLC0415  # brings stevedore

    place = registry.backend_location(location)
    return place.rest if place.scheme in LOCAL_SCHEMES else None
