"""Built-in optimizers."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.optimizer.greedy import Greedy, GreedySpec
from scope_plugins.optimizer.grid import Grid, GridSpec
from scope_plugins.optimizer.k_per_step import KPerStep, KPerStepSpec
from scope_plugins.optimizer.stochastic import Stochastic, StochasticSpec
from scope_plugins.optimizer.stride import Stride, StrideSpec
from scope_plugins.optimizer.top_k import TopK, TopKSpec


@hookimpl
def scope_optimizers() -> Iterable[Entry]:
    """Exact greedy, one-shot top-k, and a regular grid."""
    yield Entry(
        GreedySpec,
        Greedy,
        "exact greedy: pick the highest score, update gains, repeat",
        paper="Nemhauser, Wolsey, Fisher 1978",
        default=True,
    )
    yield Entry(TopKSpec, TopK, "the highest scores at once, gains of the empty set")
    yield Entry(GridSpec, Grid, "evenly spaced tokens, whatever their scores; the control")
    yield Entry(
        StrideSpec,
        Stride,
        "every s-th token from the first on, whatever the scores",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        StochasticSpec,
        Stochastic,
        "greedy over random samples, seeded: an approximation",
        paper="Mirzasoleiman et al. 2015",
    )
    yield Entry(KPerStepSpec, KPerStep, "several picks per step, then gains are updated: an approximation")
