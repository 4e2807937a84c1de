"""A message of a hook to a server: tried a few times, never for long, and told plainly where it did not arrive.

Addresses that a message goes to are often secrets: errors name the server and the reason alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from limpet.contracts.hooks import COMMANDS, ON_ERROR
from limpet.contracts.options import Option, Options
from limpet.contracts.time_limit import within
from limpet.errors import HookError, UsageError

PAUSE_S = 0.5
"""Before the second try; twice as long before each one after it."""
SHORTEST_S = 0.1
_WORTH_ANOTHER_TRY = frozenset({408, 429, *range(500, 600)})

TIMEOUT = Option("timeout", "how long one try may take", type="duration", default=5.0)
TRIES = Option("tries", "how often it is tried", type="integer", default=3)
DELIVERY_OPTIONS = (TIMEOUT, TRIES, COMMANDS, Option(ON_ERROR.name, ON_ERROR.help, default="warn"))
"""Options of every hook that delivers something, as `deliver` and `concerns` read them: a run is not worth less
because nobody hears of it."""


class DeliveryError(Exception):
    """A try that failed; `is_final` where another one would, too."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


def verify_limits(plugin: str, options: Options) -> None:
    """UsageError where the plugin's TIMEOUT or TRIES make no sense."""
    for option, least in ((TIMEOUT, SHORTEST_S), (TRIES, 1)):
        value = options[option.name]
        if not isinstance(value, int | float) or value < least:
            raise UsageError(f"{plugin}.{option.name} must be {least:g} at least, not {value!r}")


def deliver(server: str, attempt: Callable[[float], object], options: Options) -> None:
    """Call `attempt` until it succeeds, TRIES times at most and each time for TIMEOUT; HookError if it never does.

    It is told the seconds that it may take, and raises DeliveryError or what urllib raises. What of it hangs (a look-up
    of a name, an answer without an end) is left behind in its thread.
    """
    timeout_s, tries = float(options[TIMEOUT.name] or 0), int(options[TRIES.name] or 0)
    for number in range(tries):
        if number:
            time.sleep(PAUSE_S * 2 ** (number - 1))
        try:
            within(timeout_s, lambda: attempt(timeout_s))
        except (DeliveryError, OSError, HTTPException) as error:
            failure = _failure(error)
        else:
            return
        if failure.is_final:
            break
    # Not `from failure`: a traceback of what libraries raise would show the address.
    raise HookError(f"{server} was not told: {failure}") from None


def deliver_all(deliveries: Iterable[Callable[[], object]]) -> None:
    """Call each, whatever became of the others; HookError that tells of all that failed."""
    failures: list[HookError] = []
    for delivery in deliveries:
        try:
            delivery()
        except HookError as error:
            failures.append(error)
    if failures:
        raise HookError("; ".join(map(str, failures))) from failures[0]


def _failure(error: Exception) -> DeliveryError:
    match error:
        case DeliveryError():
            return error
        case HTTPError():
            error.close()
            is_final = error.code not in _WORTH_ANOTHER_TRY
            return DeliveryError(f"it answered {error.code} {error.reason}".rstrip(), is_final=is_final)
        case URLError():
            return DeliveryError(_words(error.reason))
    return DeliveryError(_words(error))


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError):
        return reason.strerror or type(reason).__name__
    # The text of others may hold the address.
    return reason if isinstance(reason, str) else type(reason).__name__
