"""Limpet source: PostgreSQL databases."""
