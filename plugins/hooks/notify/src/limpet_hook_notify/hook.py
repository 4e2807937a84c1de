"""`NotifyHook`: a message to people when a run failed, or whenever they want one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from limpet.contracts.delivery import DELIVERY_OPTIONS, TIMEOUT, deliver, deliver_all, verify_limits
from limpet.contracts.hooks import Hook, RunInfo, RunResult, concerns, hookimpl
from limpet.contracts.options import Option, Options
from limpet.contracts.run_report import outcome
from limpet.contracts.secret import given_secret, secret_options
from limpet.errors import UsageError

from limpet_hook_notify.message import FIELDS, body, title, verify_title

if TYPE_CHECKING:
    from limpet_hook_notify.recipients import Recipient

NAME = "notify"
OUTCOMES = frozenset({"failure", "warning", "success"})


class NotifyHook(Hook):
    """Sends messages about how runs ended by e-mail, to chats and telephones: all that Apprise reaches."""

    contract_version: ClassVar[int] = 1
    limits_its_time: ClassVar[bool] = True
    options: ClassVar[Sequence[Option]] = (
        *secret_options(NAME, "urls", "the addresses in Apprise's notation, white space between them"),
        Option(
            "when",
            "which runs: failure, warning, success, commas between, or always",
            default="failure,warning",
            environment="LIMPET_NOTIFY_WHEN",
        ),
        Option("title", f"another title; may hold {', '.join(f'{{{name}}}' for name in FIELDS)}"),
        Option("log_lines", "how many of the run's last lines are sent", type="integer", default=20),
        Option(TIMEOUT.name, TIMEOUT.help, type=TIMEOUT.type, default=15.0),
        *(option for option in DELIVERY_OPTIONS if option is not TIMEOUT),
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        verify_limits(NAME, options)
        self._when = _outcomes(str(options["when"] or ""))
        verify_title(str(options["title"] or ""))
        self._recipients = self._given_recipients()

    @hookimpl(trylast=True)
    def limpet_run_ended(self, run: RunInfo, result: RunResult) -> None:
        """Send a message to each recipient if the run's outcome is one of those wanted."""
        if outcome(result) not in self._when or not concerns(self.settings, run):
            return
        deliver_all(partial(self._send, recipient, run, result) for recipient in self._recipients)

    def _send(self, recipient: Recipient, run: RunInfo, result: RunResult) -> None:
        heading = title(str(self.settings["title"] or ""), run, result)
        text = body(run, result, int(self.settings["log_lines"] or 0))
        deliver(recipient.name, partial(recipient.send, outcome(result), heading, text), self.settings)

    def _given_recipients(self) -> Sequence[Recipient]:
        urls = given_secret(NAME, "urls", self.settings)
        if urls is None:
            raise UsageError(
                "notify: say to whom: the addresses in LIMPET_NOTIFY_URLS, or in a file (notify.urls_file)"
            )
        # Now and not when there is something to tell: a wrong address would be found out on the day of need.
        from limpet_hook_notify.recipients import parse_recipients  # noqa: PLC0415  # Apprise takes half a second

        return parse_recipients(urls)


def _outcomes(text: str) -> frozenset[str]:
    words = {word.strip() for word in text.split(",")} - {""}
    if not words or words - OUTCOMES - {"always"}:
        raise UsageError(f"notify.when: {text!r} is none of failure, warning, success (commas between) and always")
    return OUTCOMES if "always" in words else frozenset(words)
