"""One file for each command of ``scope``."""
