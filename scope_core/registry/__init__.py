"""The registry of parts: kinds, specs, entries, hooks and plugins."""
