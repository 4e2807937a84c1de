"""Hooks of a run: in their order, each failure handled as its options say, clean-up in any case."""

from __future__ import annotations

import time
from typing import Any

import pytest
from limpet.contracts.hooks import Hook, RunInfo, RunResult, SnapshotDraft, hookimpl
from limpet.contracts.source import MadeStat
from limpet.errors import HookError, LimpetError, PluginError, UsageError
from limpet.operations.hooks import NoHooks, RunHooks
from limpet.progress import Progress, SilentReporter
from limpet.registry import hooks
from limpet.registry.hook_calls import HookCaller
from limpet.registry.hook_progress import WatchedReporter
from limpet.testing.listening import Listening
from limpet.testing.site import Site

RUN = RunInfo("backup", "path:/r")


class Recording(Hook):
    """Writes down what it is told; fails at the calls it is given."""

    def __init__(self, log: list[str], name: str, fails_at: tuple[str, ...] = (), answer: str | None = None) -> None:
        super().__init__({})
        self.log, self.name, self.fails_at, self.answer = log, name, fails_at, answer
        self.errors: list[str | None] = []

    def _told(self, call: str) -> None:
        self.log.append(f"{self.name} {call}")
        if call.partition(" ")[0] in self.fails_at:
            raise ValueError("out of luck")

    @hookimpl
    def limpet_run_started(self, run: RunInfo) -> None:
        self._told("started")

    @hookimpl
    def limpet_source_prepare(self, path: str, scheme: str) -> str | None:
        self._told(f"prepare {path}" if scheme == "path" else f"prepare {scheme} {path}")
        return self.answer

    @hookimpl
    def limpet_path_excluded(self, path: bytes) -> bool | None:
        return path.endswith(self.name.encode()) or None

    @hookimpl
    def limpet_snapshot_saving(self, draft: SnapshotDraft) -> None:
        draft.tags.append(self.name)
        self._told("saving")

    @hookimpl
    def limpet_progress(self, progress: Progress) -> None:
        self._told("progress")

    @hookimpl
    def limpet_source_release(self, path: str, error: str | None) -> None:
        self._told(f"release {path}")
        self.errors.append(error)

    @hookimpl
    def limpet_run_finished(self, result: RunResult) -> None:
        self._told("finished")

    @hookimpl
    def limpet_run_failed(self, result: RunResult) -> None:
        self._told("failed")


@pytest.fixture
def log() -> list[str]:
    """What the hooks were told."""
    return []


@pytest.fixture
def reporter() -> Listening:
    """What the user is told."""
    return Listening()


@pytest.fixture
def caller(reporter: Listening) -> HookCaller:
    """The hooks of a run, none yet."""
    return HookCaller(RUN, reporter)


def test_a_whole_run(caller: HookCaller, log: list[str]) -> None:
    """Every hook hears of everything: a missed call is a volume that stays mounted."""
    caller.add("a", Recording(log, "a"))
    caller.add("b", Recording(log, "b", answer="/snap"))
    caller.started()
    with caller.prepared({"path": ["/x", "/y"]}) as read_from:
        assert read_from == {"path": {"/x": "/snap", "/y": "/snap"}}
        draft = SnapshotDraft("host", ["/x"])
        caller.snapshot_saving(draft)
    caller.ended(RunResult(0))
    assert sorted(draft.tags) == ["a", "b"]
    assert {line for line in log if line.startswith("a ")} == {
        "a started",
        "a prepare /x",
        "a prepare /y",
        "a saving",
        "a release /x",
        "a release /y",
        "a finished",
    }
    assert len(log) == 14
    assert log.index("a release /y") < log.index("a release /x")


def test_failure_fails_the_run(caller: HookCaller, log: list[str]) -> None:
    """A hook that failed without a word is worse than none."""
    caller.add("a", Recording(log, "a", ("started",)))
    with pytest.raises(HookError, match="hook a failed at run started: out of luck") as caught:
        caller.started()
    assert isinstance(caught.value, LimpetError)
    assert isinstance(caught.value.__cause__, ValueError)


def test_failure_only_warns(caller: HookCaller, reporter: Listening, log: list[str]) -> None:
    """Where the user said so, the backup goes on, and the warning is seen."""
    caller.add("a", Recording(log, "a", ("started", "prepare", "release", "finished")), only_warns=True)
    caller.started()
    with caller.prepared({"path": ["/x"]}) as read_from:
        assert read_from == {}
    caller.ended(RunResult(0))
    assert len(reporter.warnings) == 4
    assert all(text.startswith("hook a failed at ") for text in reporter.warnings)


def test_every_hook_releases_whatever_another_does(caller: HookCaller, log: list[str]) -> None:
    """One hook that fails to clean up must not keep the next one's snapshot of a volume alive."""
    caller.add("a", Recording(log, "a", ("release",)))
    caller.add("b", Recording(log, "b", ("release",)))
    with pytest.raises(HookError, match="release: out of luck"), caller.prepared({"path": ["/x", "/y"]}):
        pass
    assert sorted(line for line in log if "release" in line) == [
        "a release /x",
        "a release /y",
        "b release /x",
        "b release /y",
    ]


def test_release_after_a_failed_backup(caller: HookCaller, reporter: Listening, log: list[str]) -> None:
    """The backup's own error is the one to tell; that the clean-up failed too has to be seen all the same."""
    caller.add("a", Recording(log, "a", ("release",)))
    with pytest.raises(KeyboardInterrupt), caller.prepared({"path": ["/x"]}):
        raise KeyboardInterrupt
    assert log[-1] == "a release /x"
    assert reporter.warnings == ["hook a failed at source release: out of luck"]


def test_release_after_a_failed_prepare(caller: HookCaller, log: list[str]) -> None:
    """What was prepared before the failure, and what was half prepared in it, is released."""
    caller.add("a", Recording(log, "a"))
    caller.add("b", Recording(log, "b", ("prepare",)))
    with pytest.raises(HookError, match="hook b failed at source prepare"), caller.prepared({"path": ["/x", "/y"]}):
        pytest.fail("the body must not run")
    assert "a release /x" in log
    assert "b release /x" in log
    assert not any("/y" in line for line in log)


def test_hooks_that_disagree(caller: HookCaller, log: list[str]) -> None:
    """Two snapshots of one path: reading either would leave the other's wish unfulfilled."""
    caller.add("a", Recording(log, "a", answer="/one"))
    caller.add("b", Recording(log, "b", answer="/two"))
    with (
        pytest.raises(HookError, match="disagree about what to read instead of /x: /one, /two"),
        caller.prepared({"path": ["/x"]}),
    ):
        pass
    assert "a release /x" in log


def test_release_tells_what_went_wrong(caller: HookCaller, log: list[str]) -> None:
    """A hook that keeps what it made only after a good run has to know; the snapshot is saved or not by then."""
    told = Recording(log, "a")
    caller.add("a", told)
    with caller.prepared({"path": ["/x"]}):
        pass
    with pytest.raises(HookError), caller.prepared({"path": ["/x"]}):
        raise HookError("the disk\nis gone")
    with pytest.raises(KeyboardInterrupt), caller.prepared({"path": ["/x"]}):
        raise KeyboardInterrupt
    assert told.errors == [None, "the disk is gone", "interrupted"]


def test_sources_of_every_kind_are_told_without_secrets(caller: HookCaller, log: list[str]) -> None:
    """A device can be frozen as a folder can; a password in an address would end in every hook's log."""
    caller.add("a", Recording(log, "a", answer="/dev/snap"))
    arguments = {"device": ["///dev/vg/home"], "postgres": ["//app:s3cret@host/shop"]}
    with caller.prepared(arguments) as read_from:
        assert log == ["a prepare device ///dev/vg/home", "a prepare postgres //app:***@host/shop"]
    assert read_from["device"] == {"///dev/vg/home": "/dev/snap"}
    assert set(read_from["postgres"]) == {"//app:s3cret@host/shop"}
    assert "s3cret" not in str(log)


@pytest.mark.parametrize("answer", ["relative", 17, b"/bytes", ["/list"]])
def test_an_answer_that_is_no_path(caller: HookCaller, log: list[str], answer: Any) -> None:
    """Nonsense out of one hook is laid at its door, and the others clean up."""
    caller.add("a", Recording(log, "a", answer=answer))
    with (
        pytest.raises(HookError, match=r"hook a failed at source prepare: .* which is no absolute path"),
        caller.prepared({"path": ["/x"]}),
    ):
        pytest.fail("the body must not run")
    assert "a release /x" in log


def test_hooks_can_tell_the_user(caller: HookCaller, reporter: Listening, log: list[str]) -> None:
    """A hook has no other way to say what it could not do."""
    hook = Recording(log, "a")
    caller.add("a", hook)
    hook.reporter.warning("half done")
    assert reporter.warnings == ["half done"]


@pytest.mark.parametrize(("exit_code", "word"), [(0, "finished"), (3, "finished"), (1, "failed"), (130, "failed")])
def test_how_it_ended(caller: HookCaller, log: list[str], exit_code: int, word: str) -> None:
    """A monitor that is told `finished` after a failure shows green for months."""
    caller.add("a", Recording(log, "a"))
    caller.ended(RunResult(exit_code))
    assert log == [f"a {word}"]


class Monitor(Hook):
    """Keeps the results it is told of at the end; is interrupted, or fails, at it if asked to."""

    def __init__(self, fails: type[BaseException] | None = None) -> None:
        super().__init__({})
        self.fails = fails
        self.results: list[RunResult] = []

    @hookimpl
    def limpet_run_ended(self, result: RunResult) -> None:
        self.results.append(result)
        if self.fails:
            raise self.fails("out of luck")

    @property
    def codes(self) -> list[int]:
        """The exit codes."""
        return [result.exit_code for result in self.results]


class LateMonitor(Monitor):
    """One that is told after the others."""

    @hookimpl(trylast=True)
    def limpet_run_ended(self, result: RunResult) -> None:
        super().limpet_run_ended(result)


@pytest.mark.parametrize(("exit_code", "expected"), [(0, 1), (3, 1), (12, 12)])
def test_monitors_hear_of_another_hooks_failure(
    caller: HookCaller, log: list[str], exit_code: int, expected: int
) -> None:
    """The run ends with exit code 1 because a hook failed after it: a monitor that shows green would lie."""
    caller.add("late", late := LateMonitor())
    caller.add("a", Recording(log, "a", ("finished", "failed")))
    caller.add("b", monitor := Monitor())
    caller.add("c", failing := Monitor(ValueError))
    with pytest.raises(HookError):
        caller.ended(RunResult(exit_code, None, {"files_new": 5}))
    assert (failing.codes, monitor.codes, late.codes) == ([expected], [expected], [expected])
    assert late.results[0].figures == {"files_new": 5}


def test_monitors_hear_of_a_failure_at_the_very_end(caller: HookCaller, reporter: Listening) -> None:
    """What is told last of all is told one after the other, so that even this failure is known."""
    caller.add("late", late := LateMonitor())
    caller.add("b", Monitor(ValueError))
    with pytest.raises(HookError, match="hook b failed at run ended: out of luck"):
        caller.ended(RunResult(0))
    assert late.codes == [1]
    assert late.results[0].error == "hook b failed at run ended: out of luck"
    caller = HookCaller(RUN, reporter)
    caller.add("late", late := LateMonitor())
    caller.add("b", Monitor(ValueError), only_warns=True)
    caller.ended(RunResult(0))
    assert late.codes == [0], "a failure that is only warned of is none"
    assert reporter.warnings == ["hook b failed at run ended: out of luck"]


def test_interrupted_at_the_end(caller: HookCaller, log: list[str]) -> None:
    """Ctrl-C while one hook cleans up must not keep the others from it, and ends the process as Ctrl-C does."""
    caller.add("late", late := LateMonitor())
    caller.add("a", Recording(log, "a", ("finished",)))
    caller.add("b", Monitor(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        caller.ended(RunResult(0))
    assert log == ["a finished"]
    assert late.codes == [130]


def test_excluding(caller: HookCaller, log: list[str]) -> None:
    """Any hook may leave a path out; without hooks the core need not ask at all."""
    assert caller.excludes is None
    caller.add("a", Recording(log, "a"))
    caller.add("b", Recording(log, "b"))
    excludes = caller.excludes
    assert excludes is not None
    stat = MadeStat(0, 0)
    assert [excludes(path, stat) for path in (b"/a", b"/b", b"/c")] == [True, True, False]


def _wait_until_told(log: list[str], times: int) -> None:
    deadline = time.monotonic() + 60
    while len(log) < times:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_progress_is_told_while_an_operation_runs(log: list[str], caller: HookCaller) -> None:
    """A push to a monitor has to come while the backup runs, and never after it."""
    caller.add("a", Recording(log, "a"))
    watched = WatchedReporter(SilentReporter(), caller._progress, interval_s=0.01)
    watched.begin(Progress("backup"))
    _wait_until_told(log, times=2)
    watched.end()
    told = len(log)
    time.sleep(0.05)
    assert len(log) == told


def test_failing_progress_fails_the_run_at_its_end(log: list[str], caller: HookCaller) -> None:
    """It happens in a thread of its own, where an exception would be lost."""
    caller.add("a", Recording(log, "a", ("progress",)))
    watched = WatchedReporter(SilentReporter(), caller._progress, interval_s=0.01)
    watched.begin(Progress("backup"))
    _wait_until_told(log, times=1)
    watched.end()
    with pytest.raises(HookError, match="hook a failed at progress"):
        caller.ended(RunResult(0))


def test_first_password_wins(caller: HookCaller) -> None:
    """Two keyrings may be asked; the answer of one must do."""

    class Keyring(Hook):
        @hookimpl
        def limpet_password(self, location: str) -> str | None:
            return f"for {location}"

    class Empty(Hook):
        @hookimpl
        def limpet_password(self) -> str | None:
            return None

    assert caller.password("path:/r") is None
    caller.add("a", Keyring({}))
    caller.add("b", Empty({}))
    assert caller.password("path:/r") == "for path:/r"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("limpet_run_begun", "unknown hook 'limpet_run_begun'"), ("limpet_run_started", "can not be found")],
)
def test_misspelt_hooks(caller: HookCaller, wrong: str, words: str) -> None:
    """A hook with a wrong name would never be called, and the database never stopped."""

    def method(self: Any, wrong_argument: object) -> None:
        raise AssertionError("never called")

    misspelt = type("Misspelt", (Hook,), {wrong: hookimpl(method)})
    with pytest.raises(PluginError, match=f"hook plugin 'x' cannot be used: .*{words}"):
        caller.add("x", misspelt({}))


def test_what_turns_a_hook_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Being installed turns nothing on; being named does, in each of the three ways."""
    assert isinstance(hooks(), NoHooks)
    assert isinstance(hooks({"local.connections": "3"}), NoHooks)
    for made in (hooks({"shell.before": "true"}), hooks({}, ["shell"])):
        assert isinstance(made, HookCaller)
        assert made.names == ["shell"]
    monkeypatch.setenv("LIMPET_HOOKS", " shell, ")
    made = hooks()
    assert isinstance(made, HookCaller)
    assert made.names == ["shell"]


@pytest.mark.parametrize(
    ("options", "enabled", "words"),
    [
        ({}, ["nobody"], "pip install limpet-hook-nobody"),
        ({"shell.befor": "x"}, [], "possible: shell.before"),
        ({"shell.on_error": "ignore"}, [], "'ignore' is neither fail nor warn"),
    ],
)
def test_mistakes_are_told(options: dict[str, str], enabled: list[str], words: str) -> None:
    """A hook that was meant and does not run is found out too late."""
    with pytest.raises(UsageError, match=words):
        hooks(options, enabled)


def test_no_hooks_do_nothing() -> None:
    """The library's default must leave paths, tags and results alone."""
    none: RunHooks = NoHooks()
    reporter = SilentReporter()
    none.started()
    with none.prepared({"path": ["/x"]}) as read_from:
        assert read_from == {}
    assert none.excludes is None
    assert none.watching(reporter) is reporter
    none.ended(RunResult(1))


def test_order_is_as_named(site: Site) -> None:
    """Who names a mount before a check that reads from it wants them in this order."""
    source = """
        import sys

        from limpet.contracts.hooks import Hook, hookimpl

        class First(Hook):
            contract_version = 1
            word = "first"

            @hookimpl
            def limpet_run_started(self):
                print(self.word, file=sys.stderr)

        class Second(First):
            word = "second"
        """
    site.install(
        "two-hooks", {"limpet.hooks": {"z": "two_hooks:First", "a": "two_hooks:Second"}}, {"two_hooks": source}
    )
    done = site.run("from limpet.registry import hooks; hooks({}, ['z', 'a']).started()")
    assert done.stderr == "first\nsecond\n"
