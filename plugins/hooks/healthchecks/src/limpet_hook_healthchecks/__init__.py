"""Limpet hook: tell a healthchecks server how runs went."""
