"""Limpet source: etcd clusters, as the snapshots that etcd itself makes."""

from limpet_source_etcd.destination import EtcdDestination
from limpet_source_etcd.source import EtcdSource

__all__ = [
    "EtcdDestination",
    "EtcdSource",
]
