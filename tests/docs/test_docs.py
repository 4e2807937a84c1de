"""What the documentation shows is what happens: every command and every Python block is run, every link followed."""

from __future__ import annotations

import os
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from limpet.cli.commands import COMMANDS
from limpet.cli.main import root_command
from limpet.testing.restic import Restic
from limpet.testing.site import Site

from tests.docs.pages import Block, Command, blocks, broken_links, prose, script_commands, session_commands
from tests.docs.shell import Shell, same
from tests.mount.mounting import require_fuse
from tests.packaging.distributions import copy_workspace

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CHECKOUT = "checkout"
"""A second word on the fence: the block is run in a checkout, not in the reader's home."""
RUN = {"console", "sh", "python"}
SHOWN_ONLY = {"text", "json"}
OTHER_PROGRAMS = ("restic ", "make ", "umount ")


def page_name(page: Path) -> str:
    """The page as pytest shows it."""
    return page.name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of the documentation's reader: a folder `work`, and nothing else."""
    home = tmp_path / "home"
    work = home / "work"
    (work / "photos").mkdir(parents=True)
    (work / "photos" / "sea.jpg").write_bytes(random.Random(1).randbytes(2_000_000))
    (work / "photos" / "hills.jpg").write_bytes(random.Random(2).randbytes(700_000))
    (work / "thesis.txt").write_text("It was a dark and stormy night.\n" * 2000)
    (work / "build").mkdir()
    (work / "build" / "thesis.o").write_bytes(bytes(10_000))
    return home


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_what_a_page_shows_is_what_happens(
    page: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A reader who types what is shown and gets something else stops trusting the rest."""
    environment = {"PATH": os.pathsep.join([*path_of_programs(page, request), os.environ["PATH"]])}
    if page.name == "mount.md":
        require_fuse()
    if page.name == "plugins.md":
        environment["PYTHONPATH"] = str(install_examples(tmp_path, home).folder)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    for name in [name for name in os.environ if name.startswith(("LIMPET_", "RESTIC_"))]:
        monkeypatch.delenv(name)
    names: dict[str, object] = {"__name__": "__main__"}
    with Shell(home, environment) as shell:
        for block in runnable(page):
            if block.language == "python":
                code = compile("\n" * (block.line - 1) + block.text, page, "exec")
                exec(code, names)
            else:
                run_block(page, block, shell)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_quoted_code_is_that_of_the_file(page: Path) -> None:
    """Code that is quoted from a tested file is as good as tested, if it is really that code."""
    for block in blocks(page):
        if block.language == "python" and block.words:
            assert block.text in (ROOT / block.words[0]).read_text(), f"{page}:{block.line}: not in {block.words[0]}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_block_escapes(page: Path) -> None:
    """A block in a language that nobody runs would rot unseen."""
    for block in blocks(page):
        assert block.language in RUN | SHOWN_ONLY, f"{page}:{block.line}: run this, or mark it as text"


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted(path for path in ROOT.glob("*.md") if path.name != "README.md")], ids=page_name
)
def test_links_lead_somewhere(page: Path) -> None:
    """A dead link is the end of the way for somebody in need."""
    assert not broken_links(page)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_flags_exist(page: Path) -> None:
    """Most flags are explained in tables, where nobody runs them: a wrong one would stay wrong."""
    root = root_command()
    known = {flag for name in root.list_commands(click.Context(root)) for flag in flags_of(name)}
    for code in re.findall(r"`([^`]+)`", "\n".join(prose(page))):
        if not code.startswith(OTHER_PROGRAMS):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)) <= known, f"{page}: {code}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_is_documented(name: str) -> None:
    """A flag that these pages are silent about is found by nobody who needs it."""
    text = "".join((ROOT / "docs" / page).read_text() for page in ("guide.md", "restic.md", "configuration.md"))
    assert [flag for flag in flags_of(name) if not re.search(rf"{flag}(?![\w-])", text)] == []


def test_make_targets_exist() -> None:
    """The first commands a newcomer types are `make` commands."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert {"demo", "test"} <= named
    assert named <= targets


def test_installation_from_a_checkout(tmp_path: Path, home: Path) -> None:
    """If the documented installation fails nothing else matters."""
    checkout = home / "limpet"
    copy_workspace(checkout)
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # What our distributions need of others is here already; nothing is downloaded.
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TMPDIR": str(tmp_path),
    }
    with Shell(home, environment) as shell:
        shell.run("cd limpet")
        for page in PAGES:
            for block in blocks(page):
                if CHECKOUT in block.words:
                    run_block(page, block, shell)
        code, lines = shell.run("command -v limpet && limpet version")
    assert code == 0
    assert lines[0].startswith(str(home))


def with_subcommands(command: click.Command, context: click.Context) -> Iterator[click.Command]:
    """The command and all below it, to any depth."""
    yield command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from with_subcommands(found, context)


def flags_of(name: str) -> list[str]:
    """The long flags of a command, of its subcommands too; those that its help hides are left out."""
    root = root_command()
    context = click.Context(root, info_name="limpet", **root.context_settings)
    command = root.get_command(context, name)
    assert command is not None
    return [
        flag
        for each in with_subcommands(command, context)
        for option in each.params
        if isinstance(option, click.Option) and not option.hidden
        for flag in option.opts
        if flag.startswith("--")
    ] + ["--help"]


def runnable(page: Path) -> Iterator[Block]:
    """The blocks that are run in the reader's home, in order."""
    for block in blocks(page):
        if block.language in RUN and not block.words:
            yield block


def run_block(page: Path, block: Block, shell: Shell) -> None:
    """Run the block's commands; AssertionError where one fails, or says something else than is shown."""
    is_session = block.language == "console"
    commands = session_commands(block) if is_session else script_commands(block)
    for command, following in zip(commands, [*commands[1:], None], strict=True):
        code, lines = shell.run(command.text)
        real = [shell.as_shown(line) for line in lines]
        place = f"{page}:{command.line}: {command.text}\n" + "\n".join(real)
        assert code == 0 or (following is not None and following.asks_exit_code), f"{place}\nended with {code}"
        if is_session:
            assert same(command.output, real), f"{place}\nis not what is shown:\n" + "\n".join(command.output)


def path_of_programs(page: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The folder of `limpet`, and of a new restic for a page that calls one."""
    yield str(Path(sys.executable).parent)
    if any(re.match(r"(\w+=\S+ )*restic ", command.text) for command in all_commands(page)):
        restic = request.getfixturevalue("restic_new")
        assert isinstance(restic, Restic)
        yield str(restic.binary.parent)


def all_commands(page: Path) -> Iterator[Command]:
    """Every command of the page that is run in the reader's home."""
    for block in runnable(page):
        if block.language != "python":
            yield from session_commands(block) if block.language == "console" else script_commands(block)


def install_examples(tmp_path: Path, home: Path) -> Site:
    """The plugins of `examples/`, installed as a reader of the plugin page has them."""
    site = Site(tmp_path / "site", home)
    site.folder.mkdir()
    for project in sorted((ROOT / "examples").iterdir()):
        if (project / "pyproject.toml").is_file():
            site.install_project(project)
    return site
