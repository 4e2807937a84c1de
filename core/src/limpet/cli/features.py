"""restic's feature flags, `RESTIC_FEATURES` and `LIMPET_FEATURES`: which there are, and what they mean here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from limpet.cli.environment import environment
from limpet.errors import UsageError

_TRUE_WORDS = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE_WORDS = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Stage(Enum):
    """How far a feature is. Only alpha and beta ones can be switched; stable ones are always on."""

    ALPHA = "alpha"
    BETA = "beta"
    STABLE = "stable"
    DEPRECATED = "deprecated"

    @property
    def default(self) -> bool:
        return self in {Stage.BETA, Stage.STABLE}

    @property
    def is_fixed(self) -> bool:
        return self in {Stage.STABLE, Stage.DEPRECATED}


@dataclass(frozen=True, slots=True)
class Feature:
    """One flag: its stage in restic 0.19.1, and what Limpet does about it."""

    name: str
    stage: Stage
    meaning: str


FEATURES = (
    Feature("backend-error-redesign", Stage.BETA, "give up requests that hang (--stuck-request-timeout); off: never"),
    Feature(
        "deprecate-legacy-index",
        Stage.STABLE,
        "do not read the index format of restic 0.1.0; `repair index` writes such an index anew",
    ),
    Feature("deprecate-s3-legacy-layout", Stage.STABLE, "do not read the folder layout that restic 0.7.0 used on S3"),
    Feature(
        "device-id-for-hardlinks",
        Stage.ALPHA,
        "store device numbers for hard links only; Limpet always does, whatever is set here",
    ),
    Feature("explicit-s3-anonymous-auth", Stage.STABLE, "go without credentials on S3 only if an option says so"),
    Feature("s3-restore", Stage.ALPHA, "fetch objects from cold S3 storage classes; here `-o` alone decides"),
    Feature("safe-forget-keep-tags", Stage.STABLE, "refuse `forget --keep-tag` with a tag that no snapshot has"),
)
"""Sorted by name."""


def read_features(warn: Callable[[str], None]) -> Mapping[str, bool]:
    """Every feature and whether it is on, by the environment; UsageError for an unknown name or a word that is no bool.

    A feature that cannot be switched is warned about, as in restic.
    """
    enabled = {feature.name: feature.stage.default for feature in FEATURES}
    known = {feature.name: feature for feature in FEATURES}
    for name, wanted in _parse(environment("FEATURES") or "").items():
        if name not in known:
            raise UsageError(f'unknown feature flag "{name}" (`limpet features` lists those there are)')
        stage = known[name].stage
        if stage.is_fixed:
            word = "enabled" if stage.default else "disabled"
            warn(f'feature flag "{name}" is always {word} and will be removed in a future release')
        else:
            enabled[name] = wanted
    return enabled


def _parse(text: str) -> dict[str, bool]:
    """`a=true,b=false,c` as names and values; a name alone is on."""
    chosen: dict[str, bool] = {}
    for part in text.split(",") if text else ():
        name, equals, word = part.partition("=")
        if equals and word not in _TRUE_WORDS | _FALSE_WORDS:
            raise UsageError(f'failed to parse value "{word}" for feature flag {name}: write true or false')
        chosen[name] = not equals or word in _TRUE_WORDS
    return chosen
