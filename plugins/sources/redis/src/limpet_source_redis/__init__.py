"""Limpet source: Redis databases."""
