"""`limpet serve verify`: every stored file of a server's data directory is read and hashed once."""

from __future__ import annotations

from pathlib import Path

import click
from limpet.cli.formatting import format_bytes
from limpet.cli.parameters import SIZE
from limpet.cli.session import Session, pass_session
from limpet.errors import IntegrityError, UsageError

from limpet_command_serve.verify import Verifier
from limpet_command_serve.verify_files import FolderFiles


@click.command("verify")
@click.option("--path", required=True, metavar="directory", help="data directory of the server")
@click.option("--rate", type=SIZE, metavar="size", help="most to read in a second (default: no limit)")
@click.option("--report", metavar="file", help="write what was found into this file, too, and go on from it")
@pass_session
def verify_command(session: Session, *, path: str, rate: int | None, report: str | None) -> None:
    """Check that each stored file is what its name says; needs no password. The server may run meanwhile."""
    if not Path(path).is_dir():
        raise UsageError(f"there is no data directory {path}: --path names it")
    verifier = Verifier(
        FolderFiles(Path(path)),
        rate_bps=rate,
        tell=session.terminal.error,
        report_path=None if report is None else Path(report),
    )
    verifier.run_round()
    looked_at, damaged = verifier.report.current, verifier.report.damaged
    if session.json:
        session.print_json(verifier.report.document())
    else:
        session.say(f"read {looked_at.files} files, {format_bytes(looked_at.bytes)}")
    if damaged:
        word = "file is" if len(damaged) == 1 else "files are"
        raise IntegrityError(
            f"{len(damaged)} {word} damaged: copy them back from another repository, or run `limpet repair`"
        )
