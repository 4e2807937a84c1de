"""A password out of the system's keyring: GNOME's, KDE's, macOS's, Windows's, or another that `keyring` reaches."""

from __future__ import annotations

import keyring
from keyring.errors import KeyringError, KeyringLocked, NoKeyringError
from limpet.contracts.time_limit import within
from limpet.errors import HookError


def keyring_password(service: str, entry: str, timeout_s: float) -> str | None:
    """The password stored for the entry; None where there is none. HookError where the keyring cannot be asked.

    A keyring that is locked may ask somebody to unlock it; it is given up after the time limit.
    """
    try:
        return within(timeout_s, lambda: keyring.get_password(service, entry))
    except TimeoutError:
        raise HookError(
            f"the keyring gave no answer within {timeout_s:g} s; it may wait for somebody to unlock it"
        ) from None
    except KeyringLocked as error:
        raise HookError("the keyring is locked, and was not unlocked; unlock it, then run this again") from error
    except NoKeyringError as error:
        raise HookError(
            "there is no keyring here: no service of the desktop's session can be reached (as in cron, without"
            " DBUS_SESSION_BUS_ADDRESS), and no other is configured; `keyring diagnose` shows where that is done"
        ) from error
    except KeyringError as error:
        raise HookError(f"the keyring cannot be read: {_line(error)}") from error
    except Exception as error:  # The libraries behind it have their own.
        raise HookError(f"the keyring cannot be read: {type(error).__name__}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
