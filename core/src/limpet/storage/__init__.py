"""Backends that wrap a backend, and the in-memory reference."""
