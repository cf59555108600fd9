"""`Reader`: one encoding of an image for several pruners."""

from __future__ import annotations

import json
from typing import Any

from scope_core.pruning.compatibility import find_adapter
from scope_core.pruning.pruner import Pruner


class Reader(Pruner):
    """A stand-in for all pruners that take tokens at one point, so that an image is encoded once for all of them.

    Args:
        like: One of these pruners; all have an equal `point_of`.
        needs: The signals that any of them reads.
    """

    def __init__(self, like: Pruner, needs: frozenset[str]) -> None:
        super().__init__(like.spec, registry=like.registry)
        self.all_needs = needs

    @property
    def needs(self) -> frozenset[str]:
        """Signals that any of these pruners reads."""
        return self.all_needs


def point_of(pruner: Pruner) -> str:
    """A key of everything that the encoding of an image depends on, besides signals; equal keys share encodings."""
    adapter = None if pruner.spec.adapter is None else pruner.spec.adapter.model_dump(mode="json")
    return json.dumps([pruner.spec.at, pruner.spec.dtype, adapter], sort_keys=True)


def reusable(pruner: Pruner, model: Any) -> bool:
    """True if an image can be encoded without its question, and the adapter can reuse the encoding."""
    inside = len(getattr(pruner, "stages", (pruner,))) > 1 or pruner.spec.at.startswith("decoder")
    about_pixels = all(need.startswith("vision.") or need == "projected" for need in pruner.needs)
    return about_pixels and not inside and bool(find_adapter(model, pruner).reuses)
