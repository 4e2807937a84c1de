"""Repairs of a damaged repository: each makes do with what is still there."""
