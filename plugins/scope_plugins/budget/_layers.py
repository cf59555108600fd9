"""Counts of several stages whose average over the layers of the language model is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from scope_core import BudgetError, Layout


def layer_lengths(layout: Layout, layers: int, name: str) -> list[int]:
    """The number of layers before the first stage, and after each stage.

    Args:
        layout: The layout, with the schedule of stages.
        layers: Number of layers of the language model.
        name: Name of the budget, for messages.

    Raises:
        BudgetError: a stage lies behind the last layer.
    """
    starts = stage_layers(layout)
    if starts[-1] >= layers:
        point = (layout.schedule or ("vision",) * (layout.stage + 1))[-1]
        raise BudgetError(
            f"budget '{name}' has `layers: {layers}`, but a stage is at '{point}'; set `layers` to the "
            f"number of layers of the language model"
        )
    return [end - start for start, end in zip([0, *starts], [*starts, layers], strict=True)]


def stage_layers(layout: Layout) -> list[int]:
    """The layer before which each stage prunes; 0 before the language model."""
    points = layout.schedule or ("vision",) * (layout.stage + 1)
    found = [re.fullmatch(r"decoder\[(\d+)\]", point) for point in points]
    return [int(match[1]) if match else 0 for match in found]


def largest_factor(
    full: int,
    lengths: Sequence[int],
    keep: int,
    behind: Callable[[float], list[int]],
    layout: Layout,
    name: str,
    item: str,
) -> list[int]:
    """The counts after each stage by the largest factor whose average over layers is at most ``keep``.

    Args:
        full: Tokens before the first stage.
        lengths: From `layer_lengths`.
        keep: Largest average.
        behind: The counts by a factor of 0 to 1; none falls as the factor grows, and all are 1 at 0.
        layout: The layout, for messages.
        name: Name of the budget, for messages.
        item: Name of the image, for messages.

    Raises:
        BudgetError: even the smallest counts average more, or ``keep`` is more than there is.
    """
    total, least = keep * sum(lengths), full * lengths[0] + sum(lengths[1:])
    if keep > full:
        raise BudgetError(f"budget '{name}' keeps {keep} tokens, but {item} has {full}; lower `keep`")
    if total < least:
        raise BudgetError(
            f"budget '{name}' cannot keep {keep} tokens of {item} averaged over {sum(lengths)} "
            f"layers: all {full} pass the {lengths[0]} before '{(layout.schedule or ('',))[0]}', so the smallest "
            f"average is {-(-least // sum(lengths))}, with 1 token after every stage; raise `keep`, or prune "
            f"earlier"
        )
    low, high = 0.0, 1.0
    if _total(full, behind(high), lengths) <= total:
        return behind(high)
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if _total(full, behind(middle), lengths) <= total else (low, middle)
    return behind(low)


def _total(full: int, behind: Sequence[int], lengths: Sequence[int]) -> int:
    return sum(count * layers for count, layers in zip([full, *behind], lengths, strict=True))
