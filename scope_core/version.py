"""The version of scope-core, defined only here: ``pyproject.toml`` reads this file without importing it."""

__version__ = "0.1.0"
