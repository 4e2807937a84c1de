"""The global options as data: flags, help, kind of value and environment variable. Names and meaning are restic's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from limpet.cli.environment import environment_value, parse_natural, parse_switch
from limpet.cli.parameters import parse_duration

COMPRESSION_WORDS = ("auto", "off", "fastest", "better", "max")


@dataclass(frozen=True, slots=True)
class Declared:
    """One global option: its flags, what it does, and the environment variable without its prefix."""

    flags: Sequence[str]
    help: str
    kind: Literal["text", "flag", "count", "list", "integer", "signed", "duration", "choice"] = "text"
    metavar: str | None = None
    variable: str | None = None

    def from_environment(self) -> Any:
        """The value of the environment variable, None without one; UsageError naming the variable."""
        return environment_value(self.variable, self._parse) if self.variable else None

    def _parse(self, text: str) -> Any:
        if self.kind == "flag":
            return parse_switch(text)
        if self.kind == "integer":
            return parse_natural(text)
        if self.kind == "duration":
            return parse_duration(text)
        if self.kind == "list":
            return text.split(",")
        if self.kind == "choice" and text not in COMPRESSION_WORDS:
            raise ValueError(f"must be one of ({'|'.join(COMPRESSION_WORDS)})")
        return text


DECLARATIONS: Mapping[str, Declared] = {
    "repo": Declared(
        ["-r", "--repo"], "repository to backup to or restore from", metavar="repository", variable="REPOSITORY"
    ),
    "repository_file": Declared(
        ["--repository-file"], "file to read the repository location from", metavar="file", variable="REPOSITORY_FILE"
    ),
    "password_file": Declared(
        ["-p", "--password-file"],
        "file to read the repository password from",
        metavar="file",
        variable="PASSWORD_FILE",
    ),
    "password_command": Declared(
        ["--password-command"],
        "shell command to obtain the repository password from",
        metavar="command",
        variable="PASSWORD_COMMAND",
    ),
    "insecure_no_password": Declared(
        ["--insecure-no-password"],
        "use an empty password for the repository, must be passed to every command (insecure)",
        "flag",
    ),
    "key_hint": Declared(["--key-hint"], "key ID of key to try decrypting first", metavar="key", variable="KEY_HINT"),
    "quiet": Declared(["-q", "--quiet"], "do not output comprehensive progress report", "flag"),
    "verbose": Declared(
        ["-v", "--verbose"],
        "be verbose (specify multiple times or a level using --verbose=n, max level/times is 2)",
        "count",
    ),
    "no_lock": Declared(
        ["--no-lock"],
        "do not lock the repository, this allows some operations on read-only repositories",
        "flag",
    ),
    "retry_lock": Declared(
        ["--retry-lock"],
        "retry to lock the repository if it is already locked, takes a value like 5m or 2h (default: no retries)",
        "duration",
        metavar="duration",
    ),
    "json": Declared(["--json"], "set output mode to JSON for commands that support it", "flag"),
    "cache_dir": Declared(
        ["--cache-dir"],
        "set the cache directory (default: the system's cache directory)",
        metavar="directory",
        variable="CACHE_DIR",
    ),
    "no_cache": Declared(["--no-cache"], "do not use a local cache", "flag"),
    "cleanup_cache": Declared(["--cleanup-cache"], "auto remove old cache directories", "flag"),
    "compression": Declared(
        ["--compression"],
        "compression mode (only available for repository format version 2), one of (auto|off|fastest|better|max)",
        "choice",
        metavar="mode",
        variable="COMPRESSION",
    ),
    "pack_size": Declared(
        ["--pack-size"],
        "set target pack size in MiB, created pack files may be larger",
        "integer",
        metavar="size",
        variable="PACK_SIZE",
    ),
    "no_extra_verify": Declared(
        ["--no-extra-verify"], "skip additional verification of data before upload (see documentation)", "flag"
    ),
    "limit_upload": Declared(
        ["--limit-upload"], "limits uploads to a maximum rate in KiB/s (default: unlimited)", "signed", metavar="rate"
    ),
    "limit_download": Declared(
        ["--limit-download"],
        "limits downloads to a maximum rate in KiB/s (default: unlimited)",
        "signed",
        metavar="rate",
    ),
    "option": Declared(
        ["-o", "--option"],
        "set extended option (key=value, can be specified multiple times)",
        "list",
        metavar="key=value",
    ),
    "cacert": Declared(
        ["--cacert"],
        "file to load root certificates from (default: the system's certificates)",
        "list",
        metavar="file",
        variable="CACERT",
    ),
    "tls_client_cert": Declared(
        ["--tls-client-cert"],
        "path to a file containing PEM encoded TLS client certificate and private key",
        metavar="file",
        variable="TLS_CLIENT_CERT",
    ),
    "insecure_tls": Declared(
        ["--insecure-tls"], "skip TLS certificate verification when connecting to the repository (insecure)", "flag"
    ),
    "http_user_agent": Declared(
        ["--http-user-agent"],
        "set a http user agent for outgoing http requests",
        metavar="string",
        variable="HTTP_USER_AGENT",
    ),
    "stuck_request_timeout": Declared(
        ["--stuck-request-timeout"],
        "duration after which to retry stuck requests (default: 5m)",
        "duration",
        metavar="duration",
    ),
    "hook": Declared(
        ["--hook"],
        "call the hook plugin of this name (can be specified multiple times) (default: $LIMPET_HOOKS)",
        "list",
        metavar="name",
    ),
    "debug": Declared(["--debug"], "show the traceback of an error", "flag", variable="DEBUG"),
}
