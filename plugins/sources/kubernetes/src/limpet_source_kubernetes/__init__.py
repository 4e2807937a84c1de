"""Limpet source: volumes and manifests of a Kubernetes cluster."""

from limpet_source_kubernetes.destination import KubernetesDestination
from limpet_source_kubernetes.source import KubernetesSource

__all__ = ["KubernetesDestination", "KubernetesSource"]
