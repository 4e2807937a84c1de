"""Limpet source: SQLite databases."""
