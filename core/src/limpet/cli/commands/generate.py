"""`limpet generate`: manual pages, and completion for bash, fish, zsh and PowerShell."""

from __future__ import annotations

from pathlib import Path

import click

from limpet.cli.completion import completion_script
from limpet.cli.manpages import manual_pages
from limpet.cli.session import Session, pass_session
from limpet.errors import UsageError

STDOUT = "-"
SHELLS = ("bash", "fish", "zsh", "powershell")


@click.command("generate")
@click.option("--man", metavar="directory", help="write man pages to directory")
@click.option("--bash-completion", metavar="file", help="write bash completion file (`-` for stdout)")
@click.option("--fish-completion", metavar="file", help="write fish completion file (`-` for stdout)")
@click.option("--zsh-completion", metavar="file", help="write zsh completion file (`-` for stdout)")
@click.option("--powershell-completion", metavar="file", help="write powershell completion file (`-` for stdout)")
@click.pass_context
@pass_session
def command(session: Session, ctx: click.Context, /, *, man: str | None, **completions: str | None) -> None:
    """Generate manual pages and auto-completion files (bash, fish, zsh, powershell).

    A shell that has loaded its file completes commands, flags, their values and paths.
    """
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    wanted = {shell: file for shell in SHELLS if (file := completions[f"{shell}_completion"])}
    if not man and not wanted:
        raise UsageError("nothing to do, please specify at least one output file/dir")
    if list(wanted.values()).count(STDOUT) > 1:
        raise UsageError("the generate command can generate shell completions to stdout for single shell only")
    if man:
        session.say(f"writing man pages to directory {man}")
        for name, text in manual_pages(root):
            Path(man, name).write_text(text)
    for shell, file in wanted.items():
        script = completion_script(shell, root)
        if file == STDOUT:
            session.print(script)
            continue
        if session.terminal.output_is_terminal:
            session.say(f"writing {shell} completion file to {file}")
        Path(file).write_text(script)
