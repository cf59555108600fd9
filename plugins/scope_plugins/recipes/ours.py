"""Candidates of our own. None is registered: a recipe earns its name by measurement (see the benchmarks)."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes.scope import SCOPE

TEXT = {"name": "text_facility_location", "against": "projected", "temperature": 0.02, "rows": "mean"}

RECIPES = (
    Recipe(
        "scope_text",
        {**SCOPE, "coverage": {"name": "stacked", "of": ["facility_location", TEXT], "weights": [1.0, 50.0]}},
        "SCOPE whose coverage has rows for the text's tokens too",
        paper="SCOPE, arXiv 2510.24214; text rows as in MMTok, arXiv 2508.18264",
    ),
    Recipe(
        "scope_merge",
        {**SCOPE, "merger": "average"},
        "SCOPE, the dropped tokens averaged into the kept ones they resemble most",
        paper="SCOPE, arXiv 2510.24214; merging as in ToMe, arXiv 2210.09461",
    ),
)
