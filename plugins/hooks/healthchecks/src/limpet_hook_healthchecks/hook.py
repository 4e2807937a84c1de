"""`HealthchecksHook`: a check of healthchecks.io, or of a server of one's own, is told how each run goes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from limpet.contracts.delivery import DELIVERY_OPTIONS, deliver, verify_limits
from limpet.contracts.hooks import Hook, RunInfo, RunResult, concerns, hookimpl
from limpet.contracts.options import Option, Options
from limpet.contracts.run_report import report_lines, report_title
from limpet.contracts.secret import given_secret, secret_options
from limpet.errors import UsageError

from limpet_hook_healthchecks.address import PingAddress, ping_address, slug_address
from limpet_hook_healthchecks.pinging import ping

NAME = "healthchecks"
BASE = "https://hc-ping.com"
LOG_SIZE = 100_000
"""As much as healthchecks.io keeps of a message."""
_CUT = "\n\n(earlier lines are left out)\n"
_INCOMPLETE = 3


class HealthchecksHook(Hook):
    """Tells a healthchecks server when a run starts and how it ends, with the last lines of its log."""

    contract_version: ClassVar[int] = 1
    limits_its_time: ClassVar[bool] = True
    options: ClassVar[Sequence[Option]] = (
        *secret_options(NAME, "url", "the address of the check"),
        *secret_options(NAME, "ping_key", "the ping key of the check's project, instead of the address"),
        Option("slug", "with the ping key: the check's name in its project", environment="LIMPET_HEALTHCHECKS_SLUG"),
        Option("base", "with the ping key: the server", default=BASE, environment="LIMPET_HEALTHCHECKS_BASE"),
        Option("create", "with the ping key: make the check if there is none", type="boolean", default=False),
        Option("start", "also tell when a run starts", type="boolean", default=True),
        Option("exit_code", "tell the exit code, not only /fail", type="boolean", default=True),
        Option("incomplete", "what exit code 3, files that could not be read, is: `fail` or `success`", default="fail"),
        Option("log_size", "how long the message may be, with the log", type="size", default=LOG_SIZE),
        *DELIVERY_OPTIONS,
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._address = _address(options)
        if options["incomplete"] not in {"fail", "success"}:
            raise UsageError(f"healthchecks.incomplete: {options['incomplete']!r} is neither fail nor success")
        verify_limits(NAME, options)
        self._log_size = int(options["log_size"] or 0)

    @hookimpl(tryfirst=True)
    def limpet_run_started(self, run: RunInfo) -> None:
        """Ping `start`."""
        if self.settings["start"]:
            self._ping(run, "start", f"limpet {run.command} on {run.hostname}\nrepository: {run.location}\n")

    @hookimpl(trylast=True)
    def limpet_run_ended(self, run: RunInfo, result: RunResult) -> None:
        """Ping the outcome with the log."""
        code = result.exit_code
        if code == _INCOMPLETE and self.settings["incomplete"] == "success":
            code = 0
        signal = str(code & 0xFF) if self.settings["exit_code"] and code else "fail" if code else ""
        head = "\n".join([report_title(run, result), *report_lines(run, result)])
        room = self._log_size - len(head.encode(errors="replace")) - len(_CUT)
        self._ping(run, signal, f"{head}\n\n{_tail(result.log, room)}")

    def _ping(self, run: RunInfo, signal: str, body: str) -> None:
        if not concerns(self.settings, run):
            return
        parameters = {"rid": run.run_id} if run.run_id else {}
        if self.settings["create"]:
            parameters["create"] = "1"
        url = self._address.endpoint(signal, parameters)
        deliver(self._address.server, partial(ping, url, body.encode(errors="replace")), self.settings)


def _address(options: Options) -> PingAddress:
    url, ping_key = given_secret(NAME, "url", options), given_secret(NAME, "ping_key", options)
    slug = options.get("slug")
    if url is not None and ping_key is None and not slug:
        return ping_address(url)
    if url is None and ping_key is not None and slug:
        return slug_address(str(options["base"]), ping_key, str(slug))
    raise UsageError(
        "healthchecks: say which check: its address in LIMPET_HEALTHCHECKS_URL (or healthchecks.url_file),"
        " or the ping key of its project in LIMPET_HEALTHCHECKS_PING_KEY and its name with healthchecks.slug"
    )


def _tail(lines: Sequence[str], size_bytes: int) -> str:
    """The last lines that fit."""
    kept: list[str] = []
    for line in reversed(lines):
        size_bytes -= len(line.encode(errors="replace")) + 1
        if size_bytes < 0:
            kept.append(_CUT.strip())
            break
        kept.append(line)
    return "".join(f"{line}\n" for line in reversed(kept))
