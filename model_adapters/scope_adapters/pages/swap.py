"""The section of a method's page that swaps one of its parts for another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from scope_adapters.pages.facts import Method
from scope_adapters.pages.markdown import wrapped, yaml_lines
from scope_core import Pruner, ScopeError, Selection
from scope_core.parts import parse_signal

SIDE, KEEP = 6, 9
"""Tokens on one side of the square image that a swap is tried on, and the number that is kept of them."""
AXES = {
    "vision.cls_attention": "HN", "vision.received_attention": "HN", "vision.hidden": "ND", "vision.keys": "HNC",
    "vision.cls": "ND", "text.embeddings": "MD", "clip.text_similarity": "MN", "decoder.last_query_attention": "HN",
    "decoder.received_attention": "HN", "decoder.text_attention": "HMN", "decoder.hidden": "ND",
    "decoder.normed": "ND", "decoder.vision_hidden": "ND", "decoder.keys": "HNC", "decoder.text_hidden": "MD",
    "decoder.text_normed": "MD", "decoder.text_keys": "HMC",
}  # fmt: skip
"""Axes of the signals that are tried, after the first; sizes are in `SIZES`."""
SIZES = {"N": SIDE * SIDE, "D": 16, "H": 2, "C": 8, "M": 3}


def swapped(method: Method) -> str:
    """A spec that names the recipe and another part in one slot.

    The part is the first of its kind that is built without options, reads no signal that the recipe does not, and
    changes what is kept of made-up tokens. Empty if there is none.
    """
    before = _selection(_pruner(method, {}))
    for (*outer, slot), now in _slots(method):
        for record in method.registry.records(now.kind):
            change: dict[str, Any] = {slot: record.name}
            for key in reversed(outer):
                change = {key: change}
            changed = _pruner(method, change) if record.name != now.spec.name else None
            if changed is None or not changed.needs <= frozenset(method.needs):
                continue
            after = _selection(changed)
            if before is not None and (after is None or _same(before, after)):
                continue
            first = " of the first stage" if len(method.pruner.stages) > 1 else ""
            text = (
                f"Any part can be replaced by another of its kind, here the {now.kind}{first}, `{now.spec.name}`, by "
            )
            text += f"`{record.name}` ({record.item.summary}). Save as `mine.yaml`; `scope validate mine.yaml` checks "
            text += f"it, and every command takes it in place of `{method.name}`:"
            return f"{wrapped(text)}\n\n```yaml\nrecipe: {method.name}\n{yaml_lines(change)}\n```"
    return ""


def _slots(method: Method) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The slots whose parts take part in the choice, the most telling first, with these parts."""
    parts = method.pruner.parts
    inner = parts["selector"].parts
    combiner = inner.get("combiner")
    if combiner is not None and combiner.uses_saliency:
        yield ("saliency",), inner["saliency"]
    if combiner is not None and combiner.uses_coverage:
        yield ("coverage",), inner["coverage"]
    if method.merges:
        yield ("merger",), parts["merger"]
    if combiner is None:
        yield from ((("selector", slot), part) for slot, part in inner.items() if hasattr(part, "kind"))
    yield ("partition",), parts["partition"]


def _pruner(method: Method, changed: Mapping[str, Any]) -> Pruner | None:
    """The recipe with a change, and with a small budget if it takes one; None if it cannot be built."""
    for budget in ({"budget": KEEP}, {}):
        try:
            pruner = Pruner({"recipe": method.name, **budget, **changed}, registry=method.registry)
            pruner.plan([SIDE * SIDE])
        except (ScopeError, ValueError):
            continue
        return pruner
    return None


def _selection(pruner: Pruner | None) -> Selection | None:
    """The selection of the first stage from made-up tokens; None if it cannot be tried."""
    if pruner is None:
        return None
    stage, generator = pruner.stages[0], torch.Generator().manual_seed(0)
    try:
        given = {
            name: torch.rand(1, *(SIZES[axis] for axis in AXES[parse_signal(name)[0]]), generator=generator)
            for name in sorted(stage.needs)
        }
        features = torch.randn(1, SIDE * SIDE, SIZES["D"], generator=generator)
        return stage.select(features, signals=given, grid=(SIDE, SIDE))
    except (ScopeError, ValueError, LookupError):  # a signal of another package, a third-party part
        return None


def _same(one: Selection, other: Selection) -> bool:
    weights = [selection.weights for selection in (one, other)]
    shapes = {None if found is None else tuple(found.shape) for found in weights}
    if one.kept.tolist() != other.kept.tolist() or len(shapes) > 1:
        return False
    return weights[0] is None or weights[1] is None or torch.equal(weights[0], weights[1])
