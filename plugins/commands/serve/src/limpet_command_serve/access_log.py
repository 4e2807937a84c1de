"""The access log in the combined format of Apache and nginx, as `--log` of rest-server writes it."""

from __future__ import annotations

import time
from collections.abc import Callable

from limpet_command_serve.exchange import Exchange
from limpet_command_serve.line_log import LineLog
from limpet_command_serve.plain import plain
from limpet_command_serve.policy import Policy

MODE = 0o644
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class AccessLog(Policy):
    """Writes one line for each answer; the file is opened anew on SIGHUP. UsageError where it cannot be."""

    def __init__(self, path: str, tell: Callable[[str], None]) -> None:
        self._log = LineLog(path, tell, name="log", mode=MODE)

    def answered(self, exchange: Exchange) -> None:
        self._log.add_line(encode_line(exchange))

    def reload(self) -> None:
        self._log.reopen()

    async def close(self) -> None:
        self._log.close()


class RequestPrinter(Policy):
    """`--debug`: tells of each request when it comes."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    async def admit(self, exchange: Exchange) -> None:
        self._tell(f"{exchange.method} {exchange.path}")


def encode_line(exchange: Exchange) -> bytes:
    """One line, whatever a client sent; its quotes and backslashes have a backslash before them."""
    local = time.localtime(exchange.began_s)
    moment = f"{local.tm_mday:02d}/{_MONTHS[local.tm_mon - 1]}/{time.strftime('%Y:%H:%M:%S %z', local)}"
    request = f"{exchange.method} {_quoted(exchange.raw_target)} HTTP/{exchange.http_version}"
    referer, agent = (_quoted(exchange.headers.get(name, "")) for name in ("referer", "user-agent"))
    line = (
        f"{exchange.client or '-'} - {_quoted(exchange.user) or '-'} [{moment}] "
        f'"{request}" {exchange.status} {exchange.sent_bytes} "{referer}" "{agent}"\n'
    )
    return line.encode("utf-8", "backslashreplace")


def _quoted(text: str) -> str:
    return plain(text.replace("\\", "\\\\").replace('"', '\\"'))
