"""Selection that always gives the promised rows: images that a part fails on get evenly spaced tokens.

An error while encoding would end the engine for all clients, and parts may fail on some images only. So a failure is
caught, counted and logged with the part and the reason, and the image keeps as many tokens as its prompt has
placeholders: those of the control recipe ``uniform_grid``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from scope_adapters.serving.geometry import Size
from scope_adapters.serving.group import Group
from scope_adapters.serving.receipts import Call, Failure
from scope_core import PluginOutputError, Pruner

GRID = "uniform_grid"
"""The recipe of the fallback."""


def select(
    group: Group,
    sizes: Sequence[Size],
    features: Tensor,
    signals: Mapping[str, Tensor],
    call: Call,
    rows: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[int, Failure]]:
    """`Group.select`, with evenly spaced tokens for images that a part fails on.

    Args:
        group: The images.
        sizes: Their sizes.
        features: (T, n, D) features of all their tiles.
        signals: Signals of the tiles, by name.
        call: Sums to which the selection is added.
        rows: (T, n, D') rows of the tiles that the language model reads; by default the features.

    Returns:
        Rows and order as in `Group.select`, and the failures by number of the image.
    """
    attempt = Call()
    tokens = group.tokens(features if rows is None else rows, signals)
    by = None if rows is None else group.tokens(features, signals)
    try:
        whole = _checked(group, *group.select(tokens, attempt, by))
        call.add(attempt)
        return *whole, {}
    except Exception as error:  # third-party parts may raise anything
        if len(sizes) == 1:
            plain = Group(group.geometry, _grid(group), sizes)
            blank = replace(tokens, features=torch.zeros_like(tokens.features[..., :1]))
            return *plain.select(tokens, call, by=blank), {0: Failure.of(error, group.pruner.walk())}
    # one by one: only the images that a part fails on lose their selection
    ends = list(accumulate((group.geometry.tiles(size) for size in sizes), initial=0))
    found: list[tuple[Tensor, Tensor]] = []
    failures: dict[int, Failure] = {}
    for number, size in enumerate(sizes):
        tiles = slice(ends[number], ends[number + 1])
        mine = {name: signal[tiles] for name, signal in signals.items()}
        alone = Group(group.geometry, group.pruner, [size])
        read = None if rows is None else rows[tiles]
        kept, order, failed = select(alone, [size], features[tiles], mine, call, read)
        found.append((kept, order))
        if 0 in failed:
            failures[number] = failed[0]
    return *_joined(found), failures


def _checked(group: Group, rows: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    if len(order) != sum(group.promised):
        raise PluginOutputError(f"{group.pruner.label} gives {len(order)} rows, but {sum(group.promised)} are promised")
    if not bool(torch.isfinite(rows).all()):
        raise PluginOutputError(f"{group.pruner.label} gives rows with numbers that are not finite")
    return rows, order


def _grid(group: Group) -> Pruner:
    budget = {"name": "tokens", "keep": group.counts[0], "per": "image"}
    return Pruner({"recipe": GRID, "budget": budget}, registry=group.pruner.registry)


def _joined(found: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The rows of all images, and their order; the number behind the last row means a newline."""
    total, start, orders = sum(len(rows) for rows, _ in found), 0, []
    for rows, order in found:
        orders.append(torch.where(order < len(rows), order + start, total))
        start += len(rows)
    return torch.cat([rows for rows, _ in found]), torch.cat(orders)
