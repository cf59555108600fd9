"""Several saliency sources combined: weighted sum, product of powers, largest or smallest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores
from scope_plugins.saliency._scaling import Scale, scaled


class BlendSpec(ComponentSpec):
    """A combination of saliency sources."""

    name: Literal["blend"] = "blend"
    of: Annotated[tuple[ComponentSpec, ...], Slot("saliency", many=True), Field(min_length=1)]
    """The sources."""
    weights: tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...] = ()
    """One weight per source, 0 or from 1e-6 on: its factor in a sum, its exponent in a product, by default 1."""
    how: Literal["sum", "product", "max", "min"] = "sum"
    """The combination of the weighted sources."""
    scale: Scale = "none"
    """The scaling of each source in each group before weighting: division by its ``max``, ``sum``, ``mean`` or
    ``length``, ``min_max`` (0 to 1) or ``rank`` (0 to 1). Sources of different ranges need one."""

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if self.weights and len(self.weights) != len(self.of):
            raise ValueError(f"give one weight per source: {len(self.of)} sources, weights {list(self.weights)}")
        if any(0 < abs(weight) < 1e-6 for weight in self.weights):
            raise ValueError(f"weights must be 0 or of a size from 1e-6 to 1e6: {list(self.weights)}")
        return self


class Blend(SaliencySource[BlendSpec]):
    """``a_j = sum_s w_s a_sj``, or ``prod_s a_sj^w_s``, or the largest or smallest ``w_s a_sj``."""

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]  # depends on the options
        """True if no score can be negative: neither scores of a source nor weights are."""
        if self.spec.how == "product":
            return True
        plain = self.spec.scale in ("min_max", "rank") or all(part.nonnegative for part in self.parts["of"])
        return plain and all(weight >= 0 for weight in self.spec.weights)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N); its range follows from the sources.

        Raises:
            TokensError: a source of a product gives a negative score, whose power may be undefined.
        """
        weights = self.spec.weights or (1.0,) * len(self.parts["of"])
        total: Tensor | None = None
        for source, weight in zip(self.parts["of"], weights, strict=True):
            score = scaled(scores(source, tokens).to(tokens.features), tokens, self.spec.scale)
            if self.spec.how == "product":
                negative = ((score < 0) & tokens.valid).nonzero()
                if len(negative):
                    group, token = (int(i) for i in negative[0])
                    raise TokensError(
                        f"saliency {self}: a product needs scores of at least 0, but {source} gave "
                        f"{float(score[group, token]):.4g} to {tokens.name_of(group, token)}; use scale: min_max, or "
                        f"how: sum"
                    )
                score = score.masked_fill(~tokens.valid, 1).pow(weight)
                total = score if total is None else total * score
            else:
                score = score * weight
                join = {"sum": "add", "max": "maximum", "min": "minimum"}[self.spec.how]
                total = score if total is None else getattr(total, join)(score)
        if total is None:
            raise TokensError(f"saliency {self} has no source")
        return total
