"""Limpet backend: S3 and what speaks its protocol."""

from limpet_backend_s3.backend import S3Backend

__all__ = ["S3Backend"]
