"""Limpet backend: the object stores that Apache Libcloud reaches."""
