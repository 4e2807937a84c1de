"""Runs that a hook takes part in, without a repository: what is warned of, and what errors must not hold."""

from __future__ import annotations

from collections.abc import Mapping

from limpet.contracts.hooks import RunInfo, RunResult
from limpet.registry import hooks
from limpet.testing.listening import Listening


def told(plugin: str, options: Mapping[str, str], *results: RunResult, run: RunInfo) -> list[str]:
    """What is warned of in a run with the hook for each of the results."""
    reporter = Listening()
    for result in results:
        caller = hooks({f"{plugin}.{name}": value for name, value in options.items()}, run=run, reporter=reporter)
        caller.started()
        caller.ended(result)
    return reporter.warnings


def assert_hidden(secret: str, error: BaseException | None) -> None:
    """AssertionError if a traceback of the error would show the secret."""
    while error is not None:
        assert secret not in repr(error)
        error = error.__cause__
