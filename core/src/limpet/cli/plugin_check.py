"""Runs the conformance suite of an installed plugin's kind in a pytest of its own, and reads what came of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from limpet.errors import UsageError
from limpet.registry.kinds import PluginKind

VARIABLE = "LIMPET_CHECK"
_NODE = re.compile(r"^\S+::TestInstalled\w+::")


@dataclass(frozen=True, slots=True)
class Subject:
    """The plugin to check, and what the suite of its kind is told: `name`, `options`, and what the kind needs."""

    kind: PluginKind
    name: str
    given: Mapping[str, object] = field(repr=False)
    """May hold secrets."""

    @property
    def suite(self) -> str:
        """The module of the suite, and in it one class."""
        return f"limpet.testing.installed.{self.kind.value}"


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """One test that did not pass: why it failed, or why it was not run."""

    test: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How many tests passed, and the others."""

    passed: int
    skipped: list[TestOutcome]
    failed: list[TestOutcome]


def run_conformance(subject: Subject, *, only: str | None = None, tell: Callable[[str], object]) -> CheckResult:
    """The suite's result; `tell` gets each line that pytest prints.

    UsageError where there is no pytest, or no test is left by `only`.
    """
    if find_spec("pytest") is None:
        raise UsageError("the conformance suites are run by pytest, which is not installed: `pip install pytest`")
    with tempfile.TemporaryDirectory(prefix="limpet-check-") as folder:
        results = Path(folder, "results.xml")
        configuration = Path(folder, "pytest.ini")
        configuration.write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-c", str(configuration), "--rootdir", folder]
        command += [
            "--noconftest",
            "-p",
            "no:cacheprovider",
            "--junitxml",
            str(results),
            "-v",
            "--tb=short",
            "--no-header",
        ]
        command += ["--color=no", *(["-k", only] if only else []), "--pyargs", subject.suite]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        # Nothing in the folder where somebody happens to be is run: no conftest.py, no module that shadows another.
        environment = {**inherited, "PYTHONSAFEPATH": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        environment[VARIABLE] = json.dumps(subject.given)
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                text = line.decode(errors="replace").rstrip("\n")
                tell(_NODE.sub("", text))
        if not results.exists():
            raise UsageError(f"pytest could not run the suite (exit code {process.returncode}): see what it said above")
        return _read(results)


def _read(results: Path) -> CheckResult:
    passed = 0
    skipped: list[TestOutcome] = []
    failed: list[TestOutcome] = []
    cases = list(ET.parse(results).getroot().iter("testcase"))
    if not cases:
        raise UsageError("no test was left to run: look at --only")
    for case in cases:
        name = case.get("name", "")
        outcome = next((child for child in case if child.tag in {"skipped", "failure", "error"}), None)
        if outcome is None:
            passed += 1
            continue
        reason = outcome.get("message", "").partition("\n")[0]
        (skipped if outcome.tag == "skipped" else failed).append(TestOutcome(name, reason))
    return CheckResult(passed, skipped, failed)
