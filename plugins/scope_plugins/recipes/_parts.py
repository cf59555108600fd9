"""Selectors, budgets and variants that several recipes share."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from scope_core.parts import Recipe


def top_k(saliency: dict[str, Any]) -> dict[str, Any]:
    """The composite selector that keeps the tokens of highest saliency."""
    return {
        "name": "composite",
        "saliency": saliency,
        "similarity": "cosine",
        "coverage": "modular",
        "combiner": "saliency_only",
        "optimizer": "top_k",
    }


STRIDE: dict[str, Any] = {
    "name": "composite",
    "saliency": "uniform",
    "similarity": "cosine",
    "coverage": "modular",
    "combiner": "coverage_only",
    "optimizer": "stride",
}

PER_IMAGE: dict[str, Any] = {"name": "tokens", "keep": 64, "per": "image"}
PER_TILE: dict[str, Any] = {"name": "tokens", "keep": 64, "per": "tile"}
FLOORED: dict[str, Any] = {**PER_IMAGE, "tiles": "floor"}


def without_cls(recipe: Recipe) -> Recipe:
    """The variant ``@no_cls`` of a recipe, for towers without a CLS token.

    Received attention of the same layer takes the place of attention from CLS, no row is kept for CLS, and tokens are
    merged after the projector. It is no control: benchmarks run the recipe itself by default.
    """
    spec = _replaced(dict(recipe.spec))
    if "merger" in spec:
        spec["at"] = "projected"
    summary = f"{recipe.name} for towers without a CLS token: by the attention that tokens receive from all others"
    return replace(recipe, name=f"{recipe.name}@no_cls", spec=spec, summary=summary, control=False)


def _replaced(value: Any) -> Any:
    if isinstance(value, list):
        return [_replaced(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("name") == "keep_cls":
        return _replaced(value["merger"])
    changed = {name: _replaced(item) for name, item in value.items()}
    if value.get("name") == "cls_attention":
        changed["name"] = "received_attention"
    if value.get("name") == "joint_attention":
        changed |= {"name": "received_attention", "heads": "mean"}
    return changed


def about(docstring: str | None) -> str:
    """The first two sentences of the docstring of a recipe's file: what it rewards, and when it is the right one."""
    return " ".join(re.findall(r"\S.*?[.!?](?= |$)", " ".join((docstring or "").split()))[:2])
