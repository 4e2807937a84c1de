"""`PrometheusHook`: when runs ended and how, for alerts and graphs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from limpet.contracts.delivery import TIMEOUT, TRIES, deliver, verify_limits
from limpet.contracts.hooks import COMMANDS, ON_ERROR, Hook, RunInfo, RunResult, concerns, hookimpl
from limpet.contracts.options import Option, Options
from limpet.contracts.secret import given_secret, secret_options
from limpet.errors import HookError, UsageError

if TYPE_CHECKING:
    from limpet_hook_prometheus.gateway import Gateway

NAME = "prometheus"


class PrometheusHook(Hook):
    """Writes metrics of each run for node_exporter's textfile collector, or pushes them to a Pushgateway."""

    contract_version: ClassVar[int] = 1
    limits_its_time: ClassVar[bool] = True
    options: ClassVar[Sequence[Option]] = (
        Option(
            "textfile",
            "the folder of node_exporter's textfile collector",
            environment="LIMPET_PROMETHEUS_TEXTFILE",
        ),
        *secret_options(NAME, "push_url", "the address of a Pushgateway, with user and password if it wants them"),
        Option("job", "the job under which metrics are pushed", default="limpet"),
        TIMEOUT,
        TRIES,
        COMMANDS,
        Option(ON_ERROR.name, ON_ERROR.help, default="warn"),
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        verify_limits(NAME, options)
        self._textfile = Path(str(options["textfile"])) if options["textfile"] else None
        self._gateway = self._given_gateway()
        if self._textfile is None and self._gateway is None:
            raise UsageError("prometheus: say where metrics go: prometheus.textfile, or LIMPET_PROMETHEUS_PUSH_URL")
        if not options["job"]:
            raise UsageError("prometheus.job: a job without a name is none")

    @hookimpl(trylast=True)
    def limpet_run_ended(self, run: RunInfo, result: RunResult) -> None:
        """Write the file and push, the one whatever became of the other."""
        if not concerns(self.settings, run):
            return
        failures = []
        for tell in (self._write, self._push):
            try:
                tell(run, result)
            except HookError as error:
                failures.append(error)
        if failures:
            raise HookError("; ".join(map(str, failures))) from failures[0]

    def _given_gateway(self) -> Gateway | None:
        url = given_secret(NAME, "push_url", self.settings)
        if url is None:
            return None
        from limpet_hook_prometheus.gateway import gateway_at  # noqa: PLC0415  # the client takes 0.1 s to import

        return gateway_at(url)

    def _write(self, run: RunInfo, result: RunResult) -> None:
        if self._textfile is not None:
            from limpet_hook_prometheus.textfile import write_textfile  # noqa: PLC0415  # see above

            write_textfile(self._textfile, run, result)

    def _push(self, run: RunInfo, result: RunResult) -> None:
        gateway, timeout_s = self._gateway, float(self.settings[TIMEOUT.name] or 0)
        if gateway is not None:
            deliver(
                gateway.server,
                lambda: gateway.push(str(self.settings["job"]), run, result, timeout_s),
                self.settings,
            )
