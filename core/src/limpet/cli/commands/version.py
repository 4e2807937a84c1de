"""`limpet version`: which Limpet this is. Starts nothing and imports nothing heavy."""

from __future__ import annotations

import os
import sys

import click

import limpet
from limpet.cli.session import Session, pass_session

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


@click.command("version")
@pass_session
def command(session: Session) -> None:
    """Print version information."""
    number = limpet.__version__
    python = "{}.{}.{}".format(*sys.version_info[:3])
    system, machine = sys.platform, os.uname().machine if hasattr(os, "uname") else ""
    architecture = _ARCHITECTURES.get(machine, machine)
    if session.json:
        document = {
            "message_type": "version",
            "version": number,
            # restic's key; what runs us is told in it, for programs that show it
            "go_version": f"python{python}",
            "go_os": system,
            "go_arch": architecture,
        }
        session.print_json(document)
    else:
        session.print(f"limpet {number} running on Python {python} on {system}/{architecture}")
