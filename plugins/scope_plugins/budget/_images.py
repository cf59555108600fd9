"""The images that a budget per image applies to."""

from __future__ import annotations

from collections.abc import Sequence

from scope_core.parts import Group


def images_in(groups: Sequence[Group]) -> list[int]:
    """Images that have tokens, in the order in which `scope_core.parts.fill` expects their counts."""
    return list(dict.fromkeys(span.image for group in groups for span in group if span.tokens))
