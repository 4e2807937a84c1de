"""`limpet webdav`: the snapshots over HTTP, for systems without FUSE, browsers and other machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import click
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options, view_layout, view_layout_options
from limpet.cli.session import Session, pass_session
from limpet.contracts.command import Command
from limpet.contracts.options import Option
from limpet.contracts.secret import given_secret, secret_options
from limpet.errors import UsageError
from limpet.operations.browse import Browser, BrowseSettings
from limpet.registry.kinds import PluginKind
from limpet.registry.opening import plugin_options
from limpet.repository.locks import LockTiming

from limpet_command_webdav.address import Address, parse_address

if TYPE_CHECKING:
    from limpet_command_webdav.sign_in import Credentials

NAME = "webdav"
DEFAULT_ADDRESS = "127.0.0.1:8080"
RELEASE_LIMIT_S = 1.2
"""A storage that is away is mostly why a view is ended, and then does not take the lock away either."""


@click.command(NAME)
@click.option(
    "--listen", default=DEFAULT_ADDRESS, metavar="host:port", help=f"listen here (default: {DEFAULT_ADDRESS})"
)
@click.option("--user", metavar="name", help="only this user may read; -o webdav.password_file=FILE says the password")
@click.option("--no-auth", is_flag=True, help="let everybody read who can reach the address")
@view_layout_options
@snapshot_filter_options()
@pass_session
def webdav(
    session: Session,
    *,
    listen: str,
    user: str | None,
    no_auth: bool,
    path_template: Sequence[str],
    time_template: str,
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
) -> None:
    """Serve the snapshots read-only over WebDAV.

    Browsers, file managers, davfs2 and rclone show them as folders: ids, snapshots, hosts and tags, each with the
    snapshots by their times, as in a mount. Without --listen only this machine reaches them, and everybody on it;
    listening elsewhere takes a user with a password, or --no-auth. Ends with Ctrl-C or SIGTERM.
    """
    address = parse_address(listen)
    credentials = _credentials(session, user)
    _require_sign_in(address, credentials, no_auth=no_auth)
    from limpet_command_webdav.application import make_application  # noqa: PLC0415  # no help needs it
    from limpet_command_webdav.server import ViewServer  # noqa: PLC0415  # as above

    settings = BrowseSettings(
        layout=view_layout(path_template, time_template),
        snapshot_filter=snapshot_filter(host, tag, path),
        follow_latest=True,
    )
    reporter = session.reporter
    with session.locked_repository(timing=LockTiming(release_limit_s=lambda: RELEASE_LIMIT_S)) as repository:
        browser = Browser(repository, settings, reporter=reporter)
        application = make_application(
            browser,
            credentials=credentials,
            only_loopback_names=credentials is None and address.is_loopback,
            warn=reporter.warning,
        )
        try:
            with ViewServer(address, application, lambda text: reporter.note(text, verbosity=3)) as server:
                session.print(f"Now serving the snapshots at http://{server.address}/")
                session.print("When finished, quit with Ctrl-c here.")
                session.terminal.flush()
                server.wait()
        except KeyboardInterrupt:
            repository.interrupt()  # what is read for nobody now is not tried again
        finally:
            browser.close()


def _credentials(session: Session, user: str | None) -> Credentials | None:
    """The user and the password, in whichever way that is given; UsageError where one comes without the other."""
    values = plugin_options(PluginKind.COMMAND, NAME, WebdavCommand.options, session.options.extended())
    password = given_secret(NAME, "password", values)
    if (user is None) != (password is None):
        missing = "--user" if user is None else "a password: -o webdav.password_file=FILE or $LIMPET_WEBDAV_PASSWORD"
        raise UsageError(f"a user needs a password, and a password a user; give {missing} too")
    if user is None or password is None:
        return None
    if ":" in user or not user:
        raise UsageError(f"--user {user!r}: a user's name has at least one character and no colon")
    from limpet_command_webdav.sign_in import Credentials  # noqa: PLC0415

    return Credentials(user, password)


def _require_sign_in(address: Address, credentials: Credentials | None, *, no_auth: bool) -> None:
    if no_auth and credentials is not None:
        raise UsageError("--no-auth lets everybody read, --user only one: give one of them")
    if not address.is_loopback and credentials is None and not no_auth:
        raise UsageError(
            f"--listen {address}: other machines could read every snapshot; give --user and a password "
            "(-o webdav.password_file=FILE or $LIMPET_WEBDAV_PASSWORD), or --no-auth if they may"
        )


class WebdavCommand(Command):
    """Shows snapshots to whatever speaks HTTP or WebDAV."""

    contract_version = 1
    options: ClassVar[Sequence[Option]] = secret_options(NAME, "password", "the password of --user")

    @classmethod
    def click_command(cls) -> click.Command:
        return webdav
