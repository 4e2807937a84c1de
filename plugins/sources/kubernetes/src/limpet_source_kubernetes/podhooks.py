"""Commands in pods before and after their volumes are read, from the annotations that Velero reads.

https://velero.io/docs/main/backup-hooks/ : `pre.hook.backup.velero.io/{command,container,on-error,timeout}`, and
`post.hook...` likewise. A command is one word or a JSON list, run without a shell.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import Any

from limpet.errors import SourceError

from limpet_source_kubernetes.api import Cluster
from limpet_source_kubernetes.container import Container
from limpet_source_kubernetes.telling import Telling

DEFAULT_LIMIT_S = 30.0
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")


class Phase(Enum):
    """When a hook runs, by the word that its annotations begin with."""

    PRE = "pre"
    POST = "post"


@dataclass(frozen=True, slots=True)
class PodHook:
    """One command in one container."""

    phase: Phase
    container: Container
    argv: Sequence[str]
    fails: bool
    """Whether the backup fails with it; else it is told, and the backup goes on."""
    limit_s: float

    @classmethod
    def of_pod(cls, phase: Phase, cluster: Cluster, pod: Mapping[str, Any]) -> PodHook | None:
        """The hook that the pod's annotations ask for; SourceError where they make no sense."""
        metadata = pod["metadata"]
        annotations = metadata.get("annotations") or {}
        start = f"{phase.value}.hook.backup.velero.io/"
        command = annotations.get(f"{start}command")
        if not command:
            return None
        where = f"pod {metadata['namespace']}/{metadata['name']}: annotation {start}"
        names = [str(container["name"]) for container in pod["spec"]["containers"]]
        name = annotations.get(f"{start}container") or names[0]
        if name not in names:
            raise SourceError(f"{where}container: the pod has no container {name!r} (it has {', '.join(names)})")
        on_error = annotations.get(f"{start}on-error") or "Fail"
        if on_error not in ("Fail", "Continue"):
            raise SourceError(f"{where}on-error: {on_error!r} is neither Fail nor Continue")
        limit_s = _seconds(annotations.get(f"{start}timeout"), f"{where}timeout")
        container = Container(cluster, str(metadata["namespace"]), str(metadata["name"]), name)
        return cls(phase, container, _argv(command, f"{where}command"), on_error == "Fail", limit_s)

    def run(self, telling: Telling) -> None:
        """Run it; SourceError if it fails, takes too long or nobody knows, and that is to fail the backup."""
        try:
            self._run(telling)
        except SourceError as error:
            if self.fails:
                raise
            telling.warning(f"{error}; going on (on-error: Continue)")

    def _run(self, telling: Telling) -> None:
        shown = f"{self.phase.value} hook in {self.container}"
        telling.note(f"{shown}: {self.argv[0]}")
        try:
            with closing(self.container.run(self.argv)) as command:
                code = command.wait(self.limit_s)
                said = f": {command.last_words}" if command.last_words else ""
        except TimeoutError as error:
            raise SourceError(f"{shown} did not end within {self.limit_s:g} s") from error
        except SourceError as error:
            raise SourceError(f"{shown}: {error}") from error
        if code:
            raise SourceError(f"{shown} failed: exit status {code}{said}")


class PodHooks:
    """The hooks of one pod: `before` once, `after` once, and always when there was a before. Thread-safe."""

    def __init__(self, pre: PodHook | None, post: PodHook | None, telling: Telling) -> None:
        self._pre = pre
        self._post = post
        self._telling = telling
        self._lock = threading.Lock()
        self._has_begun = self._has_ended = False
        self._readers = 0
        self._problem: SourceError | None = None

    @classmethod
    def of_pod(cls, cluster: Cluster, pod: Mapping[str, Any], telling: Telling) -> PodHooks:
        """What the annotations ask for."""
        pre, post = (PodHook.of_pod(phase, cluster, pod) for phase in Phase)
        return cls(pre, post, telling)

    def expect(self) -> None:
        """One more volume of the pod will be read."""
        self._readers += 1

    @property
    def is_alone(self) -> bool:
        """Whether no volume of the pod is read."""
        return self._readers == 0 and not self._has_begun

    def before(self) -> None:
        """Run the first, unless it was; SourceError if it failed."""
        with self._lock:
            if self._has_begun:
                return
            self._has_begun = True
            if self._pre is not None:
                self._pre.run(self._telling)

    def read(self) -> None:
        """A volume was read; after the last one the second hook runs. What goes wrong then is told by `after`."""
        with self._lock:
            self._readers -= 1
            if self._readers > 0:
                return
        try:
            self.after()
        except SourceError as error:
            self._problem = error

    def after(self) -> None:
        """Run the second if the first was to run, unless it was run; SourceError if it failed, now or before."""
        with self._lock:
            problem, self._problem = self._problem, None
            if problem is not None:
                raise problem
            if not self._has_begun or self._has_ended:
                return
            self._has_ended = True
            if self._post is not None:
                self._post.run(self._telling)


def _argv(text: str, where: str) -> Sequence[str]:
    if not text.startswith("["):
        return [text]
    try:
        words = json.loads(text)
    except ValueError as error:
        raise SourceError(f"{where}: {text!r} is no JSON list") from error
    if not words or not all(isinstance(word, str) for word in words):
        raise SourceError(f"{where}: {text!r} is no list of words")
    return list(words)


def _seconds(text: str | None, where: str) -> float:
    """A duration as Go writes it: `1m30s`."""
    if not text:
        return DEFAULT_LIMIT_S
    parts = list(_DURATION.finditer(text))
    if "".join(part[0] for part in parts) != text:
        raise SourceError(f"{where}: {text!r} is no duration, such as 30s or 1m30s")
    return sum(float(part[1]) * _UNITS_S[part[2]] for part in parts)
