"""Facility location: how well every token is represented by its best kept token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import SerializerFunctionWrapHandler, model_serializer
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction, Slot, scores
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.facility_location import FacilityLocationKernel


class FacilityLocationSpec(ComponentSpec):
    """Sum over all tokens of the best similarity to a kept one, negatives counting as 0."""

    name: Literal["facility_location"] = "facility_location"
    weights: Annotated[ComponentSpec | None, Slot("saliency", optional=True)] = None
    """How much each token counts among those to be represented: a saliency of at least 0, e.g. `cls_attention`, or
    relevance to the text; null counts all the same."""

    @model_serializer(mode="wrap")
    def _brief(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without weights, the bare name: most specs have none."""
        table: dict[str, Any] = dump(self)
        return table if self.weights is not None else {"name": self.name}


_SMALL = 2**20
"""Similarities of which a copy in float64 is kept: 8 MB."""


@dataclass
class _State:
    similarity: Tensor  # (B, N, N), each row times its weight
    rounder: Tensor  # (1,) `arithmetic.rounding_constant`; similarities are rounded as they are read, without a copy
    best: Tensor  # (B, N): running maximum c_i, starts at 0
    gains: Tensor  # (B, N)
    exact: Tensor | None = None  # (N, N) float64: the rounded similarities of one small group, so that picks take less


class FacilityLocation(CoverageFunction[FacilityLocationSpec]):
    """Every token should have a kept token that is similar to it.

    Use it to represent the whole image with few tokens: one kept token of each kind is enough. Negative similarities
    count as 0. With ``weights``, tokens that matter are represented better than the others.

    ``f(A) = sum_i w_i max(0, max_{j in A} S_ij)``; gain ``g_j = sum_i w_i max(0, S_ij - c_i)``, with the running
    maximum ``c_i`` of row i, which starts at 0. Monotone and submodular, since no weight is negative.
    Sources: SCOPE, arXiv 2510.24214; Cornuejols et al. 1977 for facility location; EADP, arXiv 2607.02484 for weights.
    """

    monotone = True
    submodular = True
    kernel = FacilityLocationKernel()

    @property
    def matrices(self) -> float:  # type: ignore[override]  # depends on the options
        """One if rows are weighted."""
        return 0.0 if self.spec.weights is None else 1.0

    def weighted(self, similarity: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N, N) similarity with each row times its weight: ``w_i max(0, S_ij)`` is then one number.

        Raises:
            TokensError: a weight is negative.
        """
        if self.spec.weights is None:
            return similarity
        weights = scores(self.parts["weights"], tokens).masked_fill(~tokens.valid, 0)
        if bool((weights < 0).any()):
            group, token = (int(i) for i in (weights < 0).nonzero()[0])
            raise TokensError(
                f"coverage {self} needs weights of at least 0, but saliency {self.parts['weights']} gave "
                f"{float(weights[group, token]):.4g} to {tokens.name_of(group, token)}; scale it, e.g. with 'scaled'"
            )
        return similarity * weights.to(similarity.dtype)[:, :, None]

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet."""
        similarity = self.weighted(similarity, tokens).contiguous()
        rounder = arithmetic.rounding_constant(similarity)
        best = similarity.new_zeros(tokens.shape[:2])
        small = arithmetic.on_host(best.device) and best.element_size() >= 4 and len(best) == 1
        if not small or similarity.numel() > _SMALL:
            return _State(similarity, rounder, best, arithmetic.full_gains(similarity, rounder, best))
        exact = arithmetic.on_grid(similarity[0], rounder)
        return _State(similarity, rounder, best.double(), exact.clamp(min=0).sum(0)[None], exact)

    def gain(self, state: _State) -> Tensor:
        """(B, N), at least 0."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """Raise the running maximum; only rows where it rose can change a gain."""
        if state.exact is not None:
            return self._add_exact(state, state.exact, int(pick))
        similarity, rounder = state.similarity, state.rounder
        index = pick[:, None, None].expand(-1, similarity.shape[1], 1)
        column = arithmetic.on_grid(similarity.gather(2, index)[..., 0], rounder)
        best = state.best.maximum(column.to(similarity.dtype))
        # half precision sums every row again, with its rounding, as published code does; on an accelerator, finding the
        # rows that rose would wait for the device
        if best.element_size() < 4 or not arithmetic.on_host(best.device):
            return _State(similarity, rounder, best, arithmetic.full_gains(similarity, rounder, best))
        count, gains = best.shape[1], state.gains.clone()
        risen = (best > state.best).flatten().nonzero()[:, 0]
        raw = similarity.new_empty(max(1, arithmetic.block_size(best) // count), count)
        exact = torch.empty_like(raw, dtype=torch.float64)
        new, old = (maximum.double().flatten()[:, None] for maximum in (best, state.best))
        # sums are exact on the grid, so gains do not drift over hundreds of picks, nor depend on the order
        for few in torch.split(risen, len(raw)):
            torch.index_select(similarity.flatten(0, 1), 0, few, out=raw[: len(few)])
            lost = exact[: len(few)].copy_(raw[: len(few)]).add_(rounder).sub_(rounder)
            lost.clamp_(max=new[few]).sub_(old[few]).clamp_(min=0)
            gains.index_add_(0, few // count, lost, alpha=-1)
        return _State(similarity, rounder, best, gains)

    def _add_exact(self, state: _State, exact: Tensor, pick: int) -> _State:
        """`add` for one small group: the same sums in fewer steps."""
        column, old = exact[:, pick], state.best[0]
        best = old.maximum(column)
        risen = (best > old).nonzero().squeeze(1)
        least, most = old.index_select(0, risen), best.index_select(0, risen)
        rows = exact.index_select(0, risen)  # two bounds at once take three times as long
        left = rows.clamp_(min=least[:, None]).clamp_(max=most[:, None]).sum(0)
        gains = state.gains - left.sub_(least.sum())
        return _State(state.similarity, state.rounder, best[None], gains, exact)
