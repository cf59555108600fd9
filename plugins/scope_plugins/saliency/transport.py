"""How cheaply a token's content moves on to the tokens of the next layer, by optimal transport."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, SignalName
from scope_plugins._places import check_places
from scope_plugins._sinkhorn import sinkhorn

Weight = Annotated[float, Field(ge=0)]


class TransportSpec(ComponentSpec):
    """Optimal transport from a layer's inputs to its outputs."""

    name: Literal["transport"] = "transport"
    source: SignalName = "decoder.hidden[1]"
    """The tokens that are rated, one vector each."""
    target: SignalName = "decoder.hidden[2]"
    """The tokens that they move to: the same tokens behind the layer."""
    feature: Weight = 1.0
    """Weight of ``1 - cosine`` of source and target."""
    relative: Weight = 1.0
    """Weight of the distance of their places, over the diagonal of the tile."""
    central: Weight = 1.0
    """Weight of the distance of the source's place from the middle of its tile, over half the diagonal."""
    temperature: Annotated[float, Field(gt=0)] = 0.3
    """Weight of the plan's entropy; the smaller, the closer to the cheapest plan, and the more iterations."""
    iterations: Annotated[int, Field(ge=1)] = 1000
    """Most iterations; a plan that has not converged by then is refused."""
    tolerance: Annotated[float, Field(gt=0)] = 0.01
    """Largest relative error of what a target gets."""

    @model_validator(mode="after")
    def _costs_something(self) -> Self:
        if not self.feature + self.relative + self.central:
            raise ValueError("feature, relative and central are all 0, so that nothing costs anything; raise one")
        return self


class Transport(SaliencySource[TransportSpec]):
    """Tokens whose content the next layer keeps close at hand, near the middle of the image.

    Use it inside the language model with any attention kernel and any question: it reads hidden states alone.

    ``a_i = -n sum_j P_ij C_ij``, ``C_ij = f (1 - cos(s_i, t_j)) + r |p_i - p_j| / d + 2 c |p_i - m| / d``; P moves 1/n
    from every source s and gives 1/n to every target t, by Sinkhorn's iteration; p: places, m: the middle of the tile,
    d: its diagonal. Tokens of two tiles count as a diagonal apart. All tokens equal: those in the middle.
    Source: TopV, CVPR 2025, arXiv 2503.18278 (the three costs and Sinkhorn); weights, scales, and the score from the
    plan are ours.
    """

    nonnegative = False
    reads_places = True

    @property
    def needs(self) -> frozenset[str]:
        """The two signals."""
        return frozenset({self.spec.source, self.spec.target})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at most 0; at least minus two times ``feature`` minus ``relative`` and ``central``.

        Raises:
            TokensError: a valid token has no place in a grid, or the plan has not converged.
        """
        check_places(self, tokens, "the saliency 'hidden_change'")
        spec, cost = self.spec, self.cost(tokens)
        plan, error = sinkhorn(cost, tokens.valid, spec.temperature, spec.iterations, spec.tolerance)
        if float(error.max()) > spec.tolerance:
            worst = int(error.argmax())
            raise TokensError(
                f"saliency {self}: after {spec.iterations} iterations, tokens of {tokens.name_of(worst)} still get up "
                f"to {float(error[worst]):.1%} more or less than their share, above tolerance {spec.tolerance:g}; "
                f"raise `temperature` (now {spec.temperature:g}) or `iterations`"
            )
        count = tokens.valid.sum(1, keepdim=True).to(cost)
        paid = (plan * cost).sum(2) * count
        return -paid.masked_fill(~tokens.valid, 0).to(tokens.features.dtype)

    def cost(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) from each source to each target, in float32 at least."""
        source, target = (self._units(tokens, name) for name in (self.spec.source, self.spec.target))
        row, col = (plane.to(source) for plane in (tokens.row, tokens.col))
        same = (tokens.image[:, :, None] == tokens.image[:, None]) & (tokens.tile[:, :, None] == tokens.tile[:, None])
        last = [_greatest(plane, same, tokens.valid) for plane in (row, col)]
        diagonal = (last[0].square() + last[1].square()).sqrt()
        diagonal = diagonal.masked_fill(diagonal == 0, 1)
        apart = ((row[:, :, None] - row[:, None]).square() + (col[:, :, None] - col[:, None]).square()).sqrt()
        relative = torch.where(same, apart / diagonal[:, :, None], 1)
        middle = ((row - last[0] / 2).square() + (col - last[1] / 2).square()).sqrt() * 2 / diagonal
        spec = self.spec
        cost: Tensor = spec.feature * (1 - source @ target.mT) + spec.relative * relative
        return cost + spec.central * middle[:, :, None]

    def _units(self, tokens: VisualTokens, name: str) -> Tensor:
        vectors = tokens.signal(name)
        if vectors.dim() != 3 or vectors.shape[:2] != tokens.shape[:2]:
            raise TokensError(
                f"saliency {self}: signal '{name}' has shape {tuple(vectors.shape)}; expected one vector per token, "
                f"(B, N, D) with B={tokens.shape[0]}, N={tokens.shape[1]}"
            )
        tokens.check_finite(f"signal '{name}'", vectors)
        vectors = vectors.float() if vectors.element_size() < 4 else vectors
        vectors = vectors.masked_fill(~tokens.valid[..., None], 0)
        length: Tensor = torch.linalg.vector_norm(vectors, dim=2, keepdim=True)
        return vectors / length.masked_fill(length == 0, 1)


def _greatest(plane: Tensor, same: Tensor, valid: Tensor) -> Tensor:
    """(B, N) the greatest row or column of each token's tile."""
    of_tile: Tensor = plane[:, None, :].masked_fill(~(same & valid[:, None]), -1).amax(2)
    return of_tile.clamp(min=0)
