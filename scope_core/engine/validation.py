"""Checks of what parts return, so that a part that breaks its contract is named at once.

Each raises `PluginOutputError` with the part, its distribution, and what was expected and returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import BudgetError, PluginOutputError, quoted
from scope_core.parts.budget import Budget
from scope_core.parts.partition import Partition
from scope_core.parts.selector import Selector
from scope_core.structures.layout import Group, Layout, Span
from scope_core.structures.picks import Picks
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


def check_groups(groups: Any, layout: Layout, partition: Partition[Any]) -> tuple[Group, ...]:
    """The groups of a partition as tuples; checks that they hold every candidate token exactly once."""
    try:
        checked = tuple(tuple(group) for group in groups)
    except TypeError:
        raise PluginOutputError(
            f"partition {partition}: split() returned {quoted(groups)}; expected groups of Span, "
            f"e.g. ((Span(0, 0, 576),),)"
        ) from None
    spans = [span for group in checked for span in group]
    for span in spans:
        if not isinstance(span, Span) or not 0 <= span.image < len(layout.images):
            raise PluginOutputError(
                f"partition {partition}: split() returned {quoted(span)} for {len(layout.images)} images; expected "
                f"groups of Span"
            )
    if not all(checked):
        raise PluginOutputError(f"partition {partition}: split() returned a group without spans")
    for number, image in enumerate(layout.images):
        covered = 0
        for start, stop in sorted((s.start, s.stop) for s in spans if s.image == number and s.start != s.stop):
            if start != covered:
                break
            covered = stop
        else:
            if covered == image.tokens:
                continue
        found = [f"{s.start}-{s.stop}" for s in spans if s.image == number]
        raise PluginOutputError(
            f"partition {partition}: split() must put each of the {image.tokens} tokens of image {number} into exactly "
            f"one group; its spans are {', '.join(found) or 'none'}"
        )
    return checked


def check_counts(counts: Any, limits: Sequence[int], what: str, budget: Budget[Any]) -> tuple[int, ...]:
    """The counts of a budget as a tuple; checks that there is one per group, within its limit."""
    try:
        checked = tuple(counts)
    except TypeError:
        raise PluginOutputError(
            f"budget {budget}: {what} returned {quoted(counts)}; expected {len(limits)} whole numbers"
        ) from None
    valid = all(isinstance(count, int) and 0 <= count <= limit for count, limit in zip(checked, limits, strict=False))
    if len(checked) != len(limits) or not valid:
        raise PluginOutputError(
            f"budget {budget}: {what} returned {checked}; expected {len(limits)} whole numbers from 0 up to "
            f"{tuple(limits)}"
        )
    return checked


def check_selection(
    selection: Any, tokens: VisualTokens, counts: Sequence[int], selector: Selector[Any]
) -> tuple[int, ...]:
    """The picks of each row; refuses wrong counts, repeats, padding, and selections that drop required tokens."""
    if not isinstance(selection, Selection):
        raise PluginOutputError(
            f"{_selector_name(selector)} returned {type(selection).__name__}; expected a scope_core.Selection"
        )
    picks = selection.picks
    for column in ("picks", "gains", "scores"):
        value = getattr(selection, column)
        if not isinstance(value, Tensor) or value.dim() != 2 or value.shape != picks.shape or len(value) != len(counts):
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise PluginOutputError(
                f"{_selector_name(selector)} returned {column} of shape {given}; "
                f"expected (B, K) = {(len(counts), max(counts, default=0))}"
            )
    rows = picks.tolist() if picks.dtype == torch.int64 else [[-2]]
    if not all(-1 <= min(row, default=0) <= max(row, default=0) < tokens.shape[1] for row in rows):
        raise PluginOutputError(
            f"{_selector_name(selector)} returned picks of {picks.dtype} between {picks.min()} and {picks.max()}; "
            f"expected int64 indices below N = {tokens.shape[1]}, -1 where a row is shorter"
        )
    for column, shape in (("stage", picks.shape), ("assigned", tokens.valid.shape)):
        value = getattr(selection, column)
        if value is not None and (tuple(value.shape) != tuple(shape) or value.dtype != torch.int64):
            raise PluginOutputError(
                f"{_selector_name(selector)} returned {column} of shape {tuple(value.shape)}, {value.dtype}; "
                f"expected {tuple(shape)} int64"
            )
    shares = selection.shares
    if shares is not None and (selection.assigned is None or not _weights(shares, tokens)):
        raise PluginOutputError(
            f"{_selector_name(selector)} returned shares that are not finite numbers of at least 0 for each of "
            f"(B, N) = {tuple(tokens.valid.shape)} tokens, beside `assigned`"
        )
    found = [len(row) - row.count(-1) for row in rows]
    for group, (row, got, wanted) in enumerate(zip(rows, found, counts, strict=True)):
        if -1 in row[:got]:
            raise PluginOutputError(f"{_selector_name(selector)} returned picks with -1 before the end of a row")
        distinct = len(set(row[:got]))
        if distinct != got or got > wanted or (got < wanted and not selector.adaptive):
            raise PluginOutputError(
                f"{_selector_name(selector)} kept {distinct} distinct tokens ({got} picks) of {tokens.name_of(group)}; "
                f"{'at most ' if selector.adaptive else ''}{wanted} were asked for"
            )
    if tokens.padded and bool((selection.mask & ~tokens.valid).any()):
        raise PluginOutputError(f"{_selector_name(selector)} picked padding or tokens that a constraint forbids")
    if any(tokens.n_required) and bool((tokens.required & tokens.valid & ~selection.mask).any()):
        raise PluginOutputError(f"{_selector_name(selector)} dropped tokens that must be kept")
    return tuple(found)


def _weights(shares: Any, tokens: VisualTokens) -> bool:
    """True for (B, N) weights that are finite and at least 0."""
    right = isinstance(shares, Tensor) and shares.shape == tokens.valid.shape and shares.is_floating_point()
    return right and bool((torch.isfinite(shares) & (shares >= 0)).all())


def _selector_name(selector: Selector[Any]) -> str:
    inner = ", ".join(f"{part.kind} {part}" for part in selector.walk() if part.kind == "optimizer")
    return f"selector {selector}" + (f" with {inner}" if inner else "")


def check_keep(tokens: VisualTokens, keep: Sequence[int]) -> None:
    """Refuse counts that the tokens cannot meet.

    Raises:
        BudgetError: more than the valid tokens, fewer than the required ones, or negative.
    """
    if len(keep) != len(tokens.n_valid):
        raise BudgetError(f"{len(keep)} counts were given for {len(tokens.n_valid)} groups; give one count per group")
    for group, (count, most, least) in enumerate(zip(keep, tokens.n_valid, tokens.n_required, strict=True)):
        if not 0 <= count <= most:
            raise BudgetError(f"{tokens.name_of(group)}: cannot keep {count} of {most} candidate tokens")
        if count < least:
            raise BudgetError(
                f"{tokens.name_of(group)}: {least} tokens must be kept, but the budget is {count}; "
                f"raise the budget or relax the constraints"
            )


def check_table(picks: object, what: str, keep: Sequence[int]) -> None:
    """Refuse anything but `Picks` of the right shape.

    Raises:
        PluginOutputError: ``what`` returned something else.
    """
    if not isinstance(picks, Picks):
        raise PluginOutputError(f"{what} returned {type(picks).__name__}; expected scope_core.parts.Picks")
    for column in ("picks", "gains", "scores"):
        value = getattr(picks, column)
        shaped = isinstance(value, Tensor) and value.dim() == 2 and len(value) == len(keep)
        if not shaped or value.shape != picks.picks.shape:
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise PluginOutputError(
                f"{what} returned {column} of shape {given}; expected (B, K) = {(len(keep), max(keep, default=0))}"
            )
