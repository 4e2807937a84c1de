"""Logging in by paramiko as the user's ssh configuration says: keys, agent, known_hosts, jump hosts, proxies."""

from __future__ import annotations

import getopt
import getpass
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import paramiko  # type: ignore[import-untyped]
from limpet.errors import BackendError, UsageError

from limpet_backend_sftp.location import ServerPath

SSH_PORT = 22
CONNECT_LIMIT_S = 60.0
SYSTEM_CONFIGURATION = "/etc/ssh/ssh_config"
SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
USER_CONFIGURATION = "~/.ssh/config"
USER_KNOWN_HOSTS = "~/.ssh/known_hosts"


@dataclass(slots=True)
class Arguments:
    """Those of ssh's arguments that mean something here, in ssh's configuration's words."""

    file: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    identities: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Host:
    """A host to log in at."""

    name: str
    port: int
    user: str
    settings: paramiko.SSHConfigDict
    identities: Sequence[str]

    def __str__(self) -> str:
        return self.name if self.port == SSH_PORT else f"{self.name}:{self.port}"

    def setting(self, name: str, default: str = "") -> str:
        """One setting of the ssh configuration."""
        return str(self.settings.get(name, default))


def parse_arguments(words: Sequence[str]) -> Arguments:
    """What `sftp.args` says; UsageError for what only ssh itself can do."""
    try:
        flags, rest = getopt.getopt(list(words), "F:i:l:p:J:o:46Caq")
    except getopt.GetoptError as error:
        raise UsageError(f"sftp.args: without ssh this is not known: {error}") from error
    if rest:
        raise UsageError(f"sftp.args: {rest[0]!r} is no option of ssh")
    found = Arguments()
    for flag, value in flags:
        if flag == "-F":
            found.file = value
        elif flag == "-i":
            found.identities.append(value)
        elif flag in {"-l", "-p", "-J"}:
            found.settings[{"-l": "user", "-p": "port", "-J": "proxyjump"}[flag]] = value
        elif flag == "-o":
            name, _, setting = value.replace(" ", "=", 1).partition("=")
            found.settings[name.strip().lower()] = setting.strip()
    return found


def log_in(place: ServerPath, given: Arguments, timeout_s: float | None, stack: ExitStack) -> paramiko.Transport:
    """The connection to the place's host, through its jump hosts; the stack closes all of them. BackendError."""
    configuration = _configuration(given.file)
    target = _host(configuration, given, ServerPath(place.host, "", place.user, place.port))
    hops = [_jump_host(configuration, given, step) for step in _jumps(target)]
    transport: paramiko.Transport | None = None
    for host in [*hops, target]:
        transport = _log_in(host, transport, min(timeout_s or CONNECT_LIMIT_S, CONNECT_LIMIT_S), stack)
    assert transport is not None
    return transport


def _log_in(host: Host, before: paramiko.Transport | None, limit_s: float, stack: ExitStack) -> paramiko.Transport:
    client = paramiko.SSHClient()
    stack.callback(client.close)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for path in f"{host.setting('userknownhostsfile', USER_KNOWN_HOSTS)} {SYSTEM_KNOWN_HOSTS}".split():
        _load_host_keys(client, os.path.expanduser(path))
    only_named = host.setting("identitiesonly").lower() == "yes"
    try:
        way: paramiko.Channel | paramiko.ProxyCommand | None = None
        if before is not None:
            way = before.open_channel("direct-tcpip", (host.name, host.port), ("127.0.0.1", 0), timeout=limit_s)
        elif host.setting("proxycommand", "none") != "none":
            way = paramiko.ProxyCommand(host.setting("proxycommand"))
            stack.callback(way.close)
        client.connect(
            host.name,
            port=host.port,
            username=host.user,
            key_filename=list(host.identities) or None,
            sock=way,  # a channel will do, as its documentation says
            allow_agent=not only_named and host.setting("identityagent").lower() != "none",
            look_for_keys=not only_named,
            timeout=limit_s,
            banner_timeout=limit_s,
            auth_timeout=limit_s,
            channel_timeout=limit_s,
        )
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise _typed(error, host) from error
    transport = client.get_transport()
    if transport is None:
        raise BackendError(f"cannot connect to {host}: the server has closed the connection")
    return transport


def _load_host_keys(client: paramiko.SSHClient, path: str) -> None:
    """Know the servers that the file names, if it is there."""
    if not os.path.exists(path):
        return
    try:
        client.load_system_host_keys(path)
    except (OSError, UnicodeDecodeError, paramiko.hostkeys.InvalidHostKey) as error:
        reason = "it holds a line that is none of known_hosts" if not isinstance(error, OSError) else error.strerror
        raise BackendError(f"cannot read the known servers in {path}: {reason}; mend it", permanent=True) from error


def _typed(error: Exception, host: Host) -> BackendError:
    what = f"cannot connect to {host}"
    if isinstance(error, paramiko.BadHostKeyException):
        return BackendError(
            f"{what}: Host key verification failed: the server's key is not the one in known_hosts;"
            " somebody may be in between, or the server was set up anew",
            permanent=True,
        )
    if isinstance(error, paramiko.SSHException) and "known_hosts" in str(error):
        return BackendError(
            f"{what}: Host key verification failed: its key is not in known_hosts;"
            " compare the server's key and put it there, for instance with ssh-keyscan",
            permanent=True,
        )
    if isinstance(error, paramiko.AuthenticationException):
        return BackendError(
            f"{what}: Permission denied (publickey): {error}; give a key that the server knows by an agent, an"
            " IdentityFile in the ssh configuration, or -o sftp.args='-i KEY'",
            permanent=True,
        )
    if isinstance(error, FileNotFoundError | PermissionError):
        return BackendError(f"{what}: cannot run its ProxyCommand: {error.strerror}: {error.filename}", permanent=True)
    permanent = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return BackendError(f"{what}: {reason}", permanent=permanent)


def _configuration(given: str | None) -> paramiko.SSHConfig:
    """The file that is given, else the user's and the system's; the first to say something wins."""
    found = paramiko.SSHConfig()
    for path in [given] if given else [os.path.expanduser(USER_CONFIGURATION), SYSTEM_CONFIGURATION]:
        try:
            with open(path, encoding="utf-8") as file:
                found.parse(file)
        except FileNotFoundError as error:
            if given:
                raise UsageError(f"sftp.args: there is no ssh configuration {given!r}") from error
        except (OSError, UnicodeDecodeError, paramiko.ConfigParseError) as error:
            raise UsageError(f"cannot use the ssh configuration {path!r}: {error}") from error
    return found


def _host(configuration: paramiko.SSHConfig, given: Arguments, asked: ServerPath) -> Host:
    settings = configuration.lookup(asked.host)
    settings.update(given.settings)
    port = str(asked.port or settings.get("port", SSH_PORT))
    if not port.isdigit():
        raise UsageError(f"{port!r} is no port")
    user = asked.user or settings.get("user") or getpass.getuser()
    named = [os.path.expanduser(path) for path in [*given.identities, *settings.get("identityfile", [])]]
    identities = [path for path in named if os.path.exists(path)]  # as ssh: those that are not there do not matter
    return Host(str(settings.get("hostname", asked.host)), int(port), str(user), settings, identities)


def _jumps(target: Host) -> list[str]:
    jump = target.setting("proxyjump", "none")
    return [] if jump.lower() == "none" else jump.split(",")


def _jump_host(configuration: paramiko.SSHConfig, given: Arguments, step: str) -> Host:
    """Of `user@host:port`. What the arguments say about user, port and jumps is about the target alone."""
    user, _, address = step.strip().removeprefix("ssh://").rpartition("@")
    name, _, port = address.rpartition(":") if address.rpartition(":")[2].isdigit() else (address, "", "")
    own = {key: value for key, value in given.settings.items() if key not in {"user", "port", "proxyjump", "hostname"}}
    place = ServerPath(name.strip("[]"), "", user or None, int(port) if port else None)
    return _host(configuration, Arguments(given.file, own, given.identities), place)
