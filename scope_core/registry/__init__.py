"""Naming and finding parts: kinds, specs, entries, hooks, plugins, the registry."""
