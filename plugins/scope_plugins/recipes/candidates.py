"""Our own candidates for recipes. They are not registered, since no benchmark shows yet that they are better."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes.scope import SCOPE

TEXT = {"name": "text_facility_location", "against": "projected", "temperature": 0.02, "rows": "mean"}

RECIPES = (
    Recipe(
        "scope_text",
        {**SCOPE, "coverage": {"name": "stacked", "of": ["facility_location", TEXT], "weights": [1.0, 50.0]}},
        "SCOPE whose coverage also has rows for the text's tokens",
        paper="SCOPE, arXiv 2510.24214; text rows as in MMTok, arXiv 2508.18264",
    ),
    Recipe(
        "scope_merge",
        {**SCOPE, "merger": "average"},
        "SCOPE, with dropped tokens averaged into the most similar kept ones",
        paper="SCOPE, arXiv 2510.24214; merging as in ToMe, arXiv 2210.09461",
    ),
)
