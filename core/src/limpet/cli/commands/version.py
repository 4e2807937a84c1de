"""`limpet version`: which Limpet this is. Starts nothing and imports nothing heavy.

Called by the name `restic`, as by a wrapper that was given a link of that name, it answers with the version of the
restic whose command line this is: wrappers compare it before they do anything.
"""

from __future__ import annotations

import os
import sys

import click

import limpet
from limpet.cli.session import Session, pass_session

RESTIC_VERSION = "0.19.1"
"""The restic whose flags, words and documents are Limpet's."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


@click.command("version")
@pass_session
def command(session: Session) -> None:
    """Print version information."""
    as_restic = os.path.basename(sys.argv[0]) == "restic"
    python = "python{}.{}.{}".format(*sys.version_info[:3])
    system, machine = sys.platform, os.uname().machine if hasattr(os, "uname") else ""
    architecture = _ARCHITECTURES.get(machine, machine)
    if session.json:
        document = {
            "message_type": "version",
            "version": RESTIC_VERSION if as_restic else limpet.__version__,
            # restic's key; what runs us is told in it, for programs that show it
            "go_version": python,
            "go_os": system,
            "go_arch": architecture,
        }
        session.print_json(document)
        return
    limpet_name, restic_name = f"limpet {limpet.__version__}", f"restic {RESTIC_VERSION}"
    names = f"{restic_name} ({limpet_name})" if as_restic else f"{limpet_name} ({restic_name} command line)"
    session.print(f"{names} compiled with {python} on {system}/{architecture}")
