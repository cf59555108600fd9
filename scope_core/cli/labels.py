"""Labels of methods in tables, all different."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def told_apart(labels: Sequence[str], files: Sequence[str]) -> list[str]:
    """``labels``, of which the second and later equal ones get the name of their file, or a number.

    Labels say what differs from the recipe; they are equal where specs have no recipe, or where their digits collide.

    Args:
        labels: A label for each method.
        files: The spec file of each method; empty for recipes.
    """
    taken: list[str] = []
    for label, file in zip(labels, files, strict=True):
        named = [f"{label} ({Path(file).name})"] if file else []
        numbers = (f"{label} ({number})" for number in range(2, len(labels) + 2))
        taken.append(next(choice for choice in (label, *named, *numbers) if choice not in taken))
    return taken
