"""Completion for shells: the scripts they load, and the answers that these scripts ask the program for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from limpet.errors import LimpetError, UsageError

if TYPE_CHECKING:
    import click

PROGRAM = "limpet"
VARIABLE = "_LIMPET_COMPLETE"
"""Set by the scripts to `SHELL_complete`; the program then prints completions instead of doing its work."""

_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName '%(prog_name)s' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $before = $commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition }
    $env:COMP_WORDS = ($before | ForEach-Object { $_.Extent.Text }) -join "`n"
    $env:COMP_INCOMPLETE = $wordToComplete
    $env:%(complete_var)s = 'powershell_complete'
    try { $answers = & '%(prog_name)s' } finally {
        Remove-Item Env:COMP_WORDS, Env:COMP_INCOMPLETE, Env:%(complete_var)s -ErrorAction SilentlyContinue
    }
    foreach ($answer in $answers) {
        $type, $value, $help = $answer -split "`t", 3
        if ($type -eq 'plain') {
            [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
        } else {
            [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete)
        }
    }
}
"""


class _OrFiles(ShellComplete):
    """Files where the command knows nothing better: most arguments and values of options are paths."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        try:
            found = super().get_completions(args, incomplete)
        except LimpetError:  # a plugin that is broken: its command has nothing to offer
            found = []
        if found or incomplete.startswith("-"):
            return found
        return [CompletionItem(incomplete, type="file")]


class Bash(_OrFiles, BashComplete):
    """For bash from 4.4 on."""

    # By its name, not by what was typed: that may be an alias.
    source_template = BashComplete.source_template.replace(" $1)", " %(prog_name)s)")

    @staticmethod
    def _check_version() -> None:
        """Nothing: the script may be meant for another machine."""


class Zsh(_OrFiles, ZshComplete):
    """For zsh."""


class Fish(_OrFiles, FishComplete):
    """For fish."""


class PowerShell(_OrFiles):
    """For PowerShell from 5 on. Untested: no PowerShell was at hand."""

    name = "powershell"
    source_template = _POWERSHELL

    def get_completion_args(self) -> tuple[list[str], str]:
        words = [word for text in os.environ["COMP_WORDS"].split("\n") for word in split_arg_string(text)]
        return words[1:], os.environ.get("COMP_INCOMPLETE", "")

    def format_completion(self, item: CompletionItem[str]) -> str:
        return "\t".join([item.type, item.value, " ".join((item.help or item.value).split())])


SHELLS: dict[str, type[_OrFiles]] = {shell.name: shell for shell in (Bash, Zsh, Fish, PowerShell)}


def completion_script(shell: str, root: click.Command) -> str:
    """The script that a shell of this name loads."""
    return SHELLS[shell](root, {}, PROGRAM, VARIABLE).source()


def complete(instruction: str, root: click.Command, state: object) -> str:
    """The answer to a script: lines in the form it expects. UsageError for an instruction that is none."""
    shell, _, word = instruction.partition("_")
    if shell not in SHELLS or word != "complete":
        raise UsageError(f"{VARIABLE} is set to {instruction!r}: only scripts of `limpet generate` set it")
    return SHELLS[shell](root, {"obj": state}, PROGRAM, VARIABLE).complete()
