"""What a message says: a title of one line, and the facts, figures and last lines of the run."""

from __future__ import annotations

import string
from collections.abc import Sequence

from limpet.contracts.hooks import RunInfo, RunResult
from limpet.contracts.run_report import outcome, report_lines, report_title
from limpet.errors import UsageError

FIELDS = ("command", "hostname", "outcome", "exit_code", "profile", "repository")


def verify_title(template: str) -> None:
    """UsageError for a title with a field that there is none of."""
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
        wrong = [name for _, name, form, conversion in fields if name not in FIELDS or form or conversion]
    except ValueError as error:
        raise UsageError(f"notify.title: {error}") from error
    if wrong:
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise UsageError(f"notify.title: there is no {{{wrong[0]}}}; possible: {known}")


def title(template: str | None, run: RunInfo, result: RunResult) -> str:
    """The title in one line."""
    made = report_title(run, result)
    if template:
        values = (run.command, run.hostname, outcome(result), result.exit_code, run.profile, run.location)
        made = template.format_map(dict(zip(FIELDS, values, strict=True)))
    return plain(made).replace("\n", " ")


def body(run: RunInfo, result: RunResult, log_lines: int) -> str:
    """The facts of the run and its last lines."""
    last: Sequence[str] = result.log[-log_lines:] if log_lines > 0 else ()
    left_out = len(result.log) - len(last)
    lines = [*report_lines(run, result)]
    if last:
        lines += ["", *([f"({left_out} earlier lines are left out)"] if left_out else []), *last]
    return plain("\n".join(lines))


def plain(text: str) -> str:
    """The text in valid UTF-8, without control characters."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)
