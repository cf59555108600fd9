"""One forward pass of the language model, and the arguments that its layers get after a stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scope_adapters.hosts.huggingface.decoder.run import Run
from scope_adapters.hosts.huggingface.decoder.steps import Step, along, mask_of, seen_by, spread

CHANGED = ("attention_mask", "position_ids", "position_embeddings")
"""Arguments of layers that change after a stage."""


@dataclass
class Pass:
    """One forward pass of the language model for a call that is pruned.

    Attributes:
        run: The call.
        first: True for the pass in which tokens are selected.
        queries: Number of positions in the pass.
        cached: Number of positions in the first layer's cache before the pass; 0 without a cache.
        given: Arguments that the language model gives its layers, from the first hooked layer.
        changed: Arguments that replace them in layers after the stages so far.
        steps: The stages that the pass went through.
        waiting: Stages that read a layer that runs now, each with the layer's number, input and rotary embedding.
        projected: Queries (``q``) and keys (``k``) that such a layer computed.
    """

    run: Run
    first: bool
    queries: int
    cached: int
    given: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    waiting: list[tuple[int, int, Tensor, Any]] = field(default_factory=list)
    projected: dict[str, Tensor] = field(default_factory=dict)

    def places(self, step: Step, total: int) -> Tensor:
        """(R, M + T) int64 position that entered of each position after ``step``; the last T of ``total`` follow."""
        sources = spread(step.table.source.clamp(min=0), self.run.beams)
        rest = torch.arange(self.run.length, total, device=sources.device).expand(len(sources), -1)
        return torch.cat([sources, rest], 1)


def arguments_after(now: Pass, hidden: Tensor, decoder: Any, mask_axes: int) -> dict[str, Any]:
    """Mask, positions and rotary embedding of layers after the pass's latest stage.

    Args:
        now: The pass.
        hidden: (R, M + T, D) states after the stage.
        decoder: The language model.
        mask_axes: 4 or 2; see `scope_adapters.compat.decoders.mask_axes`.
    """
    step, numbers, rotary = now.steps[-1], now.given["position_ids"], now.given["position_embeddings"]
    if step.shift is None and not now.cached:
        place = now.places(step, now.queries)
        rotary = tuple(along(part, place) if part.dim() == 3 else _each_axis(part, place) for part in rotary)
    if step.positions is None:
        numbers = None if not now.cached else numbers  # layers use them for packed prompts only
    elif not now.cached or step.shift is not None:
        shift = 0 if step.shift is None else spread(step.shift, now.run.beams)[:, None].to(numbers.device)
        after = numbers - shift
        if not now.cached:
            following = after[:, now.run.length :].expand(hidden.shape[0], -1)
            after = torch.cat([spread(step.positions, now.run.beams).to(numbers.device), following], 1)
        if step.shift is not None and (not now.cached or bool(step.shift.any())):
            rotary = decoder.rotary_emb(hidden, position_ids=after)
        numbers = after
    if mask_axes == 2:  # gaps would look like packed prompts
        numbers = None
    mask = _mask(now, step, hidden) if mask_axes == 4 else _padding(now, step, hidden)
    return {"position_ids": numbers, "position_embeddings": rotary, "attention_mask": mask}


def with_deepstack(now: Pass, hidden: Tensor, where: Tensor, extra: Tensor) -> Tensor:
    """(R, M + T, D) hidden states with the further features of the visual tokens that are left.

    Args:
        now: The pass, after a stage.
        hidden: (R, M + T, D) states after the stage.
        where: (R, L + T) bool: the visual tokens among the positions that entered.
        extra: (V, D) their features, which go the way of the hidden states: dropped, moved and merged alike.
    """
    added = hidden.new_zeros(*where.shape, hidden.shape[2])
    added[where.to(added.device)] = extra.to(added)
    for step in now.steps:
        added = step.take(added, now.run.beams)
    return hidden + added


def _each_axis(part: Tensor, place: Tensor) -> Tensor:
    return torch.stack([along(axis, place) for axis in part])


def _valid(now: Pass, step: Step, hidden: Tensor) -> Tensor:
    """(R, K) bool: the keys that are no padding."""
    valid = spread(step.table.valid, now.run.beams).to(hidden.device)
    following = valid.new_ones(len(valid), now.cached + now.queries - now.run.length)
    return torch.cat([valid, following], 1)


def _padding(now: Pass, step: Step, hidden: Tensor) -> Tensor | None:
    """(R, K) mask, or None if no key is padding."""
    valid = _valid(now, step, hidden)
    given = now.given["attention_mask"]
    return None if bool(valid.all()) else valid.to(torch.long if given is None else given.dtype)


def _mask(now: Pass, step: Step, hidden: Tensor) -> Tensor | None:
    """(R, 1, Q, K) mask as the model's own, or None where a causal one is implied."""
    run, mask = now.run, now.given["attention_mask"]
    valid = _valid(now, step, hidden)
    total = now.cached + now.queries
    queries = now.queries if now.cached else valid.shape[1]
    additive = None if mask is None or mask.dtype == torch.bool else mask.dtype
    if mask is None and bool(valid.all()) and (queries == 1 or not now.cached):
        return None
    like = None
    if mask is not None and total > run.length:
        like = seen_by(mask)[..., run.length : total].expand(len(valid), -1, -1, -1)
        if not now.cached:  # positions of the prompt see none of those that follow
            prompt = like.new_zeros(len(valid), 1, queries - like.shape[2] + run.length, like.shape[3])
            like = torch.cat([prompt, like[:, :, run.length :]], 2)
    return mask_of(valid, queries, like, additive)
