"""What a Kubernetes source delivers, read in this process as the core would: quick, and without a repository."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from stat import S_IFREG, S_ISDIR

import pytest
from limpet.contracts.destination import DestinationRequest, Piece, StoredFile, StoredStatus
from limpet.contracts.options import OptionValue
from limpet.contracts.source import SourceRequest
from limpet.errors import SourceError, UsageError
from limpet.progress import SilentReporter
from limpet_source_kubernetes import KubernetesDestination, KubernetesSource

from tests.services.kubernetes_server import KubernetesServer


@dataclass(slots=True)
class Delivered:
    """Contents by path (folders end in a slash), and what was said."""

    contents: dict[str, bytes] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    """Warnings and errors."""
    error_count: int = 0


class _Listener(SilentReporter):
    """Writes down what it is told."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def warning(self, text: str) -> None:
        self._said.append(text)

    def error(self, error: Exception, *, during: str, item: str) -> None:
        self._said.append(str(error))


@contextmanager
def opened(
    cluster: KubernetesServer, place: str, said: list[str], **options: OptionValue
) -> Iterator[KubernetesSource]:
    """The source of a place such as `prod/data`, closed in the end."""
    given = {"kubeconfig": str(cluster.kubeconfig), **options}
    source = KubernetesSource.open(SourceRequest([f"//{place}"], given, reporter=_Listener(said)))
    try:
        yield source
    finally:
        source.close()


def delivered(cluster: KubernetesServer, place: str, **options: OptionValue) -> Delivered:
    """All that it delivers, closed in the end; its errors as they are."""
    found = Delivered()
    with opened(cluster, place, found.said, **options) as source:
        for target in source.targets():
            for folder in source.folders(target):
                for entry in folder.entries:
                    path = os.fsdecode(folder.path + b"/" + entry.name)
                    if S_ISDIR(entry.stat.st_mode):
                        found.contents[path + "/"] = b""
                    elif entry.stream is not None:
                        try:
                            with entry.stream() as stream:
                                found.contents[path] = stream.read()
                        except OSError as error:
                            found.said.append(f"{path}: {error.strerror}")
        source.finish()
        found.error_count = source.error_count
    return found


def received(cluster: KubernetesServer, place: str, files: Mapping[str, bytes], **options: OptionValue) -> list[str]:
    """What was said while a destination such as `prod/copy` took these files, by their paths in a snapshot."""
    said: list[str] = []
    given = {"kubeconfig": str(cluster.kubeconfig), **options}
    destination = KubernetesDestination.open(DestinationRequest(f"//{place}", given, _Listener(said)))
    try:
        for path in destination.wanted(list(files)):
            destination.receive(_stored(path, files[path]))
        destination.finish()
    finally:
        destination.close()
    return said


def _stored(path: str, content: bytes) -> StoredFile:
    status = StoredStatus(S_IFREG | 0o644, os.geteuid(), os.getegid(), 0)
    return StoredFile(path, len(content), lambda: iter([Piece(len(content), content)]), status)


def refused(cluster: KubernetesServer, place: str, **options: OptionValue) -> str:
    """Why nothing of it may be saved, one line; AssertionError if it delivers all."""
    with pytest.raises((SourceError, UsageError)) as caught:
        delivered(cluster, place, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
