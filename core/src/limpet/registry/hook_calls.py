"""The hooks of one run: built by name, called through pluggy, each failure handled as its options say."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pluggy

from limpet.contracts.hooks import ON_ERROR, PROJECT, Hook, HookSpecs, RunInfo, RunResult, SnapshotDraft
from limpet.contracts.source import StatLike
from limpet.errors import HookError, PluginError, UsageError
from limpet.operations.hooks import Arguments, ReadFrom
from limpet.progress import Progress, Reporter, SilentReporter
from limpet.registry.hook_progress import WatchedReporter
from limpet.registry.kinds import PluginKind
from limpet.registry.listing import declared_options
from limpet.registry.loading import aliases, load
from limpet.registry.location import PATH, redact
from limpet.registry.option_values import option_values
from limpet.registry.plugin_calls import plugin_calls

_WORDS = ("fail", "warn")
_EXIT_INTERRUPTED = 130

_TOLD_IN_ANY_CASE = frozenset({"limpet_source_release", "limpet_run_finished", "limpet_run_failed", "limpet_run_ended"})
"""Calls that clean up: every hook gets them, whatever happened in the one before."""


def build_hooks(
    enabled: Sequence[str], options: Mapping[str, str], *, run: RunInfo | None, reporter: Reporter | None
) -> HookCaller:
    """The hooks called `enabled`, each with those of the given options that are its own.

    UsageError for a name or an option that does not exist, PluginError for a hook that is broken.
    """
    caller = HookCaller(run or RunInfo("", ""), reporter or SilentReporter())
    for name in reversed(enabled):  # pluggy calls the hook that was registered last first
        plugin = cast(type[Hook], load(PluginKind.HOOK, name))
        values = option_values(aliases(PluginKind.HOOK, name), declared_options(PluginKind.HOOK, plugin), options)
        if values[ON_ERROR.name] not in _WORDS:
            raise UsageError(f"option {name}.{ON_ERROR.name}: {values[ON_ERROR.name]!r} is neither fail nor warn")
        try:
            hook = plugin(values)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(f"hook plugin {name!r} failed to start: {type(error).__name__}: {error}") from error
        caller.add(name, hook, only_warns=values[ON_ERROR.name] == "warn")
    return caller


class HookCaller:
    """Calls the hooks of one run, the one added last first. Fulfils `operations.hooks.RunHooks`."""

    def __init__(self, run: RunInfo, reporter: Reporter) -> None:
        self.run = run
        self.names: list[str] = []
        self._reporter = reporter
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecs)
        self._held_back: list[HookError | KeyboardInterrupt] = []

    def add(self, name: str, hook: Hook, *, only_warns: bool = False) -> None:
        """Have `hook` take part under its name; PluginError if it implements what is no hook."""
        hook.reporter = self._reporter
        guarded = _Guarded()
        for attribute in dir(hook):
            method = getattr(hook, attribute)
            if self._manager.parse_hookimpl_opts(hook, attribute) is not None:
                guard = self._guard(name, attribute, method, only_warns=only_warns, patient=hook.limits_its_time)
                setattr(guarded, attribute, guard)
        try:
            self._manager.register(guarded, name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            reason = str(error).splitlines()[-1].partition(" in plugin ")[0]
            raise PluginError(f"hook plugin {name!r} cannot be used: {reason}") from error
        self.names.append(name)

    def password(self, location: str) -> str | None:
        """The password that the first hook to know one gives; None if none does."""
        return cast("str | None", self._call("limpet_password", location=location))

    def started(self) -> None:
        """Tell that the run is about to do its work; HookError stops it."""
        self._call("limpet_run_started", run=self.run)

    @contextmanager
    def prepared(self, arguments: Arguments) -> Iterator[ReadFrom]:
        """Inside it, where hooks want arguments to be read instead. Each is released, also if preparing it failed."""
        begun: list[tuple[str, str]] = []
        try:
            read_from: dict[str, dict[str, str]] = {}
            for scheme, rests in arguments.items() if self.names else ():
                for rest in rests:
                    shown = rest if scheme == PATH else redact(rest)
                    begun.append((scheme, shown))
                    place = self._prepare(scheme, shown)
                    if place is not None:
                        read_from.setdefault(scheme, {})[rest] = place
            yield read_from
        except BaseException as error:
            self._release(begun, _error_text(error))
            # The first error is the one to tell; a failed clean-up still has to be seen.
            for failure in self._take_held_back():
                self._reporter.warning(_error_text(failure))
            raise
        self._release(begun, None)
        self._raise_held_back()

    @property
    def excludes(self) -> Callable[[bytes, StatLike], bool] | None:
        """Whether any hook leaves a path out; None if no hook wants to be asked."""
        ask = self._manager.hook.limpet_path_excluded
        if not ask.get_hookimpls():
            return None
        return lambda path, stat: any(ask(path=path, stat=stat))

    def snapshot_saving(self, draft: SnapshotDraft) -> None:
        """Let hooks change the tags and the description of the snapshot about to be saved."""
        self._call("limpet_snapshot_saving", run=self.run, draft=draft)

    def watching(self, reporter: Reporter) -> Reporter:
        """`reporter`, or one around it that tells the hooks of the progress where one wants to know."""
        if not self._manager.hook.limpet_progress.get_hookimpls():
            return reporter
        return WatchedReporter(reporter, self._progress)

    def ended(self, result: RunResult) -> None:
        """Tell how the run ended; HookError for a hook that fails at it, or failed to take the progress."""
        if not self.names:
            return
        name = "limpet_run_finished" if result.is_good else "limpet_run_failed"
        self._call(name, run=self.run, result=result)
        # One after the other: each is told of what went wrong with those before it.
        name = "limpet_run_ended"
        for hook in self._one_by_one(name):
            self._call(name, hook, run=self.run, result=self._as_it_ends(result))
        self._raise_held_back()

    def _one_by_one(self, call: str) -> Iterator[pluggy.HookCaller]:
        """The calls of each hook alone, in the order in which they would be called together."""
        callers = getattr(self._manager.hook, call)
        plugins = [implementation.plugin for implementation in reversed(callers.get_hookimpls())]
        for plugin in plugins:
            yield self._manager.subset_hook_caller(call, [other for other in plugins if other is not plugin])

    def _as_it_ends(self, result: RunResult) -> RunResult:
        """The result, with what the hooks add to it: a failure, or Ctrl-C that met one of them."""
        failures = [error for error in self._held_back if isinstance(error, HookError)]
        if len(failures) < len(self._held_back):
            return replace(result, exit_code=_EXIT_INTERRUPTED, error="interrupted")
        if result.is_good and failures:
            return replace(result, exit_code=failures[0].exit_code, error=str(failures[0]))
        return result

    def _prepare(self, scheme: str, shown: str) -> str | None:
        answers = self._call("limpet_source_prepare", run=self.run, path=shown, scheme=scheme)
        different = sorted(set(answers))
        if len(different) > 1:
            raise HookError(f"hooks disagree about what to read instead of {shown}: {', '.join(different)}")
        return different[0] if different else None

    def _release(self, begun: Sequence[tuple[str, str]], error: str | None) -> None:
        for scheme, shown in reversed(begun):
            self._call("limpet_source_release", run=self.run, path=shown, scheme=scheme, error=error)

    def _progress(self, progress: Progress) -> None:
        try:
            self._call("limpet_progress", run=self.run, progress=progress)
        except HookError as error:  # In the watcher's thread: told when the run ends.
            if not self._held_back:
                self._held_back.append(error)

    def _call(self, call: str, hooks: pluggy.HookCaller | None = None, /, **arguments: object) -> Any:
        try:
            return (hooks or getattr(self._manager.hook, call))(**arguments)
        except (HookError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:  # Out of a wrapper, whose failure cannot be laid at one hook's door.
            raise HookError(f"a hook failed at {_words(call)}: {error}") from error

    def _guard(
        self, name: str, call: str, method: Callable[..., Any], *, only_warns: bool, patient: bool
    ) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(method):
            return method

        @functools.wraps(method)  # pluggy reads the signature and the marks through it
        def guarded(*arguments: object) -> Any:
            try:
                plugin = f"the hook plugin {name!r}"
                with plugin_calls.during(plugin, _words(call), None, self._reporter, limits_its_time=patient):
                    return _sensible(call, method(*arguments))
            except KeyboardInterrupt as interrupt:
                if call not in _TOLD_IN_ANY_CASE:
                    raise
                self._held_back.append(interrupt)
                return None
            except Exception as error:
                failure = HookError(f"hook {name} failed at {_words(call)}: {_reason(error)}")
                if only_warns:
                    self._reporter.warning(str(failure))
                    return None
                if call in _TOLD_IN_ANY_CASE:
                    self._held_back.append(failure)
                    return None
                raise failure from error

        return guarded

    def _take_held_back(self) -> Sequence[HookError | KeyboardInterrupt]:
        """What was held back, Ctrl-C first."""
        errors, self._held_back = self._held_back, []
        return sorted(errors, key=lambda error: isinstance(error, HookError))

    def _raise_held_back(self) -> None:
        errors = self._take_held_back()
        for error in errors[1:]:
            self._reporter.warning(str(error))
        if errors:
            raise errors[0]


class _Guarded:
    """The calls of one hook, each in its guard; pluggy wants it to be hashable."""


def _sensible(call: str, answer: object) -> object:
    """The answer of one hook; ValueError where nobody could do anything with it."""
    if call != "limpet_source_prepare" or answer is None or (isinstance(answer, str) and os.path.isabs(answer)):
        return answer
    raise ValueError(f"it wants {answer!r} to be read, which is no absolute path")


def _error_text(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else " ".join(_reason(error).split())


def _words(call: str) -> str:
    return call.removeprefix("limpet_").replace("_", " ")


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
