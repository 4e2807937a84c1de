"""`limpet serve`: the command line of the server."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, fields, replace

import click
from limpet.cli.group import LimpetGroup
from limpet.cli.options import GlobalOptions
from limpet.cli.parameters import DURATION, SIZE
from limpet.cli.session import Session, pass_session
from limpet.contracts.command import Command
from limpet.errors import UsageError

from limpet_command_serve.settings import TLS_VERSIONS, Settings

KIB = 1024

_PATHS = ("path", "log", "tls_cert", "tls_key", "htpasswd_file", "audit_log")


def _flag(name: str, text: str) -> click.Option:
    return click.Option([name], is_flag=True, help=text)


def _file(name: str, text: str) -> click.Option:
    return click.Option([name], metavar="file", help=text)


def _seconds(name: str, field: str, text: str) -> click.Option:
    default = next(item.default for item in fields(Settings) if item.name == field)
    return click.Option([name, field], type=DURATION, metavar="duration", help=f"{text} (default: {default:g}s)")


_OPTIONS = [
    click.Option(["--path"], metavar="directory", help="data directory"),
    click.Option(["--backend"], metavar="location", help="serve a repository at any backend instead of a directory"),
    click.Option(["--listen"], metavar="address", help="listen address, HOST:PORT or unix:PATH (default: :8000)"),
    _flag("--append-only", "let nobody remove or change anything but locks"),
    _flag("--private-repos", "users can only access their private repo"),
    _file("--htpasswd-file", "location of the .htpasswd file (default: in --path)"),
    _flag("--no-auth", "disable authentication"),
    click.Option(["--proxy-auth-username"], metavar="header", help="HTTP header in which a proxy passes the user name"),
    _flag("--tls", "turn on TLS"),
    _file("--tls-cert", "TLS certificate (default: public_key in --path)"),
    _file("--tls-key", "TLS key (default: private_key in --path)"),
    click.Option(["--tls-min-ver"], type=click.Choice(TLS_VERSIONS), help="TLS min version (default: 1.2)"),
    click.Option(
        ["--max-size"], type=SIZE, metavar="size", help="most that may be stored in all repositories together"
    ),
    click.Option(
        ["--repo-quota", "repository_quota"], type=SIZE, metavar="size", help="most that a repository may hold"
    ),
    click.Option(["--user-quota"], type=SIZE, metavar="size", help="most that the folder of a user may hold"),
    click.Option(["--retention-days"], type=click.IntRange(min=0), metavar="n", help="nothing younger can be removed"),
    click.Option(
        ["--client-upload-limit", "limit_upload"], type=SIZE, metavar="size", help="bytes per second of one client"
    ),
    click.Option(
        ["--client-download-limit", "limit_download"], type=SIZE, metavar="size", help="bytes per second of one client"
    ),
    click.Option(
        ["--client-request-limit", "limit_requests"], type=float, metavar="n", help="requests per second of one client"
    ),
    _flag("--no-verify-upload", "do not compare the SHA-256 of uploads with their names; for very slow machines"),
    _flag("--group-accessible-repos", "let the group of the file system access repo files"),
    _flag("--prometheus", "enable Prometheus metrics"),
    _flag("--prometheus-no-auth", "disable auth for Prometheus /metrics endpoint"),
    _file("--log", "write requests in the combined log format to the file, - for standard output"),
    _file("--audit-log", "write one JSON line for each request to the file"),
    _flag("--verify", "hash what is stored again in the background, and report what is damaged"),
    click.Option(["--verify-rate"], type=SIZE, metavar="size", help="bytes per second of --verify"),
    _seconds("--grace", "grace_s", "how long running requests may go on after SIGTERM"),
    _seconds("--header-timeout", "header_timeout_s", "how long a client may take to say what it wants"),
    _seconds("--idle-timeout", "idle_timeout_s", "how long a connection may wait for its next request"),
    _seconds("--stall-timeout", "stall_timeout_s", "how long an upload or download may stand still"),
    click.Option(
        ["--max-connections", "most_connections"],
        type=click.IntRange(min=1),
        metavar="n",
        help="beyond, the connection that idles longest is closed for a new one (default: 10000)",
    ),
]


def read_settings(options: dict[str, object], *, debug: bool) -> Settings:
    """What the command line says; UsageError where that makes no sense."""
    given = {name: value for name, value in options.items() if value is not None}
    if "path" not in given and "backend" not in given:
        raise UsageError("say which directory to serve: --path DIR")
    given.setdefault("path", os.getcwd())
    for name in _PATHS:
        value = given.get(name)
        if isinstance(value, str) and value != "-":
            given[name] = os.path.abspath(value)
    settings = Settings(**given, debug=debug)  # type: ignore[arg-type]  # click has made each of its type
    settings.verify_sense()
    return settings


def _with_backend(settings: Settings, options: GlobalOptions) -> Settings:
    """The global options that say how to talk to the backend."""
    return replace(
        settings,
        backend_options=options.extended(),
        backend_transport=asdict(options.transport()),
        backend_limit_upload=max(0, options.limit_upload) * KIB or None,
        backend_limit_download=max(0, options.limit_download) * KIB or None,
    )


@click.group("serve", cls=LimpetGroup, invoke_without_command=True, params=_OPTIONS)
@click.pass_context
@pass_session
def serve_command(session: Session, context: click.Context, /, **options: object) -> None:
    """Serve repositories to restic and Limpet over HTTP, as rest-server does."""
    if context.invoked_subcommand is not None:
        return
    settings = read_settings(options, debug=session.options.debug)
    if settings.backend is not None:
        settings = _with_backend(settings, session.options)
    session.terminal.flush()
    from limpet_command_serve.lean import hold_reloads, start  # noqa: PLC0415  # not for `user`

    hold_reloads()
    if settings.backend is None and sys.executable:
        start(settings.encode())
    from limpet_command_serve.process import serve  # noqa: PLC0415  # backends are found by what `-S` leaves out

    context.exit(serve(settings))


class ServeCommand(Command):
    """Serves restic's REST protocol."""

    contract_version = 1

    @classmethod
    def click_command(cls) -> click.Command:
        """The server, with the commands about its users and files below."""
        from limpet_command_serve.user_commands import user_group  # noqa: PLC0415  # the server needs none
        from limpet_command_serve.verify_command import verify_command  # noqa: PLC0415  # nor this

        serve_command.add_command(user_group)
        serve_command.add_command(verify_command)
        return serve_command
