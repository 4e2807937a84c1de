"""One run of the command line: its options, its reporter, and how its repository is opened.

A command takes it with `@pass_session` as its first argument.
"""

from __future__ import annotations

import functools
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from limpet.cli.environment import environment
from limpet.cli.json_output import encode_json
from limpet.cli.options import GlobalOptions
from limpet.cli.places import cache_folder, location_of
from limpet.cli.terminal import Terminal
from limpet.errors import MissingFileError, NoRepositoryError, UsageError, WrongPasswordError

if TYPE_CHECKING:
    from limpet.cli.render import CommandReporter
    from limpet.contracts.backend import Backend
    from limpet.contracts.hooks import RunInfo
    from limpet.operations.hooks import RunHooks
    from limpet.repository.keys import OpenedKey
    from limpet.repository.locks import LockTiming
    from limpet.repository.repository import Repository, RepositorySettings

PASSWORD_TRIES = 3

P = ParamSpec("P")
R = TypeVar("R")


class Session:
    """The run's options and what follows from them. Nothing is read or opened before it is asked for."""

    def __init__(self) -> None:
        self.options = GlobalOptions()
        self.terminal = Terminal()
        self._reporter: CommandReporter | None = None
        self._hooks: RunHooks | None = None
        self.figures: dict[str, int | float | str] = {}
        """What the run achieved, by restic's names; the hooks are told."""
        self.profile = environment("PROFILE") or ""
        """The profile of the configuration that the run belongs to; the hooks are told."""
        self._started_ns = time.time_ns()
        self._repository_id = ""
        self._closing = ExitStack()
        self._started = False
        self._limits_requests = True

    def load_environment(self) -> None:
        """Take over what the environment says."""
        self.options = GlobalOptions.from_environment()

    def start(self) -> None:
        """All flags are read and the command begins; UsageError where flags or variables make no sense. Idempotent."""
        if self._started:
            return
        self._started = True
        self.options.verify()
        if environment("FEATURES") is not None:
            from limpet.cli.features import read_features  # noqa: PLC0415  # hardly anybody sets them

            self._limits_requests = read_features(self.terminal.error)["backend-error-redesign"]

    def hold(self, resource: AbstractContextManager[R]) -> R:
        """Enter the context, and leave it at the end of the run, after the hooks were told."""
        return self._closing.enter_context(resource)

    def close(self) -> None:
        """Close every repository that was opened, and take the progress bar off the screen. Idempotent."""
        self._closing.close()

    # -- output -------------------------------------------------------------------------------------------------

    @property
    def json(self) -> bool:
        """Whether documents are wanted instead of text."""
        return self.options.json

    @property
    def quiet(self) -> bool:
        """Whether only results and errors are wanted."""
        return self.options.verbosity == 0

    @property
    def verbose(self) -> int:
        """0 normally, 1 with -v, 2 with -vv."""
        return max(0, self.options.verbosity - 1)

    @property
    def reporter(self) -> CommandReporter:
        """Renders what operations report: text, JSON lines or (almost) nothing."""
        if self._reporter is None:
            from limpet.cli.render import make_reporter  # noqa: PLC0415  # `limpet version` needs none

            self._reporter = make_reporter(self.terminal, self.options)
            self._closing.callback(self._reporter.end)
        return self._reporter

    def speak_text(self) -> None:
        """For commands that know no JSON: as in restic they report in text, whatever --json says."""
        from limpet.cli.render import TextReporter  # noqa: PLC0415  # see `reporter`

        self._reporter = TextReporter(self.terminal, self.options.verbosity)
        self._closing.callback(self._reporter.end)

    def print(self, text: str) -> None:
        """A result: shown even with --quiet."""
        self.terminal.print(text)

    def say(self, text: str) -> None:
        """Something good to know: not shown with --quiet or --json."""
        self.terminal.log.add(text)
        if not self.quiet and not self.json:
            self.terminal.print(text)

    def print_json(self, document: object, *, indent: int | None = None) -> None:
        """A result as one JSON document."""
        self.terminal.print(encode_json(document, indent=indent))

    # -- the repository -----------------------------------------------------------------------------------------

    @property
    def no_lock(self) -> bool:
        """Whether commands that only read go without a lock."""
        return self.options.no_lock

    @property
    def retry_lock_s(self) -> float:
        """How long to wait for another's lock to go away."""
        return self.options.retry_lock

    def location(self) -> str:
        """Where the repository is; UsageError if that is not said, or said twice."""
        return location_of(self.options)

    def repository(self, *, use_cache: bool = True, meanwhile: Callable[[], object] | None = None) -> Repository:
        """The repository, opened with the password; closed at the end of the run.

        `meanwhile` imports what the run will need while the password is turned into the key.
        """
        return self._open(
            self.options, "PASSWORD", "enter password for repository: ", use_cache=use_cache, meanwhile=meanwhile
        )

    @contextmanager
    def locked_repository(
        self,
        *,
        exclusive: bool = False,
        writes: bool = False,
        no_lock: bool = False,
        use_cache: bool = True,
        timing: LockTiming | None = None,
    ) -> Iterator[Repository]:
        """The repository while a lock is held; with `no_lock`, or --no-lock where nothing is written, without one."""
        from limpet.repository.locks import DEFAULT_TIMING  # noqa: PLC0415  # only where there is a repository

        repository = self.repository(use_cache=use_cache)
        no_lock = no_lock or (self.no_lock and not writes and not exclusive)
        with repository.lock(
            exclusive=exclusive, retry_lock_s=self.retry_lock_s, no_lock=no_lock, timing=timing or DEFAULT_TIMING
        ):
            yield repository

    def secondary_repository(self, options: GlobalOptions, variable: str) -> Repository:
        """Another repository, named by its own options; its password may come from its own variable."""
        return self._open(options, variable, "enter password for source repository: ")

    def hooks(self) -> RunHooks:
        """The hooks that take part in this run: those of --hook, LIMPET_HOOKS and -o; built and started once."""
        if self._hooks is None:
            from limpet import registry  # noqa: PLC0415  # brings stevedore

            options = self.options
            self._hooks = registry.hooks(options.extended(), options.hook, run=self._run_info, reporter=self.reporter)
            self._hooks.started()
        return self._hooks

    def end_hooks(self, exit_code: int, error: str | None = None) -> None:
        """Tell the hooks that took part how the run ended. Idempotent; HookError if one of them fails at it."""
        from limpet.operations.hooks import NoHooks  # noqa: PLC0415

        hooks, self._hooks = self._hooks, None
        if hooks is not None and not isinstance(hooks, NoHooks):
            from limpet.cli.run_log import without_secrets  # noqa: PLC0415
            from limpet.contracts.hooks import RunResult  # noqa: PLC0415  # brings pluggy

            log = self.terminal.log
            result = RunResult(
                exit_code,
                None if error is None else without_secrets(error),
                self.figures,
                warnings=log.warnings,
                log=[without_secrets(line) for line in log.lines],
                repository_id=self._repository_id,
                ended_ns=time.time_ns(),
            )
            hooks.ended(result)

    def _run_info(self) -> RunInfo:
        import socket  # noqa: PLC0415  # only where a hook takes part
        import uuid  # noqa: PLC0415

        from limpet import registry  # noqa: PLC0415
        from limpet.contracts.hooks import RunInfo  # noqa: PLC0415

        return RunInfo(
            command=click.get_current_context().command_path.partition(" ")[2],
            location=registry.redact(self.location()),
            arguments=registry.redact_arguments(sys.argv[1:]),
            hostname=socket.gethostname(),
            run_id=str(uuid.uuid4()),
            started_ns=self._started_ns,
            profile=self.profile,
        )

    def backend(self, options: GlobalOptions | None = None) -> Backend:
        """The repository's storage, with rate limits and retries; closed at the end of the run."""
        from limpet import registry  # noqa: PLC0415  # brings stevedore

        options = options or self.options
        transport = options.transport()
        if not self._limits_requests:
            transport = replace(transport, stuck_request_timeout_s=None)
        backend = registry.open_backend(location_of(options), options.extended(), transport)
        if options.limit_upload > 0 or options.limit_download > 0:
            from limpet.storage.limit import LimitBackend  # noqa: PLC0415

            backend = LimitBackend(
                backend,
                upload_bps=max(0, options.limit_upload << 10) or None,
                download_bps=max(0, options.limit_download << 10) or None,
            )
        from limpet.storage.freeze import FreezeBackend  # noqa: PLC0415
        from limpet.storage.retry import RetryBackend  # noqa: PLC0415

        # The lock's freeze goes inside: it has to stop a write that is being tried again, too.
        backend = RetryBackend(FreezeBackend(backend), reporter=self.reporter)
        self._closing.callback(backend.close)
        return backend

    def settings(self, *, use_cache: bool = True) -> RepositorySettings:
        """How the repository is read and written, as the options say."""
        from limpet.format.compression import Level  # noqa: PLC0415  # brings zstandard
        from limpet.repository.repository import RepositorySettings  # noqa: PLC0415

        return RepositorySettings(
            compression=Level(self.options.compression),
            pack_size_bytes=self.options.pack_size_bytes,
            verify_before_upload=not self.options.no_extra_verify,
            cache_folder=None if self.options.no_cache or not use_cache else cache_folder(self.options),
            reporter=self.reporter,
        )

    def _open(
        self,
        options: GlobalOptions,
        variable: str,
        prompt: str,
        *,
        use_cache: bool = True,
        meanwhile: Callable[[], object] | None = None,
    ) -> Repository:
        from limpet import registry  # noqa: PLC0415  # brings stevedore
        from limpet.cli.password import given_password  # noqa: PLC0415
        from limpet.format import native  # noqa: PLC0415

        # Here alone: what a library's caller does with his memory is his. The collector, which finds nothing in a walk
        # through a million files, looks less often.
        native.return_freed_memory()
        gc.set_threshold(50_000, 20, 20)
        given = given_password(options, variable)
        location_of(options)
        self.hooks()  # before anything is opened: one may have to mount the storage first
        backend = self.backend(options)
        _require_config(backend, registry.redact(location_of(options)))
        # Python gives up imports of one package by two threads that wait for each other: what opens a key comes first.
        import limpet.repository.keys  # noqa: F401, PLC0415

        # Turning the password into the key takes a third of a second and leaves the interpreter alone.
        with _importing(meanwhile):
            opened = self._open_key(backend, options, given, prompt)
        from limpet.repository.repository import Repository  # noqa: PLC0415

        settings = self.settings(use_cache=use_cache)
        repository = Repository.unlocked(backend, opened, settings=settings)
        self._closing.callback(repository.close)
        if options is self.options:
            self._repository_id = repository.config.id
        self._tell_opened(repository)
        if settings.cache_folder is not None:
            self._clean_up_caches(settings.cache_folder)
        return repository

    def _open_key(self, backend: Backend, options: GlobalOptions, given: str | None, prompt: str) -> OpenedKey:
        """The key that the password opens; on a terminal the user has three tries."""
        from limpet.cli.password import ask_password, wanted_password  # noqa: PLC0415
        from limpet.repository.keys import open_key  # noqa: PLC0415

        from_hook = None if given else self.password_of_hook(backend, options)
        known = given or from_hook
        asks = self.terminal.input_is_terminal and not known and not options.insecure_no_password
        for tries_left in reversed(range(PASSWORD_TRIES if asks else 1)):
            try:
                password = wanted_password(options, known, lambda: ask_password(self.terminal, prompt))
                return open_key(backend, password, hint=options.key_hint)
            except (WrongPasswordError, UsageError) as error:
                if from_hook and isinstance(error, WrongPasswordError):
                    raise error.saying(f"{error} (the password is the one that a hook gave)") from error
                if not tries_left:
                    raise
                self.terminal.error(f"{error}. Try again")
        raise AssertionError("the last try returns or raises")

    def _clean_up_caches(self, folder: Path) -> None:
        """Remove the caches of repositories that were not used for long, or tell of them."""
        from limpet.storage.cachefolder import list_caches, remove_old_caches  # noqa: PLC0415

        old = [cache for cache in list_caches(folder) if cache.is_old()]
        if old and self.options.cleanup_cache:
            self._say_on_terminal(f"removing {len(old)} old cache dirs from {folder}")
            remove_old_caches(folder)
        elif old:
            self._say_on_terminal(
                f"found {len(old)} old cache directories in {folder}, run `limpet cache --cleanup` to remove them"
            )

    def _say_on_terminal(self, text: str) -> None:
        if self.terminal.output_is_terminal:
            self.say(text)

    def password_of_hook(self, backend: Backend, options: GlobalOptions | None = None) -> str | None:
        """The password that a hook knows for the repository; None if none does, or none is wanted."""
        options = options or self.options
        return None if options.insecure_no_password else self.hooks().password(backend.location)

    def _tell_opened(self, repository: Repository) -> None:
        version = repository.config.version
        extra = f", compression level {self.options.compression}" if version > 1 else ""
        self._say_on_terminal(f"repository {repository.config.id[:8]} opened (version {version}{extra})")


@contextmanager
def _importing(more: Callable[[], object] | None) -> Iterator[None]:
    """Beside what happens in the context the rest is imported; it is over with it, for workers may be forked then.

    What goes wrong with an import goes wrong again where it is needed. After Ctrl-C nobody waits for it: in the middle
    of an import that may leave Python's lock of all imports taken, and the thread would never end.
    """

    def work() -> None:
        with suppress(Exception):
            import limpet.repository.repository  # noqa: F401, PLC0415

            if more is not None:
                more()

    thread = Thread(target=work, name="limpet-import", daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        thread.join()
        raise
    thread.join()


def _require_config(backend: Backend, place: str) -> None:
    """NoRepositoryError where there is no repository: nobody should be asked for a password in vain."""
    from limpet.contracts.backend import CONFIG_HANDLE  # noqa: PLC0415

    try:
        backend.stat(CONFIG_HANDLE)
    except MissingFileError as error:
        raise NoRepositoryError(
            f"repository does not exist: unable to open config file: {error}\n"
            f"Is there a repository at the following location?\n{place}"
        ) from error


def without_password(options: GlobalOptions, **changes: object) -> GlobalOptions:
    """The options for another repository: no location, password or hint is taken over."""
    cleared = {
        "repo": None,
        "repository_file": None,
        "password_file": None,
        "password_command": None,
        "key_hint": None,
        "insecure_no_password": False,
    }
    return replace(options, **{**cleared, **changes})  # type: ignore[arg-type]


def pass_session(command: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """A decorator: the command gets the session as its first argument, once all that was given makes sense."""

    @functools.wraps(command)
    def with_session(*args: P.args, **kwargs: P.kwargs) -> R:
        session = click.get_current_context().find_object(Session)
        assert session is not None, "limpet.cli.main puts it there"
        session.start()
        return command(session, *args, **kwargs)

    return with_session
