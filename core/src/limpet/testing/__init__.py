"""Conformance suites for plugins, shipped with the core; import them in tests only."""
