"""The access log in the combined format of Apache and nginx, as `--log` of rest-server writes it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from limpet.errors import UsageError

from limpet_command_serve.exchange import Exchange
from limpet_command_serve.plain import plain
from limpet_command_serve.policy import Policy

STANDARD_OUTPUT = "-"
MODE = 0o644
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class AccessLog(Policy):
    """Writes one line for each answer; the file is opened anew on SIGHUP. UsageError where it cannot be."""

    def __init__(self, path: str, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self._is_failing = False
        try:
            self._descriptor = self._opened()
        except OSError as error:
            raise UsageError(f"cannot write the log {path}: {error.strerror}") from error

    def answered(self, exchange: Exchange) -> None:
        try:
            os.write(self._descriptor, encode_line(exchange))
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                self._tell(f"cannot write the log {self._path}: {error.strerror}; the server goes on without it")
            self._is_failing = True

    def reload(self) -> None:
        if self._path == STANDARD_OUTPUT:
            return
        try:
            descriptor = self._opened()
        except OSError as error:
            self._tell(f"cannot open the log {self._path} again: {error.strerror}; the one of before goes on")
            return
        os.close(self._descriptor)
        self._descriptor = descriptor

    async def close(self) -> None:
        if self._path != STANDARD_OUTPUT:
            with suppress(OSError):
                os.close(self._descriptor)

    def _opened(self) -> int:
        if self._path == STANDARD_OUTPUT:
            return 1
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)


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
