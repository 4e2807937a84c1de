"""All that a plugin imports: the contracts of backends, sources and hooks, and how options are declared."""
