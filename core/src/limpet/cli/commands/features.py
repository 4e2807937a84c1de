"""`limpet features`: restic's feature flags and what they do here."""

from __future__ import annotations

import click

from limpet.cli.features import FEATURES
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table


@click.command("features")
@pass_session
def command(session: Session) -> None:
    """Print list of feature flags.

    Feature flags are set by LIMPET_FEATURES or RESTIC_FEATURES, as in "featureA=true,featureB=false". An unknown one
    is an error. An alpha feature is off by default, a beta feature on, a stable one cannot be switched off.
    """
    rows = [
        [feature.name, feature.stage.value, str(feature.stage.default).lower(), feature.meaning] for feature in FEATURES
    ]
    session.print("All Feature Flags:\n")
    session.print(format_table(["Name", "Type", "Default", "Description"], rows))
