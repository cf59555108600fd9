"""The best dropped tokens, clustered by density and averaged into additional rows."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import BudgetError, Selection, TokensError
from scope_core.parts import ComponentSpec, Merger, Slot, scores
from scope_plugins._density import peaks
from scope_plugins.merger._targets import kept_rows


class DensityClustersSpec(ComponentSpec):
    """Additional rows after the kept ones: means of clusters of dropped tokens."""

    name: Literal["density_clusters"] = "density_clusters"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency of dropped tokens; the highest are clustered."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Number of clustered tokens: this share of the dropped ones, plus 1."""
    per_cluster: Annotated[int, Field(gt=0)] = 10
    """Average size of a cluster: the number of clusters is that of clustered tokens divided by this, plus 1."""


class DensityClusters(Merger[DensityClustersSpec]):
    """The best of the dropped tokens are kept in summary: one row for each group of similar ones.

    Use it where pruning is so strong that dropped tokens still hold information, as in SparseVLM.

    Cluster centres are dense tokens far from any denser one (density peaks); every other token joins the nearest
    centre. With c clusters and distances ``d_ij = |x_i - x_j| / sqrt(D)``: the density ``rho_i`` is
    ``exp(-mean d_ij^2)`` over the c nearest tokens (itself included), ``delta_i`` is the distance to the nearest denser
    token (for the densest token, the greatest of all distances), and the c highest ``rho delta`` are the centres, best
    first. Of equal densities, the lower index counts as denser.
    Source: SparseVLM, arXiv 2410.04417, section 3.4; density peaks with nearest neighbours, Du et al. 2016.
    """

    def extra(self, tokens: int, rows: int) -> tuple[int, int]:
        """The number of cluster rows after the kept tokens, ``rows`` together; 0 if no token is dropped.

        Each row takes the place of a token, which is then dropped too and may need a row of its own; a number above
        ``rows`` says that there is no end to it.
        """
        clusters = 0
        while clusters <= rows < tokens and clusters != (more := self._clusters(tokens - rows + clusters)):
            clusters = more
        return 0, clusters

    def weights(self, selection: Selection) -> Tensor:
        """(B, K + c, N) weights; a cluster's row is the mean of its tokens.

        Raises:
            BudgetError: constraints exclude so many tokens that fewer are dropped than there are clusters.
        """
        tokens, kept = selection.tokens, kept_rows(selection)
        saliency = scores(self.parts["saliency"], tokens)
        count = selection.picks.shape[1]
        counts = [
            row - picked for row, picked in zip(selection.allotted or selection.counts, selection.counts, strict=True)
        ]
        means = kept.new_zeros((kept.shape[0], max(counts, default=0), kept.shape[2]))
        for group, clusters in enumerate(counts):
            if clusters:
                dropped = (tokens.valid[group] & ~selection.mask[group]).nonzero()[:, 0]
                if self._recycled(len(dropped)) < clusters:
                    raise BudgetError(
                        f"{tokens.name_of(group)}: merger {self} adds {clusters} row(s) for dropped tokens, but only "
                        f"{len(dropped)} are left to be dropped beside those that constraints exclude; lower the budget"
                    )
                best = saliency[group, dropped].sort(descending=True, stable=True).indices
                chosen = dropped[best[: self._recycled(len(dropped))]]
                vectors = tokens.features[group, chosen]
                if not bool(torch.isfinite(vectors.square().sum(1) * 4).all()):
                    raise TokensError(
                        f"merger {self}: distances between features of {tokens.name_of(group)} are too large for "
                        f"{str(vectors.dtype)[6:]}; use `dtype: float64`, or features of another scale"
                    )
                home = cluster(vectors, clusters)
                means[group, home, chosen] = 1
                means[group] /= means[group].sum(1, keepdim=True).clamp(min=1)
        return torch.cat([kept[:, :count], means], 1)

    def _recycled(self, dropped: int) -> int:
        return min(int(dropped * self.spec.share) + 1, dropped)

    def _clusters(self, dropped: int) -> int:
        return min(int(self._recycled(dropped) / self.spec.per_cluster) + 1, self._recycled(dropped))


def cluster(features: Tensor, clusters: int) -> Tensor:
    """(N,) int64 index of each token's cluster, for N >= clusters tokens (N, D); the best centre's cluster is 0."""
    score, distance = peaks(features, clusters)
    centres = score.sort(descending=True, stable=True).indices[:clusters]
    home: Tensor = distance[centres].argmin(0)
    home[centres] = torch.arange(clusters, device=features.device)
    return home
