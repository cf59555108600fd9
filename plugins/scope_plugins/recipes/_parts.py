"""Selectors and budgets that several recipes share."""

from __future__ import annotations

from typing import Any


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
