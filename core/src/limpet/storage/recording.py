"""Records every storage call, and fails or dies at a chosen one: each crash point becomes reachable in a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from limpet.contracts.backend import Backend, Content, FileInfo, FileKind, Handle
from limpet.errors import BackendError
from limpet.storage.wrapping import WrappingBackend

T = TypeVar("T")


class Operation(Enum):
    """The calls of a backend that are recorded."""

    CREATE = "create"
    SAVE = "save"
    LOAD = "load"
    STAT = "stat"
    LIST = "list"
    REMOVE = "remove"
    DELETE = "delete"


WRITES = frozenset({Operation.CREATE, Operation.SAVE, Operation.REMOVE, Operation.DELETE})
ALL = frozenset(Operation)


class CrashError(BaseException):
    """The process is taken to have died here: nobody catches it, and nothing reaches the store after it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `name` is empty for the config, a listing or the whole store; sizes are those asked for."""

    operation: Operation
    kind: FileKind | None = None
    name: str = ""
    offset_bytes: int = 0
    length_bytes: int | None = None


@dataclass(slots=True)
class _Plan:
    calls_left: int
    operations: frozenset[Operation]
    raised: Callable[[Call], BaseException]
    times: int | None
    after_the_call: bool


class RecordingBackend(WrappingBackend):
    """Keeps `calls` in the order in which they began. Thread-safe."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.calls: list[Call] = []
        self._plans: list[_Plan] = []
        self._lock = threading.Lock()

    # -- what is to go wrong

    def fail_after(
        self,
        count: int,
        *,
        times: int | None = None,
        operations: Iterable[Operation] = ALL,
        error: BackendError | None = None,
    ) -> None:
        """Let `count` of these operations pass, then fail the next `times` (all without); transient by default."""

        def raised(call: Call) -> BackendError:
            return error or BackendError(f"{call.operation.value}: failed on purpose")

        self._plans.append(_Plan(count, frozenset(operations), raised, times, after_the_call=False))

    def lose_answer_after(self, count: int, *, times: int = 1, operations: Iterable[Operation] = WRITES) -> None:
        """Let `count` of these operations pass; the next `times` are done, and yet end in a transient error."""

        def raised(call: Call) -> BackendError:
            return BackendError(f"{call.operation.value}: the answer was lost on purpose")

        self._plans.append(_Plan(count, frozenset(operations), raised, times, after_the_call=True))

    def stop_after(self, count: int, *, operations: Iterable[Operation] = WRITES) -> None:
        """Let `count` of these operations pass, then die: `CrashError` at the next, and at every call after it."""

        def raised(call: Call) -> CrashError:
            with self._lock:
                self._plans = [_Plan(0, ALL, raised, None, after_the_call=False)]
            return CrashError(f"died on purpose before {call.operation.value}")

        self._plans.append(_Plan(count, frozenset(operations), raised, None, after_the_call=False))

    def heal(self) -> None:
        """Nothing goes wrong on purpose any more."""
        with self._lock:
            self._plans.clear()

    # -- what happened

    def count(self, operation: Operation, kind: FileKind | None = None) -> int:
        """How many such calls there were, of one kind or of all."""
        with self._lock:
            return sum(call.operation is operation and kind in (None, call.kind) for call in self.calls)

    def saved(self, kind: FileKind | None = None) -> int:
        """How many saves were tried."""
        return self.count(Operation.SAVE, kind)

    def loaded(self, kind: FileKind | None = None) -> int:
        """How many loads were tried, whole or by range."""
        return self.count(Operation.LOAD, kind)

    def removed(self, kind: FileKind | None = None) -> int:
        """How many removals were tried."""
        return self.count(Operation.REMOVE, kind)

    # -- the calls

    def create(self) -> None:
        self._run(Call(Operation.CREATE), super().create)

    def save(self, handle: Handle, content: Content) -> None:
        call = Call(Operation.SAVE, handle.kind, handle.name, length_bytes=content.size_bytes)
        self._run(call, lambda: self.inner.save(handle, content))

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        call = Call(Operation.LOAD, handle.kind, handle.name, offset_bytes, length_bytes)
        return self._run(call, lambda: self.inner.load(handle, offset_bytes, length_bytes))

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        call = Call(Operation.LOAD, handle.kind, handle.name, offset_bytes, buffer.nbytes)
        self._run(call, lambda: self.inner.load_into(handle, offset_bytes, buffer))

    def stat(self, handle: Handle) -> FileInfo:
        return self._run(Call(Operation.STAT, handle.kind, handle.name), lambda: self.inner.stat(handle))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        return self._run(Call(Operation.LIST, kind), lambda: self.inner.list(kind))

    def remove(self, handle: Handle) -> None:
        self._run(Call(Operation.REMOVE, handle.kind, handle.name), lambda: self.inner.remove(handle))

    def delete(self) -> None:
        self._run(Call(Operation.DELETE), super().delete)

    def _run(self, call: Call, work: Callable[[], T]) -> T:
        with self._lock:
            self.calls.append(call)
            due = [plan for plan in self._plans if self._is_due(plan, call)]
        for plan in due:
            if not plan.after_the_call:
                raise plan.raised(call)
        result = work()
        for plan in due:
            raise plan.raised(call)
        return result

    def _is_due(self, plan: _Plan, call: Call) -> bool:
        if call.operation not in plan.operations:
            return False
        if plan.calls_left > 0:
            plan.calls_left -= 1
            return False
        if plan.times is None:
            return True
        plan.times -= 1
        return plan.times >= 0
