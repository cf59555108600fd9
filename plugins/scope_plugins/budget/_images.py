"""Which images a budget per image is for."""

from __future__ import annotations

from collections.abc import Sequence

from scope_core.parts import Group


def images_in(groups: Sequence[Group]) -> list[int]:
    """Images that have tokens, in the order in which `scope_core.parts.fill` wants their counts."""
    return list(dict.fromkeys(span.image for group in groups for span in group if span.tokens))
