"""Limpet hook: passwords from the system's keyring or a secret store."""
