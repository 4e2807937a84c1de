"""The options that every command takes, before or after its name, and where their defaults come from.

Names and meaning are restic's. Each is declared once in `_DECLARATIONS`; `add_global_options` hangs them onto
the root group and onto every command that is loaded, and each occurrence lands in one `GlobalOptions`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import click
from click.core import ParameterSource

from limpet.cli.environment import environment, is_true, variable_in_use
from limpet.cli.parameters import DURATION, parse_duration
from limpet.errors import UsageError

COMPRESSION_WORDS = ("auto", "off", "fastest", "better", "max")
MIN_PACK_SIZE_MIB = 4
MAX_PACK_SIZE_MIB = 128
DEFAULT_PACK_SIZE_MIB = 16
MAX_VERBOSITY = 3


@dataclass(slots=True)
class GlobalOptions:
    """What was given on the command line, filled up from the environment by `from_environment`."""

    repo: str | None = None
    repository_file: str | None = None
    password_file: str | None = None
    password_command: str | None = None
    insecure_no_password: bool = False
    key_hint: str | None = None
    quiet: bool = False
    verbose: int = 0
    no_lock: bool = False
    retry_lock: float = 0.0
    json: bool = False
    cache_dir: str | None = None
    no_cache: bool = False
    cleanup_cache: bool = False
    compression: str = "auto"
    pack_size: int = 0
    no_extra_verify: bool = False
    limit_upload: int = 0
    limit_download: int = 0
    option: list[str] = field(default_factory=list)
    cacert: list[str] = field(default_factory=list)
    tls_client_cert: str | None = None
    insecure_tls: bool = False
    http_user_agent: str | None = None
    stuck_request_timeout: float = 300.0
    debug: bool = False

    @classmethod
    def from_environment(cls) -> GlobalOptions:
        """The defaults of this process; UsageError where a variable makes no sense."""
        options = cls()
        for name, declared in _DECLARATIONS.items():
            text = environment(declared.variable) if declared.variable else None
            if text is not None:
                setattr(options, name, declared.parse(text))
        return options

    @property
    def verbosity(self) -> int:
        """0 with --quiet, 1 normally, 2 with -v, 3 with -vv; UsageError for -q together with -v."""
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose cannot be specified at the same time")
        return 0 if self.quiet else min(1 + self.verbose, MAX_VERBOSITY)

    @property
    def pack_size_bytes(self) -> int:
        """The target size of packs; UsageError outside restic's limits."""
        mebibytes = self.pack_size or DEFAULT_PACK_SIZE_MIB
        if not MIN_PACK_SIZE_MIB <= mebibytes <= MAX_PACK_SIZE_MIB:
            raise UsageError(
                f"pack size {mebibytes} MiB is out of range: it must be between {MIN_PACK_SIZE_MIB} and "
                f"{MAX_PACK_SIZE_MIB} MiB"
            )
        return mebibytes << 20

    def extended(self) -> dict[str, str]:
        """What -o says, by full name; UsageError for a bad form and for a plugin that is not there."""
        if not self.option:
            return {}
        from limpet import registry  # noqa: PLC0415  # brings stevedore

        return registry.parse_options(self.option)

    def for_backend(self, scheme: str, declared: Collection[str]) -> dict[str, str]:
        """What -o says, and below the backend's own name those transport flags that it declares as options.

        A backend that speaks TLS or HTTP declares `cacert`, `tls_client_cert`, `insecure_tls`, `http_user_agent` or
        `stuck_request_timeout`; for any other the flags mean nothing, as in restic. -o comes first.
        """
        flags = {
            "cacert": ",".join(self.cacert),
            "tls_client_cert": self.tls_client_cert,
            "insecure_tls": "true" if self.insecure_tls else None,
            "http_user_agent": self.http_user_agent,
            "stuck_request_timeout": f"{self.stuck_request_timeout:g}s",
        }
        return {f"{scheme}.{name}": text for name, text in flags.items() if text and name in declared} | self.extended()


@dataclass(frozen=True, slots=True)
class _Declared:
    """One global option: its flags, what it does, and the environment variable without its prefix."""

    flags: Sequence[str]
    help: str
    kind: Literal["text", "flag", "count", "list", "integer", "duration", "choice"] = "text"
    metavar: str | None = None
    variable: str | None = None

    def parse(self, text: str) -> Any:
        """The value of the environment variable's text; UsageError naming the variable."""
        try:
            if self.kind == "flag":
                return is_true(text)
            if self.kind == "integer":
                return _natural(text)
            if self.kind == "duration":
                return parse_duration(text)
        except ValueError as error:
            raise UsageError(self._refusal(text, str(error))) from error
        if self.kind == "list":
            return text.split(",")
        if self.kind == "choice" and text not in COMPRESSION_WORDS:
            raise UsageError(self._refusal(text, f"must be one of ({'|'.join(COMPRESSION_WORDS)})"))
        return text

    def _refusal(self, text: str, reason: str) -> str:
        return f'invalid value for {variable_in_use(self.variable or "")} "{text}": {reason}'


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not a number from 0 on")
    return int(text)


_DECLARATIONS: Mapping[str, _Declared] = {
    "repo": _Declared(
        ["-r", "--repo"], "repository to backup to or restore from", metavar="repository", variable="REPOSITORY"
    ),
    "repository_file": _Declared(
        ["--repository-file"], "file to read the repository location from", metavar="file", variable="REPOSITORY_FILE"
    ),
    "password_file": _Declared(
        ["-p", "--password-file"],
        "file to read the repository password from",
        metavar="file",
        variable="PASSWORD_FILE",
    ),
    "password_command": _Declared(
        ["--password-command"],
        "shell command to obtain the repository password from",
        metavar="command",
        variable="PASSWORD_COMMAND",
    ),
    "insecure_no_password": _Declared(
        ["--insecure-no-password"],
        "use an empty password for the repository, must be passed to every command (insecure)",
        "flag",
    ),
    "key_hint": _Declared(["--key-hint"], "key ID of key to try decrypting first", metavar="key", variable="KEY_HINT"),
    "quiet": _Declared(["-q", "--quiet"], "do not output comprehensive progress report", "flag"),
    "verbose": _Declared(
        ["-v", "--verbose"],
        "be verbose (specify multiple times or a level using --verbose=n, max level/times is 2)",
        "count",
    ),
    "no_lock": _Declared(
        ["--no-lock"],
        "do not lock the repository, this allows some operations on read-only repositories",
        "flag",
    ),
    "retry_lock": _Declared(
        ["--retry-lock"],
        "retry to lock the repository if it is already locked, takes a value like 5m or 2h (default: no retries)",
        "duration",
        metavar="duration",
    ),
    "json": _Declared(["--json"], "set output mode to JSON for commands that support it", "flag"),
    "cache_dir": _Declared(
        ["--cache-dir"],
        "set the cache directory (default: the system's cache directory)",
        metavar="directory",
        variable="CACHE_DIR",
    ),
    "no_cache": _Declared(["--no-cache"], "do not use a local cache", "flag"),
    "cleanup_cache": _Declared(["--cleanup-cache"], "auto remove old cache directories", "flag"),
    "compression": _Declared(
        ["--compression"],
        "compression mode (only available for repository format version 2), one of (auto|off|fastest|better|max)",
        "choice",
        metavar="mode",
        variable="COMPRESSION",
    ),
    "pack_size": _Declared(
        ["--pack-size"],
        "set target pack size in MiB, created pack files may be larger",
        "integer",
        metavar="size",
        variable="PACK_SIZE",
    ),
    "no_extra_verify": _Declared(
        ["--no-extra-verify"], "skip additional verification of data before upload (see documentation)", "flag"
    ),
    "limit_upload": _Declared(
        ["--limit-upload"], "limits uploads to a maximum rate in KiB/s (default: unlimited)", "integer", metavar="rate"
    ),
    "limit_download": _Declared(
        ["--limit-download"],
        "limits downloads to a maximum rate in KiB/s (default: unlimited)",
        "integer",
        metavar="rate",
    ),
    "option": _Declared(
        ["-o", "--option"],
        "set extended option (key=value, can be specified multiple times)",
        "list",
        metavar="key=value",
    ),
    "cacert": _Declared(
        ["--cacert"],
        "file to load root certificates from (default: the system's certificates)",
        "list",
        metavar="file",
        variable="CACERT",
    ),
    "tls_client_cert": _Declared(
        ["--tls-client-cert"],
        "path to a file containing PEM encoded TLS client certificate and private key",
        metavar="file",
        variable="TLS_CLIENT_CERT",
    ),
    "insecure_tls": _Declared(
        ["--insecure-tls"], "skip TLS certificate verification when connecting to the repository (insecure)", "flag"
    ),
    "http_user_agent": _Declared(
        ["--http-user-agent"],
        "set a http user agent for outgoing http requests",
        metavar="string",
        variable="HTTP_USER_AGENT",
    ),
    "stuck_request_timeout": _Declared(
        ["--stuck-request-timeout"],
        "duration after which to retry stuck requests (default: 5m)",
        "duration",
        metavar="duration",
    ),
    "debug": _Declared(["--debug"], "show the traceback of an error", "flag", variable="DEBUG"),
}


class GlobalOption(click.Option):
    """An option of every command; only the root group shows it in its help."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        return None

    def help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The flags and the explanation, for the root group's help."""
        return super().get_help_record(ctx)


def add_global_options(command: click.Command) -> None:
    """Give the command every global option whose flags it does not use itself. Idempotent."""
    used = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    command.params.extend(
        _click_option(name, declared) for name, declared in _DECLARATIONS.items() if used.isdisjoint(declared.flags)
    )


def _click_option(name: str, declared: _Declared) -> GlobalOption:
    settings_by_kind: Mapping[str, dict[str, Any]] = {
        "flag": {"is_flag": True, "default": False},
        "count": {"count": True},
        "list": {"multiple": True},
        "integer": {"type": click.IntRange(min=0)},
        "duration": {"type": DURATION},
        "choice": {"type": click.Choice(COMPRESSION_WORDS)},
    }
    settings = settings_by_kind.get(declared.kind, {})
    text = declared.help
    if declared.variable:
        text += f" (default: $LIMPET_{declared.variable} or $RESTIC_{declared.variable})"
    return GlobalOption(
        [*declared.flags, f"global_{name}"],
        help=text,
        metavar=declared.metavar,
        expose_value=False,
        callback=_recorder(name, declared),
        **settings,
    )


def _recorder(name: str, declared: _Declared) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that adds what was given to the one `GlobalOptions` of the run."""

    def record(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if ctx.get_parameter_source(f"global_{name}") is not ParameterSource.COMMANDLINE:
            return value
        options = ctx.find_root().obj.options
        if declared.kind == "count":
            value += getattr(options, name)
        elif declared.kind == "list":
            # The first list on the command line replaces the environment's, later ones add to it.
            earlier = getattr(options, name) if f"limpet.{name}" in ctx.meta else []
            ctx.meta[f"limpet.{name}"] = True
            value = [*earlier, *value] if name == "option" else [*earlier, *",".join(value).split(",")]
        setattr(options, name, value)
        return value

    return record
