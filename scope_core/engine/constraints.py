"""Constraints, applied to the tokens of each group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import PluginOutputError, SpecError
from scope_core.parts.calls import attribute_errors
from scope_core.parts.constraint import Constraint
from scope_core.structures.tokens import VisualTokens


def check_mask(mask: Any, tokens: VisualTokens, constraint: Constraint[Any], what: str) -> None:
    """Raise `PluginOutputError` unless ``mask`` is a (B, N) bool tensor on the tokens' device."""
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
        with attribute_errors(constraint, "must_keep", tokens):
            keep = constraint.must_keep(tokens)
        with attribute_errors(constraint, "must_drop", tokens):
            drop = constraint.must_drop(tokens)
        for mask, method, masks in ((keep, "must_keep()", keeps), (drop, "must_drop()", drops)):
            if mask is not None:
                check_mask(mask, tokens, constraint, method)
                masks.append((f"constraint {constraint}", mask))
    for dropper, drop in drops:
        for keeper, keep in keeps:
            both = (keep & drop & tokens.valid).nonzero()
            if len(both):
                token = tokens.name_of(int(both[0, 0]), int(both[0, 1]))
                raise SpecError(f"{keeper} keeps {token}, but {dropper} drops it; relax one of them")
    for _, drop in drops:
        tokens = tokens.without(drop)
    for _, keep in keeps[1:]:
        tokens = tokens.require(keep)
    return tokens
