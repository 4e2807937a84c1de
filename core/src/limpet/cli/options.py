"""The options that every command takes, before or after its name, and where their defaults come from.

Each is declared once in `option_table`; `add_global_options` hangs them onto
the root group and onto every command that is loaded, and each occurrence lands in one `GlobalOptions`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from limpet.cli.option_table import COMPRESSION_WORDS, DECLARATIONS, Declared
from limpet.cli.parameters import DURATION
from limpet.errors import UsageError

if TYPE_CHECKING:
    from limpet.contracts.transport import Transport

MIN_PACK_SIZE_MIB = 4
MAX_PACK_SIZE_MIB = 128
DEFAULT_PACK_SIZE_MIB = 16
MAX_VERBOSITY = 3
SECRET_OPTIONS_VARIABLE = "LIMPET_SECRET_OPTIONS"
"""Options of plugins as one JSON object, by full name: how `limpet run` hands secret ones to its commands."""
_COMMA = re.compile(",")
_NEXT_OPTION = re.compile(r",(?=[\w-]+\.[\w-]+=)")
"""`-o a.b=1,c.d=2` are two options, as in restic; any other comma belongs to the value."""


@dataclass(slots=True)
class GlobalOptions:
    """What was given on the command line, on top of what the environment says."""

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
    hook: list[str] = field(default_factory=list)
    debug: bool = False
    invalid: dict[str, UsageError] = field(default_factory=dict)
    """What the environment says wrongly, by name: only an error where no flag says it better."""

    @classmethod
    def from_environment(cls) -> GlobalOptions:
        """The defaults of this process; variables that make no sense are kept in `invalid`."""
        options = cls()
        for name, declared in DECLARATIONS.items():
            try:
                value = declared.from_environment()
            except UsageError as error:
                options.invalid[name] = error
                continue
            if value is not None:
                setattr(options, name, value)
        return options

    def verify(self) -> None:
        """UsageError where anything that was given makes no sense, whether this command uses it or not."""
        for error in self.invalid.values():
            raise error
        _ = self.verbosity
        _ = self.pack_size_bytes
        self.extended()

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
        """What -o says, by full name; UsageError for a bad form and for a plugin that is not there.

        Options that must not show in the list of processes may come by $LIMPET_SECRET_OPTIONS instead.
        """
        secret = _secret_options()
        if not self.option:
            return secret
        from limpet import registry  # noqa: PLC0415  # brings stevedore

        return secret | registry.parse_options(self.option)

    def transport(self) -> Transport:
        """How backends are to talk to their servers; UsageError where a certificate cannot be used."""
        from limpet.contracts.transport import STUCK_REQUEST_TIMEOUT_S, Transport  # noqa: PLC0415  # with a backend

        if "" in self.cacert:
            raise UsageError("empty filename for root certificate supplied")
        if self.stuck_request_timeout < 0:
            raise UsageError("--stuck-request-timeout must not be negative")
        transport = Transport(
            root_certificates=tuple(self.cacert),
            client_certificate=self.tls_client_cert or None,
            verify_tls=not self.insecure_tls,
            user_agent=self.http_user_agent or None,
            stuck_request_timeout_s=self.stuck_request_timeout or STUCK_REQUEST_TIMEOUT_S,
        )
        if self.cacert or self.tls_client_cert:
            transport.ssl_context()  # as in restic a bad one is an error whatever the backend
        return transport


def _secret_options() -> dict[str, str]:
    """The options of $LIMPET_SECRET_OPTIONS; UsageError that names it and shows nothing of it."""
    text = os.environ.get(SECRET_OPTIONS_VARIABLE)
    if not text:
        return {}
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{SECRET_OPTIONS_VARIABLE} is no JSON") from error
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise UsageError(f"{SECRET_OPTIONS_VARIABLE} is no JSON object of texts")
    return given


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
        _click_option(name, declared) for name, declared in DECLARATIONS.items() if used.isdisjoint(declared.flags)
    )


def _click_option(name: str, declared: Declared) -> GlobalOption:
    settings_by_kind: Mapping[str, dict[str, Any]] = {
        "flag": {"is_flag": True, "default": False},
        "count": {"count": True},
        "list": {"multiple": True},
        "integer": {"type": click.IntRange(min=0)},
        "signed": {"type": click.INT},
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


def _recorder(name: str, declared: Declared) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that adds what was given to the one `GlobalOptions` of the run."""

    def record(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if ctx.get_parameter_source(f"global_{name}") is not ParameterSource.COMMANDLINE:
            return value
        options = ctx.find_root().obj.options
        options.invalid.pop(name, None)
        if declared.kind == "count":
            value += getattr(options, name)
        elif declared.kind == "list":
            # The first list on the command line replaces the environment's, later ones add to it.
            earlier = getattr(options, name) if f"limpet.{name}" in ctx.meta else []
            ctx.meta[f"limpet.{name}"] = True
            separator = _NEXT_OPTION if name == "option" else _COMMA
            value = [*earlier, *(part for text in value for part in separator.split(text))]
        setattr(options, name, value)
        return value

    return record
