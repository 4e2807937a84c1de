"""Limpet backend: Azure Blob Storage."""

from limpet_backend_azure.backend import AzureBackend

__all__ = ["AzureBackend"]
