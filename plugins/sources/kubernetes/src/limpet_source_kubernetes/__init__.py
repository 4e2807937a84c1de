"""Limpet source: Kubernetes volumes and manifests."""
