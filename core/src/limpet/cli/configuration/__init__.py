"""`limpet.toml`: profiles of what is backed up where, found, read, checked and carried out by `limpet run`."""
