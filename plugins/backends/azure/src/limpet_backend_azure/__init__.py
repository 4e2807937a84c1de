"""Limpet backend: Azure Blob Storage."""
