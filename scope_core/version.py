"""The version of scope-core, written here and nowhere else: ``pyproject.toml`` reads this file without importing it."""

__version__ = "0.1.0"
