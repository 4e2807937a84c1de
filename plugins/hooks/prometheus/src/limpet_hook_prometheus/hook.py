"""`PrometheusHook`: when runs ended and how, for alerts and graphs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from limpet.contracts.delivery import DELIVERY_OPTIONS, deliver, deliver_all, verify_limits
from limpet.contracts.hooks import Hook, RunInfo, RunResult, concerns, hookimpl
from limpet.contracts.options import Option, Options
from limpet.contracts.secret import given_secret, secret_options
from limpet.errors import UsageError

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
        *DELIVERY_OPTIONS,
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
        deliver_all([partial(self._write, run, result), partial(self._push, run, result)])

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
        if (gateway := self._gateway) is not None:
            deliver(gateway.server, partial(gateway.push, str(self.settings["job"]), run, result), self.settings)
