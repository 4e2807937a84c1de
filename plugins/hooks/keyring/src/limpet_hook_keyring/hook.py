"""`KeyringHook`: the repository's password, kept where the user keeps the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from limpet.contracts.hooks import Hook, hookimpl
from limpet.contracts.options import Option, Options
from limpet.contracts.secret import command_words
from limpet.errors import HookError, UsageError

from limpet_hook_keyring.store_command import printed_password

SERVICE = "limpet"


class KeyringHook(Hook):
    """Takes the repository's password from the system's keyring, or from the command of a secret store."""

    contract_version: ClassVar[int] = 1
    limits_its_time: ClassVar[bool] = True
    options: ClassVar[Sequence[Option]] = (
        Option("service", "the keyring's name for what the password is for", default=SERVICE),
        Option(
            "entry",
            "the name of the password; without it, the repository's location",
            environment="LIMPET_KEYRING_ENTRY",
        ),
        Option(
            "command",
            "command that prints the password, instead of the keyring: `pass show backup/{entry}`",
            environment="LIMPET_KEYRING_COMMAND",
        ),
        Option("timeout", "how long to wait for it, and for who has to unlock it", type="duration", default=60.0),
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        timeout_s = options["timeout"]
        if not isinstance(timeout_s, int | float) or timeout_s <= 0:
            raise UsageError(f"keyring.timeout must be longer than nothing, not {timeout_s!r}")
        self._timeout_s = float(timeout_s)
        self._service = str(options["service"] or SERVICE)
        self._command = command_words("keyring.command", str(options["command"])) if options["command"] else None

    @hookimpl
    def limpet_password(self, location: str) -> str:
        """The password; an error where there is none, for this hook was named to give it."""
        entry = str(self.settings["entry"] or location)
        if self._command is not None:
            password = printed_password(self._command, self._service, entry, self._timeout_s)
            if password is None:
                raise HookError(f"{self._command[0]} printed no password for {entry}")
            return password
        from limpet_hook_keyring.system_keyring import keyring_password  # noqa: PLC0415  # takes 0.1 s to import

        password = keyring_password(self._service, entry, self._timeout_s)
        if not password:
            raise HookError(
                f"the keyring has no password for {entry}; store it with `keyring set {self._service} '{entry}'`,"
                " or give the password in another way"
            )
        return password
