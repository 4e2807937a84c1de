"""Limpet source: MariaDB and MySQL databases."""
