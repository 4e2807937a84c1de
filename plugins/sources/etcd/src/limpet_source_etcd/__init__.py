"""Limpet source: etcd key spaces."""
