"""Writes docs/commands.md: every command and flag of restic, and what Limpet does with it.

    python -m tests.parity.commands_page [RESTIC]

The rows come from restic's own help and from Limpet's commands; NOTES below holds what is not simply the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import click
from limpet.cli.commands import COMMANDS
from limpet.cli.main import root_command
from limpet.cli.option_table import DECLARATIONS
from limpet.cli.options import GlobalOption, GlobalOptions

from tests.parity.restic_help import Command, Flag, commands

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "commands.md"
RESTIC = ROOT / ".cache/peers/usr/bin/restic"
PROGRAM = "limpet"


class Handling(Enum):
    """What Limpet does with a command or flag of restic's."""

    SAME = "same"
    EXTENDED = "extended"
    NO_EFFECT = "no effect"
    OWN = "Limpet's own"


@dataclass(frozen=True, slots=True)
class Note:
    """What there is to say about a command or flag that is not simply the same."""

    handling: Handling
    text: str


NOTES: Mapping[tuple[str, str], Note] = {
    # -- flags of every command
    ("", "--cacert"): Note(Handling.SAME, "may also be given several times"),
    ("", "--cache-dir"): Note(Handling.SAME, "the cache is Limpet's own, `limpet` instead of `restic` in its path"),
    ("", "--limit-download"): Note(Handling.SAME, "a file that is read as a whole is paced with the next one"),
    ("", "--limit-upload"): Note(Handling.SAME, "a file is sent at full speed, and the next one waits"),
    ("", "--option"): Note(
        Handling.EXTENDED,
        "for plugins of all kinds; one of a name that neither a plugin nor a backend of restic's has is an error",
    ),
    ("", "--stuck-request-timeout"): Note(Handling.SAME, "a negative one is an error"),
    # -- commands
    ("backend benchmark", ""): Note(Handling.OWN, "measures a storage and suggests connections and the size of packs"),
    ("backup", ""): Note(Handling.EXTENDED, "several sources in one snapshot: paths, commands, standard input"),
    ("backup", "--read-concurrency"): Note(Handling.SAME, "large files only, and 1 by default: small ones are batched"),
    ("features", ""): Note(Handling.SAME, "`LIMPET_FEATURES` works, too; the table says what each does here"),
    ("forget", ""): Note(Handling.EXTENDED, "protected snapshots stay"),
    ("generate", ""): Note(Handling.SAME, "the shells ask Limpet, so that plugins' commands are completed, too"),
    ("mount", ""): Note(
        Handling.EXTENDED,
        "a package of its own, `limpet[mount]`: [Looking into snapshots](mount.md)",
    ),
    ("options", ""): Note(Handling.EXTENDED, "of all installed plugins, hooks and sources included"),
    ("plugin list", ""): Note(Handling.OWN, "all plugins, broken ones too"),
    ("plugin check", ""): Note(Handling.OWN, "runs the conformance suite of its kind with an installed plugin"),
    ("profile check", ""): Note(Handling.OWN, "every mistake with its file, line and key"),
    ("profile list", ""): Note(Handling.OWN, "the profiles of the configuration"),
    ("profile show", ""): Note(Handling.OWN, "what a profile comes to, and its command lines"),
    ("schedule install", ""): Note(Handling.OWN, "systemd's timers, or cron"),
    ("schedule list", ""): Note(Handling.OWN, "what is scheduled, and the next runs"),
    ("schedule remove", ""): Note(Handling.OWN, "exactly what was installed"),
    ("plugin info", ""): Note(Handling.OWN, "contract, options and origin of one"),
    ("self-update", ""): Note(
        Handling.NO_EFFECT,
        "says how this installation is updated and ends with 1: a Python package is updated by what installed it. "
        "Distributions build restic without this command",
    ),
    ("self-update", "--output"): Note(Handling.NO_EFFECT, "there is no single file to write"),
    ("snapshots", ""): Note(Handling.EXTENDED, "sizes and descriptions"),
    ("version", ""): Note(Handling.SAME, "it says `limpet` and the version of Python"),
}
"""By the command's name (empty for the flags of every command) and the flag (empty for the command itself)."""

DEPRECATED: Sequence[tuple[str, str, Note]] = (
    ("backup", "--hostname=x", Note(Handling.SAME, "warns, as restic does: use `--host`")),
    ("check", "--check-unused", Note(Handling.SAME, "warns and does nothing, as in restic")),
    ("forget", "--hostname=x", Note(Handling.SAME, "warns: use `--host`")),
    ("prune", "--repack-small", Note(Handling.SAME, "warns: small packs are repacked anyway")),
    ("snapshots", "--last", Note(Handling.SAME, "warns: use `--latest 1`")),
    *(
        (
            command,
            f"--{flag}=x",
            Note(Handling.SAME, "the forerunner of `--from-repo` and its kin; in `copy` it names the target"),
        )
        for command in ("copy", "init")
        for flag in ("repo2", "repository-file2", "password-file2", "key-hint2", "password-command2")
    ),
    ("rebuild-index", "", Note(Handling.SAME, "warns: it is `repair index` today")),
    ("mount", "--snapshot-template=x", Note(Handling.SAME, "warns: use `--time-template`")),
)
"""What restic takes and its help is silent about: command, flag with a value if it needs one, note."""

OF_BACKENDS = Note(Handling.SAME, "read by the backend; which ones its README says")
SAME = Note(Handling.SAME, "")
VARIABLES: Sequence[tuple[str, Note]] = (
    *(
        (f"RESTIC_{declared.variable}", SAME)
        for name, declared in DECLARATIONS.items()
        if name != "debug" and declared.variable
    ),
    ("RESTIC_PASSWORD", SAME),
    ("RESTIC_HOST", SAME),
    ("RESTIC_PROGRESS_FPS", Note(Handling.SAME, "what is no number is an error")),
    ("RESTIC_READ_CONCURRENCY", SAME),
    ("RESTIC_IGNORE_CTIME", Note(Handling.SAME, "what is neither true nor false is an error")),
    ("RESTIC_IGNORE_INODE", Note(Handling.SAME, "what is neither true nor false is an error")),
    ("RESTIC_FEATURES", SAME),
    *(
        (f"RESTIC_FROM_{name}", SAME)
        for name in ("REPOSITORY", "REPOSITORY_FILE", "PASSWORD", "PASSWORD_FILE", "PASSWORD_COMMAND", "KEY_HINT")
    ),
    ("TMPDIR", SAME),
    ("RESTIC_REST_USERNAME, RESTIC_REST_PASSWORD", OF_BACKENDS),
    ("AWS_*, RESTIC_AWS_*", OF_BACKENDS),
    ("AZURE_*, B2_*, GOOGLE_*, OS_*, ST_*, RCLONE_*", OF_BACKENDS),
)
"""The environment variables of restic's manual (section Scripting)."""

INTRODUCTION = """\
# Commands and flags, beside restic's

Every command and flag of restic 0.19.1 and what Limpet does with it. This page is written by
`python -m tests.parity.commands_page` from restic's own help; `make test` compares it with the real program and fails
where a flag is missing, or is taken with another kind of value, and this page does not say why.

- **same**: what it does in restic it does here. Whatever is remarked is a detail.
- **extended**: the same, and more.
- **no effect**: it is accepted, and nothing comes of it.
- **Limpet's own**: restic does not have it.
"""


def page(restic: Path) -> str:
    """The whole page."""
    found = commands(restic)
    names = sorted({command.name for command in found} | {" ".join(path) for path in _own_commands()})
    lines = [INTRODUCTION, "## Commands", "", "| command | Limpet | |", "|---|---|---|"]
    known = {command.name: command for command in found}
    lines += [_row(_link(name), note_of(known.get(name), name)) for name in names if name]
    for name in names:
        lines += ["", *_section(name, known.get(name))]
    lines += ["", "## No longer in help", "", "restic still takes these, and warns.", ""]
    lines += ["| flag | Limpet | |", "|---|---|---|"]
    lines += [_row(f"`restic {f'{name} {flag}'.partition('=')[0].strip()}`", note) for name, flag, note in DEPRECATED]
    lines += ["", "## Environment variables", "", "`LIMPET_X` comes before `RESTIC_X`.", ""]
    lines += ["| variable | Limpet | |", "|---|---|---|"]
    lines += [_row(f"`{variable}`", note) for variable, note in VARIABLES]
    return "\n".join(lines) + "\n"


def note_of(command: Command | None, name: str, flag: Flag | None = None) -> Note:
    """What NOTES says, else whether Limpet has it."""
    noted = NOTES.get((name, "" if flag is None else flag.name))
    if noted is not None:
        return noted
    if command is None:
        return Note(Handling.OWN, COMMANDS.get(name, ""))
    return SAME


def limpet_command(path: Sequence[str]) -> click.Command | None:
    """Limpet's command of that name; None where there is none."""
    command: click.Command | None = root_command()
    context = click.Context(command, info_name=PROGRAM, **command.context_settings) if command else None
    for name in path:
        if not isinstance(command, click.Group) or context is None:
            return None
        command = command.get_command(context, name)
        if command is None:
            return None
        context = click.Context(command, context, info_name=name)
    return command


def limpet_options(path: Sequence[str]) -> dict[str, click.Option]:
    """Limpet's own options of the command by each spelling, for no path those of every command; hidden ones too."""
    command = limpet_command(path)
    if command is None:
        return {}
    found = [option for option in command.params if isinstance(option, click.Option)]
    chosen = [option for option in found if isinstance(option, GlobalOption) == (not path)]
    return {flag: option for option in chosen for flag in option.opts}


def default_of(option: click.Option) -> object:
    """The option's default, that of an option of every command included."""
    if isinstance(option, GlobalOption) and option.name is not None:
        return getattr(GlobalOptions(), option.name.removeprefix("global_"))
    return option.default


def _own_commands() -> Iterator[tuple[str, ...]]:
    """The paths of all Limpet's commands that its help shows; those of plugins are not ours to describe."""
    for name in COMMANDS:
        command = limpet_command([name])
        assert command is not None
        yield (name,)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)


def _section(name: str, command: Command | None) -> Iterator[str]:
    """The heading and the table of one command's flags."""
    yield f"## {name or 'Flags of every command'}"
    yield ""
    rows = list(_flag_rows(name, command))
    if not rows:
        yield "No flags of its own."
        return
    yield from ["| flag | Limpet | |", "|---|---|---|", *rows]


def _flag_rows(name: str, command: Command | None) -> Iterator[str]:
    shown: set[str] = {"--help"}
    for flag in command.flags if command else ():
        if flag.name not in shown:
            yield _row(_code(flag.spellings, flag.value), note_of(command, name, flag))
            shown.update(flag.spellings)
    options = {id(option): option for option in limpet_options(name.split()).values() if not option.hidden}
    for option in options.values():
        if shown.isdisjoint(option.opts):
            long = max(option.opts, key=len)
            note = NOTES.get((name, long), Note(Handling.OWN, " ".join((option.help or "").split())))
            value = None if option.is_flag or option.count else option.metavar or "value"
            yield _row(_code(option.opts, value), note)


def _code(spellings: Sequence[str], value: str | None) -> str:
    return "`" + ", ".join(spellings) + (f" {value}" if value else "").replace("|", "\\|") + "`"


def _row(first: str, note: Note) -> str:
    return f"| {first} | {note.handling.value} | {note.text} |"


def _link(name: str) -> str:
    return f"[{name}](#{name.replace(' ', '-')})"


if __name__ == "__main__":
    PAGE.write_text(page(Path(sys.argv[1]) if len(sys.argv) > 1 else RESTIC))
