"""Counts that budgets plan."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from scope_core import Layout, Pruner

TILES = st.lists(st.lists(st.integers(0, 600), min_size=1, max_size=4), min_size=1, max_size=4)


def counts(budget: Any, tiles: list[list[int]], partition: str = "image") -> tuple[int, ...]:
    return Pruner({"recipe": "scope", "budget": budget, "partition": partition}).plan(Layout.of(tiles)).counts
