"""``python -m scope_core`` is ``scope``."""

from __future__ import annotations

from scope_core.cli import main

if __name__ == "__main__":
    main()
