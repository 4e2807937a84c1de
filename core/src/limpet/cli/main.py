"""The entry point: runs one command and turns whatever happens into restic's exit code and one line of text."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn

import click

from limpet.cli.exits import EXIT_BROKEN_PIPE, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_INTERRUPTED, CommandExit
from limpet.cli.group import CommandHelp, RootGroup, asks_for_json, prepare, unknown_flag
from limpet.cli.json_output import encode_json
from limpet.cli.screen import outlive_terminal
from limpet.cli.session import Session
from limpet.cli.signals import Interrupts, ignore_signals
from limpet.errors import HookError, LimpetError

COMPLETION_VARIABLE = "_LIMPET_COMPLETE"
"""Set by the completion scripts, see `limpet.cli.completion`."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code. `run` ends the process with it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    session = Session()
    interrupts = Interrupts()
    try:
        interrupts.install()  # in here: the first signal may come with the next line
        outlive_terminal()
        session.load_environment()
        if COMPLETION_VARIABLE in os.environ:
            return _complete(session, os.environ[COMPLETION_VARIABLE])
        exit_code = _run_with_hooks(session, arguments)
        session.terminal.flush()
        interrupts.end()
    except BrokenPipeError:
        return _end_on_broken_pipe()
    except BaseException as error:
        interrupts.end()
        try:
            if isinstance(error, click.UsageError) and asks_for_json(arguments):
                session.options.json = True  # the flags were not taken over: one of them was wrong
            return _report(session, error)
        except BrokenPipeError:
            return _end_on_broken_pipe()
    finally:
        session.close()
    return exit_code


def _complete(session: Session, instruction: str) -> int:
    """Answer the completion script of a shell."""
    from limpet.cli.completion import complete  # noqa: PLC0415  # only shells ask

    session.terminal.print(complete(instruction, root_command(), session))
    session.terminal.flush()
    return 0


def root_command() -> RootGroup:
    """A fresh root of the command tree."""
    root = RootGroup(
        "limpet",
        help="Limpet backs up files and other data into encrypted, deduplicated repositories in restic's format.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "obj": None},
    )
    prepare(root)
    root.add_command(_help_command())
    return root


def _run_with_hooks(session: Session, arguments: list[str]) -> int:
    """Run the command, and tell the hooks how it ended."""
    try:
        exit_code = _run(session, arguments)
    except BaseException as error:
        try:
            code, message = _explain(error)
            session.end_hooks(code, message.removeprefix("Fatal: "))
        except HookError as failure:
            if code == EXIT_INCOMPLETE:
                session.reporter.warning(message)
                raise
            session.reporter.warning(str(failure))  # the run's own error is the one to end with
        raise
    session.end_hooks(exit_code)
    return exit_code


def _run(session: Session, arguments: list[str]) -> int:
    try:
        # Not click's own `main`: it takes closed pipes and Ctrl-C for itself.
        root = root_command()
        with root.make_context("limpet", list(arguments), obj=session) as context:
            result = root.invoke(context)
    except CommandHelp as wanted:
        session.terminal.print(wanted.ctx.get_help())
        return 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return result if isinstance(result, int) else 0


def _help_command() -> click.Command:
    @click.command("help", help="Explain a command.", add_help_option=False)
    @click.argument("names", nargs=-1)
    @click.pass_context
    def show(ctx: click.Context, names: tuple[str, ...]) -> None:
        shown = ctx.find_root()
        for name in names:
            command = shown.command.get_command(shown, name) if isinstance(shown.command, click.Group) else None
            if command is None:
                raise CommandExit(EXIT_FAILED, f"unknown help topic: {' '.join(names)}")
            shown = click.Context(command, shown, info_name=name)
        ctx.obj.terminal.print(shown.get_help())

    return show


def _report(session: Session, error: BaseException) -> int:
    """Tell of the error as restic would, and give its exit code."""
    exit_code, message = _explain(error)
    if exit_code == EXIT_INTERRUPTED:
        # Python would end itself by SIGINT instead if the interrupt came through an exec of a text, as dataclasses do
        # while modules are imported; the next one makes it forget that.
        exec("")
    if session.options.debug and exit_code != EXIT_INTERRUPTED and not isinstance(error, CommandExit):
        import traceback  # noqa: PLC0415  # only wanted here

        session.terminal.error("".join(traceback.format_exception(error)))
    if session.options.json and message:
        session.terminal.error(encode_json({"message_type": "exit_error", "code": exit_code, "message": message}))
    elif message:
        session.terminal.error(message)
    return exit_code


def _explain(error: BaseException) -> tuple[int, str]:
    """The exit code and the lines for the user."""
    if _is_interrupt(error):
        return EXIT_INTERRUPTED, "interrupted"
    exit_code, message = EXIT_FAILED, f"Fatal: unexpected {type(error).__name__}: {error} (--debug shows where)"
    match error:
        case CommandExit():
            exit_code, message = error.exit_code, str(error)
        case LimpetError():
            exit_code, message = error.exit_code, f"Fatal: {error}" if error.is_fatal else str(error)
        case click.NoSuchOption():
            message = unknown_flag(error)
        case click.ClickException():
            message = f"Fatal: {error.format_message()}"
        case SystemExit():
            exit_code, message = (error.code if isinstance(error.code, int) else EXIT_FAILED), ""
        case MemoryError():
            message = "Fatal: out of memory"
        case OSError():
            message = f"Fatal: {error}"
    return exit_code, message


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: it may come out of an import as that module's error, or meet another one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # a plugin may have made an error its own cause
        if isinstance(error, KeyboardInterrupt | click.Abort):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _end_on_broken_pipe() -> int:
    """Nobody reads our output any more: end quietly, and let nothing be written at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return EXIT_BROKEN_PIPE


def run() -> NoReturn:
    """The installed script: ends the process with the exit code of `main`."""
    exit_code = main()
    if exit_code != EXIT_INTERRUPTED:
        atexit.register(ignore_signals)
        if threading.active_count() == 1:
            sys.exit(exit_code)
        atexit._run_exitfuncs()  # as Python's own end would: plugins and libraries may have something to remove
    # All is cleaned up. Python's own end would wait for threads that still hang in a call (an executor's even where
    # they are daemons), and might turn a second Ctrl-C into a death by signal, where scripts look for 130.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    run()
