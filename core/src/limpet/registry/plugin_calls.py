"""Calls into plugins: whatever goes wrong in one is laid at its door.

What a plugin raises gets its name, what it prints goes to standard error (standard output is a result, maybe JSON),
and a call that does not come back is told again and again: nobody can end it from outside, but all can see whose it is.
"""

from __future__ import annotations

import io
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from limpet.errors import LimpetError
from limpet.progress import Reporter

QUIET_S = 60.0
"""After so long a call is told of, then after twice as long, and so on."""
LOOK_EVERY_S = 1.0
_LAST_LINE_BYTES = 1 << 16

Failure = Callable[[str], LimpetError]


@dataclass(slots=True, eq=False)
class _Call:
    plugin: str
    what: str
    reporter: Reporter | None
    began_s: float
    tell_after_s: float

    def tell(self, text: str) -> None:
        """Say something of the plugin, to the user."""
        if self.reporter is None:
            print(f"{self.plugin} {text}", file=sys.stderr, flush=True)
        else:
            self.reporter.warning(f"{self.plugin} {text}")


class PluginCalls:
    """All calls into plugins that are under way in this process, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[_Call] = set()
        self._here = threading.local()
        self._watcher: threading.Thread | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_others)

    @contextmanager
    def during(
        self,
        plugin: str,
        what: str,
        failure: Failure | None,
        reporter: Reporter | None = None,
        *,
        lets_through: tuple[type[Exception], ...] = (LimpetError,),
        limits_its_time: bool = False,
    ) -> Iterator[None]:
        """Around one call. What it `lets_through` comes out as it is, anything else as `failure(message)`, if given.

        Without a reporter nobody is told how long it takes: a backend's calls have time limits of their own; nor of one
        that `limits_its_time` as the user wants it.
        """
        call = _Call(plugin, what, reporter, time.monotonic(), math.inf if limits_its_time else QUIET_S)
        outer = getattr(self._here, "call", None)
        self._begin(call)
        try:
            yield
        except lets_through:
            raise
        except Exception as error:
            if failure is None:
                raise
            raise failure(f"{plugin} failed at {what}: {described(error)}") from error
        except SystemExit as error:  # A library's way to give up; its code may be 0, as if all had gone well.
            reason = f"it tried to end the program ({error.code})"
            if failure is None:
                raise RuntimeError(reason) from error
            raise failure(f"{plugin} failed at {what}: {reason}") from error
        finally:
            self._end(call, outer)

    @property
    def here(self) -> _Call | None:
        """The call that this thread is in."""
        call: _Call | None = getattr(self._here, "call", None)
        return call

    def show_life(self) -> None:
        """The call that this thread is in is getting on, though it has not come back yet."""
        call = self.here
        if call is not None and call.tell_after_s < math.inf:
            call.began_s, call.tell_after_s = time.monotonic(), QUIET_S

    @contextmanager
    def outside(self) -> Iterator[None]:
        """In it this thread is in no plugin's call: what is printed is ours."""
        call = self.here
        self._here.call = None
        try:
            yield
        finally:
            self._here.call = call

    def _forget_others(self) -> None:
        """In a process just forked: the other threads are not here, one of them may have held the lock."""
        self._lock = threading.Lock()
        self._under_way.clear()
        self._watcher = None

    def _begin(self, call: _Call) -> None:
        with self._lock:
            self._under_way.add(call)
            if not isinstance(sys.stdout, _Output) and sys.stdout is not None:
                sys.stdout = _Output(sys.stdout, self)
            if self._watcher is None and call.reporter is not None:
                self._watcher = threading.Thread(target=self._watch, name="limpet-plugins", daemon=True)
                self._watcher.start()
        self._here.call = call

    def _end(self, call: _Call, outer: _Call | None) -> None:
        self._here.call = outer
        output = None
        with self._lock:
            self._under_way.discard(call)
            if not self._under_way and isinstance(sys.stdout, _Output):
                output, sys.stdout = sys.stdout, sys.stdout.genuine
        if output is not None:
            output.tell_rest()  # with the lock free: who is told may call plugins

    def _watch(self) -> None:
        """Tell of calls that take long; the thread ends when there is nothing to watch."""
        while True:
            time.sleep(LOOK_EVERY_S)
            now_s = time.monotonic()
            with self._lock:
                if all(call.reporter is None for call in self._under_way):
                    self._watcher = None
                    return
                late = [call for call in self._under_way if now_s - call.began_s > call.tell_after_s]
            for call in late:
                waited_s = now_s - call.began_s
                call.tell_after_s = 2 * waited_s
                call.tell(f"has not come back for {waited_s:.0f} s from: {call.what}")


class _Output:
    """Stands for standard output while plugins are at work: what they print is told as a warning, with their name."""

    def __init__(self, genuine: TextIO, calls: PluginCalls) -> None:
        self.genuine = genuine
        self._calls = calls
        self._rest: dict[_Call, str] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self.genuine, name)

    @property
    def buffer(self) -> object:
        """For bytes."""
        return self.genuine.buffer if self._calls.here is None else _Bytes(self)

    def write(self, text: str) -> int:
        """Print it, or tell of it, a line at a time."""
        call = self._calls.here
        if call is None:
            return self.genuine.write(text)
        *lines, rest = (self._rest.pop(call, "") + text).split("\n")
        if len(rest) > _LAST_LINE_BYTES:
            lines, rest = [*lines, rest], ""
        if rest:
            self._rest[call] = rest
        self._tell(call, lines)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As of any text stream."""
        for line in lines:
            self.write(line)

    def tell_rest(self) -> None:
        """Lines that nobody ended."""
        for call, rest in self._rest.items():
            self._tell(call, [rest])
        self._rest.clear()

    def _tell(self, call: _Call, lines: list[str]) -> None:
        with self._calls.outside():
            for line in lines:
                if line.strip():
                    call.tell(f"prints: {line}")


class _Bytes(io.RawIOBase):
    """The same for bytes."""

    def __init__(self, output: _Output) -> None:
        super().__init__()
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        """As of any binary stream."""
        raw = bytes(data)  # type: ignore[call-overload]
        self._output.write(raw.decode(errors="replace"))
        return len(raw)


def described(error: BaseException) -> str:
    """The error in one line, with its kind."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


plugin_calls = PluginCalls()
"""Those of this process."""
