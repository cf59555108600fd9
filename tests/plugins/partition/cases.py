"""A layout with an empty tile, an empty image and two prompts."""

from __future__ import annotations

from scope_core import Layout

LAYOUT = Layout.of([[2, 0, 3], 4, 0], prompts=[0, 1, 0])
