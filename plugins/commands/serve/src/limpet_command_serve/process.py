"""The process that serves: everything from its settings to its end. Imports little, for it stays for months."""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from limpet.errors import LimpetError

from limpet_command_serve.plain import plain
from limpet_command_serve.settings import Settings

if TYPE_CHECKING:
    from limpet_command_serve.policy import Policy

MOST_DESCRIPTORS = 1 << 20


def serve(settings: Settings) -> int:
    """Serve until a signal ends it: the exit code. Whatever cannot be is told in one line."""
    try:
        settings.verify_sense()
        _import_asyncio(settings)
        _serve(settings)
    except LimpetError as error:
        tell(f"Fatal: {error}")
        return error.exit_code
    return 0


def tell(line: str) -> None:
    """One line on standard error. Nobody may be there to read it, or nobody who reads on: then it is lost."""
    data = plain(line).encode("utf-8", "backslashreplace")[: select.PIPE_BUF - 1] + b"\n"
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:  # Then a pipe takes PIPE_BUF bytes without a wait.
            os.write(2, data)


def _serve(settings: Settings) -> None:
    import asyncio  # noqa: PLC0415  # see `_import_asyncio`

    from limpet_command_serve.assembly import assemble  # noqa: PLC0415  # they use asyncio
    from limpet_command_serve.listening import close_listener, open_listener, shown  # noqa: PLC0415
    from limpet_command_serve.server import Server  # noqa: PLC0415
    from limpet_command_serve.waiting import Sockets  # noqa: PLC0415

    _allow_descriptors()
    tell(f"Data directory: {settings.path}" if settings.backend is None else f"Storage: {_shown(settings.backend)}")
    parts = assemble(settings, tell)
    store, policies = parts.store, [*_logs(settings), *parts.policies]
    try:
        tls = None
        if settings.tls:
            from limpet_command_serve.tls import Certificate  # noqa: PLC0415  # 4 MB

            certificate = Certificate(settings, tell)
            policies.append(certificate)
            tls = certificate.context
        left = store.sweep()
        if left:
            tell(f"removed {left} uploads that never ended")
        sockets = Sockets()
        server = Server(settings, store, policies, tell, sockets, tls=tls)
        listener = open_listener(settings.listen)
        try:
            tell(f"start server on {shown(listener)}")
            gc.collect()
            gc.freeze()
            # Else asyncio has a handler of its own until the server's; to replace that brings 0.4 MB of `inspect`.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(sockets)) as runner:
                runner.run(server.run(listener))
        finally:
            close_listener(listener)
    finally:
        store.close()
    tell("shutdown cleanly")


def _logs(settings: Settings) -> Iterator[Policy]:
    if settings.log or settings.debug:
        from limpet_command_serve.access_log import AccessLog, RequestPrinter  # noqa: PLC0415  # hardly anybody's

        if settings.debug:
            yield RequestPrinter(tell)
        if settings.log:
            yield AccessLog(settings.log, tell)


def _shown(location: str) -> str:
    from limpet import registry  # noqa: PLC0415  # folders need none

    return registry.redact(location)


def _import_asyncio(settings: Settings) -> None:
    """Without TLS nothing needs OpenSSL, which asyncio imports where it finds it: 4 MB of memory."""
    if settings.tls or settings.backend is not None or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # this is how an import is made to fail
    try:
        import asyncio  # noqa: F401, PLC0415
    finally:
        del sys.modules["ssl"]


def _allow_descriptors() -> None:
    """Each connection takes one; the limit that a shell sets is for programs with fewer."""
    import resource  # noqa: PLC0415  # used once

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else most
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
