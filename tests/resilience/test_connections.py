"""Thousands of requests over as many TCP connections as are configured, counted at the server's side."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from limpet import registry
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.errors import BackendError, MissingFileError
from limpet.testing.backend import save_all, some_bytes

from tests.resilience.stores import STORES, Store
from tests.services.fault_proxy import CUT_BODY, FaultProxy, status
from tests.services.tcp_count import CountingProxy

REQUESTS = 5_000
END_LIMIT_S = 20.0


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, closing: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A server with an empty repository."""
    made = STORES[request.param](tmp_path / "server")
    closing.callback(made.close)
    made.create()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.mark.parametrize("connections", [None, 2])
def test_few_connections_for_many_requests(store: Store, closing: ExitStack, connections: int | None) -> None:
    """A connection for each request uses up the ports of a machine within minutes (restic issue 985)."""
    proxy = closing.enter_context(CountingProxy(store.port))
    threads = _threads()
    backend = _open(store, proxy.port, connections)
    allowed = backend.properties.connections
    assert connections in {None, allowed}
    data = some_bytes(10_000)
    (handle,) = save_all(backend, FileKind.PACK, [data])
    missing = Handle(FileKind.PACK, "0" * 64)

    def ask(number: int) -> None:
        if number % 50 == 0:
            save_all(backend, FileKind.INDEX, [b"%d" % number])
        elif number % 10 == 1:
            with pytest.raises(MissingFileError):
                backend.load(missing, 0, 10)
        elif number % 10 == 2:
            with pytest.raises(BackendError):
                backend.load(handle, 9_999, 10)
        elif number % 10 == 3:
            assert backend.load(handle, number, 100) == data[number : number + 100]
        elif number % 100 == 4:
            assert [info.name for info in backend.list(FileKind.PACK)] == [handle.name]
        else:
            assert backend.stat(handle).size_bytes == 10_000

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(REQUESTS if connections is None else REQUESTS // 10)))
    assert proxy.accepted <= allowed
    assert proxy.open_now <= allowed
    backend.close()
    _assert_all_ended(proxy, threads)


def test_answers_with_errors_are_read_to_their_end(store: Store, closing: ExitStack) -> None:
    """A body that nobody reads makes its connection useless: an hour of 503 would use up the ports."""
    proxy = closing.enter_context(FaultProxy(store.port))
    threads = _threads()
    backend = _open(store, proxy.port)
    (handle,) = save_all(backend, FileKind.PACK, [some_bytes(10_000)])
    plan = proxy.inject(status(500), status(503), status(403), status(429), every=2)

    def ask(number: int) -> bool:
        try:
            backend.load(handle, number, 100)
            list(backend.list(FileKind.PACK))
        except BackendError:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        succeeded = sum(pool.map(ask, range(300)))
    assert plan.happened >= 100
    assert succeeded
    assert proxy.accepted <= backend.properties.connections
    backend.close()
    _assert_all_ended(proxy, threads)


def test_broken_connections_are_replaced_one_for_one(store: Store, closing: ExitStack) -> None:
    """Half a body leaves a connection that nobody can use: it is ended, not kept open beside the next one."""
    proxy = closing.enter_context(FaultProxy(store.port))
    threads = _threads()
    backend = _open(store, proxy.port)
    data = some_bytes(10_000)
    (handle,) = save_all(backend, FileKind.PACK, [data])
    plan = proxy.inject(CUT_BODY, every=3)

    def ask(number: int) -> None:
        try:
            assert backend.load(handle, number, 5_000) == data[number : number + 5_000]
        except BackendError as error:
            transient.append(not error.permanent)

    transient: list[bool] = []
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(300)))
    assert all(transient)
    assert len(transient) == plan.happened >= 50
    # A moment may pass until the proxy has seen the end of a connection that was already replaced.
    assert proxy.most_open <= 2 * backend.properties.connections
    backend.close()
    _assert_all_ended(proxy, threads)


def _open(store: Store, port: int, connections: int | None = None) -> Backend:
    location = store.location(port)
    scheme = location.partition(":")[0]
    return registry.open_backend(location, {} if connections is None else {f"{scheme}.connections": str(connections)})


def _threads() -> set[threading.Thread]:
    """All but those of proxies."""
    return {thread for thread in threading.enumerate() if "Proxy" not in thread.name}


def _assert_all_ended(proxy: CountingProxy | FaultProxy, threads: set[threading.Thread]) -> None:
    """The server sees every connection end, at the latest after a moment, and no thread is left."""
    deadline = time.monotonic() + END_LIMIT_S
    while proxy.open_now or _threads() - threads:
        assert time.monotonic() < deadline, f"{proxy.open_now} connections are open, {_threads() - threads} live"
        time.sleep(0.02)
