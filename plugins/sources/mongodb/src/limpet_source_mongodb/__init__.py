"""Limpet source: MongoDB databases."""
