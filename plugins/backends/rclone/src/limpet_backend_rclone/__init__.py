"""Limpet backend: everything that rclone reaches."""
