"""The suite that every source passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.source import Source, SourceRequest
from limpet.testing.source import SourceConformance, open_descriptors, read_all
from limpet_source_kubernetes import KubernetesSource

from tests.services.kubernetes_server import KubernetesServer, kubelet_root
from tests.sources.runs import wait_until


class _BesideTheServer(SourceConformance):
    """The stand-in is in our own process: its ends of connections are open a moment longer than ours."""

    def test_leaves_no_descriptor_open(self, source: Source) -> None:
        """A backup of many folders would run out of descriptors."""
        before = open_descriptors()
        read_all(source)
        source.finish()
        source.close()
        wait_until(lambda: open_descriptors() - before == set())


class TestExec(_BesideTheServer):
    """A volume read by tar in the running pod."""

    @pytest.fixture
    def source(self, cluster: KubernetesServer, few: Path) -> Iterator[Source]:
        options = {"kubeconfig": str(cluster.kubeconfig), "method": "exec"}
        source = KubernetesSource.open(SourceRequest([f"//prod/{few.name}"], options))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, cluster: KubernetesServer) -> SourceRequest:
        return SourceRequest(["//prod/nowhere"], {"kubeconfig": str(cluster.kubeconfig)})


class TestNamespace(_BesideTheServer):
    """Manifests, and the files of the node."""

    @pytest.fixture
    def source(self, cluster: KubernetesServer, few: Path, tmp_path: Path) -> Iterator[Source]:
        root = kubelet_root(tmp_path, few)
        options = {"kubeconfig": str(cluster.kubeconfig), "method": "node", "kubelet_root": str(root)}
        source = KubernetesSource.open(SourceRequest(["//prod"], options))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, cluster: KubernetesServer) -> SourceRequest:
        return SourceRequest(["//nowhere"], {"kubeconfig": str(cluster.kubeconfig)})
