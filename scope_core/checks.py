"""What every part's output must be; a plugin that breaks its contract is named here, not somewhere later.

Each check raises `PluginOutputError` with the part, its distribution, and what was expected and returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import PluginOutputError, ScopeError, SpecError
from scope_core.interfaces import Budget, Constraint, Merger, Part, Partition, Selector
from scope_core.notes import add_note
from scope_core.structures.layout import Group, Layout, Span
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


class blamed:  # noqa: N801 - reads as a word in `with blamed(part, "score")`
    """Errors that leave the block and are none of ours get a note that names the part they came from.

    With ``tokens`` it is an error of the part's if one of their tensors was changed in place.
    """

    __slots__ = ("before", "method", "part", "tokens")

    def __init__(self, part: Part[Any], method: str, tokens: VisualTokens | None = None) -> None:
        self.part, self.method, self.tokens = part, method, tokens

    def __enter__(self) -> None:
        self.before = [] if self.tokens is None else _versions(self.tokens)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            if not isinstance(error, ScopeError):
                add_note(error, f"raised by {self.method}() of {self.part.kind} {self.part}")
            return
        for tensor, version in self.before:
            if tensor._version != version and self.tokens is not None:
                named = [*zip(_PLANES, _planes(self.tokens), strict=True), *self.tokens.signals.computed()]
                name = next(name for name, other in named if other is tensor)
                said = name if name in _PLANES else f"signal '{name}'"
                raise PluginOutputError(
                    f"{said} of {_those(self.tokens)} were changed in place by {self.method}() of {self.part.kind} "
                    f"{self.part}; others read them too, so it must work on a copy"
                )


_PLANES = ("features", "valid", "required", "row", "col", "tile", "image", "saliency")
_planes = attrgetter(*_PLANES)


def _versions(tokens: VisualTokens) -> list[tuple[Tensor, int]]:
    """How often each tensor was written to, as torch counts it; tensors of inference mode do not."""
    tensors = (*_planes(tokens), *(tensor for _, tensor in tokens.signals.computed()))
    return [(one, one._version) for one in tensors if isinstance(one, Tensor) and not one.is_inference()]


def _those(tokens: VisualTokens) -> str:
    return tokens.name_of(0) if tokens.shape[0] == 1 else f"{tokens.shape[0]} groups"


def expect(tensor: object, shape: tuple[int, ...], what: str, tokens: VisualTokens) -> None:
    """Refuse a part's output that is no floating-point tensor of ``shape`` on the tokens' device."""
    if not isinstance(tensor, Tensor):
        wrong = f"{type(tensor).__name__}; expected a tensor of shape {tuple(shape)}"
    elif tuple(tensor.shape) != tuple(shape):
        wrong = f"shape {tuple(tensor.shape)}; expected {tuple(shape)}"
    elif not tensor.is_floating_point():
        wrong = f"dtype {tensor.dtype}; expected floating point"
    elif tensor.device != tokens.device:
        wrong = f"a tensor on {tensor.device}; the tokens are on {tokens.device}"
    else:
        return
    raise PluginOutputError(f"{what} on {_those(tokens)} returned {wrong}")


def check_groups(groups: Any, layout: Layout, partition: Partition[Any]) -> tuple[Group, ...]:
    """The groups of a partition, which must hold every candidate token exactly once."""
    try:
        made = tuple(tuple(group) for group in groups)
    except TypeError:
        raise PluginOutputError(
            f"partition {partition}: split() returned {groups!r}; expected groups of Span, e.g. ((Span(0, 0, 576),),)"
        ) from None
    spans = [span for group in made for span in group]
    for span in spans:
        if not isinstance(span, Span) or not 0 <= span.image < len(layout.images):
            raise PluginOutputError(
                f"partition {partition}: split() returned {span!r} for {len(layout.images)} images; expected groups "
                f"of Span"
            )
    if not all(made):
        raise PluginOutputError(f"partition {partition}: split() returned a group without spans")
    for number, image in enumerate(layout.images):
        here = 0
        for start, stop in sorted((s.start, s.stop) for s in spans if s.image == number and s.start != s.stop):
            if start != here:
                break
            here = stop
        else:
            if here == image.tokens:
                continue
        mine = [f"{s.start}-{s.stop}" for s in spans if s.image == number]
        raise PluginOutputError(
            f"partition {partition}: split() must put each of the {image.tokens} tokens of image {number} into exactly "
            f"one group; its spans are {', '.join(mine) or 'none'}"
        )
    return made


def check_counts(counts: Any, limits: Sequence[int], what: str, budget: Budget[Any]) -> tuple[int, ...]:
    """The counts of a budget, one for each group and none beyond its limit."""
    try:
        made = tuple(counts)
    except TypeError:
        raise PluginOutputError(
            f"budget {budget}: {what} returned {counts!r}; expected {len(limits)} whole numbers"
        ) from None
    fine = all(isinstance(count, int) and 0 <= count <= limit for count, limit in zip(made, limits, strict=False))
    if len(made) != len(limits) or not fine:
        raise PluginOutputError(
            f"budget {budget}: {what} returned {made}; expected {len(limits)} whole numbers, each between 0 and "
            f"{tuple(limits)}"
        )
    return made


def check_mask(mask: Any, tokens: VisualTokens, constraint: Constraint[Any], what: str) -> None:
    """Refuse a constraint's mask that is no (B, N) bool tensor on the tokens' device."""
    wanted = f"a (B, N) = {tokens.shape[:2]} bool tensor on {tokens.device}, or None"
    if not isinstance(mask, Tensor):
        raise PluginOutputError(f"constraint {constraint}: {what} returned {type(mask).__name__}; expected {wanted}")
    if tuple(mask.shape) != tokens.shape[:2] or mask.dtype != torch.bool or mask.device != tokens.device:
        raise PluginOutputError(
            f"constraint {constraint}: {what} returned shape {tuple(mask.shape)}, {mask.dtype} on {mask.device}; "
            f"expected {wanted}"
        )


def constrained(tokens: VisualTokens, constraints: Sequence[Constraint[Any]]) -> VisualTokens:
    """The tokens with all constraints applied.

    Raises:
        SpecError: a token must be kept and must be dropped.
    """
    keeps: list[tuple[str, Tensor]] = [("the model", tokens.required)]
    drops: list[tuple[str, Tensor]] = []
    for constraint in constraints:
        with blamed(constraint, "must_keep", tokens):
            keep = constraint.must_keep(tokens)
        with blamed(constraint, "must_drop", tokens):
            drop = constraint.must_drop(tokens)
        for mask, what, found in ((keep, "must_keep()", keeps), (drop, "must_drop()", drops)):
            if mask is not None:
                check_mask(mask, tokens, constraint, what)
                found.append((f"constraint {constraint}", mask))
    for dropper, drop in drops:
        for keeper, keep in keeps:
            both = (keep & drop & tokens.valid).nonzero()
            if len(both):
                where = tokens.name_of(int(both[0, 0]), int(both[0, 1]))
                raise SpecError(f"{where} must be kept by {keeper} and must be dropped by {dropper}; relax one of them")
    for _, drop in drops:
        tokens = tokens.without(drop)
    for _, keep in keeps[1:]:
        tokens = tokens.require(keep)
    return tokens


def check_selection(selection: Any, tokens: VisualTokens, counts: Sequence[int], selector: Selector[Any]) -> None:
    """Refuse a selector's result that has other counts than asked for, repeats, padding or lacks required tokens."""
    if not isinstance(selection, Selection):
        raise PluginOutputError(
            f"{_chooser(selector)} returned {type(selection).__name__}; expected a scope_core.Selection"
        )
    picks = selection.picks
    for column in ("picks", "gains", "scores"):
        value = getattr(selection, column)
        if not isinstance(value, Tensor) or value.dim() != 2 or value.shape != picks.shape or len(value) != len(counts):
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise PluginOutputError(
                f"{_chooser(selector)} returned {column} of shape {given}; "
                f"expected (B, K) = {(len(counts), max(counts, default=0))}"
            )
    rows = picks.tolist() if picks.dtype == torch.int64 else [[-2]]
    if not all(-1 <= min(row, default=0) <= max(row, default=0) < tokens.shape[1] for row in rows):
        raise PluginOutputError(
            f"{_chooser(selector)} returned picks of {picks.dtype} between {picks.min()} and {picks.max()}; expected "
            f"int64 indices below N = {tokens.shape[1]}, -1 where a row is shorter"
        )
    for column, shape in (("stage", picks.shape), ("assigned", tokens.valid.shape)):
        value = getattr(selection, column)
        if value is not None and (tuple(value.shape) != tuple(shape) or value.dtype != torch.int64):
            raise PluginOutputError(
                f"{_chooser(selector)} returned {column} of shape {tuple(value.shape)}, {value.dtype}; "
                f"expected {tuple(shape)} int64"
            )
    for group, (row, wanted) in enumerate(zip(rows, counts, strict=True)):
        got = len(row) - row.count(-1)
        if -1 in row[:got]:
            raise PluginOutputError(f"{_chooser(selector)} returned picks with -1 before the end of a row")
        distinct = len(set(row[:got]))
        if got != wanted or distinct != wanted:
            raise PluginOutputError(
                f"{_chooser(selector)} kept {distinct} distinct tokens ({got} picks) of {tokens.name_of(group)}; "
                f"{wanted} were asked for"
            )
    if not bool(tokens.valid.all()) and bool((selection.mask & ~tokens.valid).any()):
        raise PluginOutputError(f"{_chooser(selector)} picked padding or tokens that a constraint forbids")
    if bool(tokens.required.any()) and bool((tokens.required & tokens.valid & ~selection.mask).any()):
        raise PluginOutputError(f"{_chooser(selector)} dropped tokens that must be kept")


def _chooser(selector: Selector[Any]) -> str:
    inner = ", ".join(f"{part.kind} {part}" for part in selector.walk() if part.kind == "optimizer")
    return f"selector {selector}" + (f" with {inner}" if inner else "")


def check_extra(merger: Merger[Any], tokens: int, rows: int) -> tuple[int, int]:
    """How many rows a merger adds before and after the kept ones of a group; none to a group that keeps nothing."""
    if rows == 0:
        return 0, 0
    with blamed(merger, "extra"):
        extra = merger.extra(tokens, rows)
    if not (isinstance(extra, tuple) and len(extra) == 2 and all(isinstance(n, int) and n >= 0 for n in extra)):
        raise PluginOutputError(
            f"merger {merger}: extra({tokens}, {rows}) returned {extra!r}; expected (rows before, rows after)"
        )
    return extra


def check_weights(weights: Any, selection: Selection, extra: Sequence[tuple[int, int]], merger: Merger[Any]) -> None:
    """Refuse merge weights of another shape than (B, before + K + after, N), or that are not finite."""
    if weights is None:
        if any(map(sum, extra)):
            raise PluginOutputError(
                f"merger {merger}: weights() returned None, and extra() promised rows; expected what they are mixed of"
            )
        return
    batch, kept = selection.picks.shape
    front, behind = (max((added[side] for added in extra), default=0) for side in (0, 1))
    tokens, count = selection.tokens, selection.tokens.shape[1]
    shape = (batch, front + kept + behind, count + bool(merger.uses_cls))
    expect(weights, shape, f"merger {merger}: weights()", tokens)
    used = torch.zeros(shape[:2], dtype=torch.bool)
    for line, mine, (before, after) in zip(used, selection.counts, extra, strict=True):
        line[:before] = line[front : front + mine] = line[front + kept : front + kept + after] = True
    used = used.to(tokens.device)[..., None]
    odd = ~torch.isfinite(weights) & used
    forbidden = (weights[..., :count] != 0) & used & ~tokens.valid[:, None]
    for wrong, why in ((odd, "merging needs finite numbers"), (forbidden, "that token is padding, or must be dropped")):
        if bool(wrong.any()):
            group, row, col = (int(i) for i in wrong.nonzero()[0])
            raise PluginOutputError(
                f"merger {merger}: weights() of {tokens.name_of(group)} gave {float(weights[group, row, col])} "
                f"in row {row}, column {col}; {why}"
            )
