"""Built-in optimizers."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_optimizers() -> Iterable[Entry]:
    """Exact and approximate greedy selection, top-k, and evenly spaced tokens."""
    yield Entry(
        "scope_plugins.optimizer.greedy:Greedy",
        "greedy",
        "exact greedy: pick the highest score, update gains, repeat",
        paper="Nemhauser, Wolsey, Fisher 1978",
        default=True,
    )
    yield Entry("scope_plugins.optimizer.top_k:TopK", "top_k", "the highest scores, with the gains of the empty set")
    yield Entry("scope_plugins.optimizer.grid:Grid", "grid", "evenly spaced tokens, whatever their scores; a control")
    yield Entry(
        "scope_plugins.optimizer.stride:Stride",
        "stride",
        "every s-th token from the first on, whatever the scores",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        "scope_plugins.optimizer.stochastic:Stochastic",
        "stochastic",
        "greedy over seeded random samples, an approximation",
        paper="Mirzasoleiman et al. 2015",
    )
    yield Entry(
        "scope_plugins.optimizer.k_per_step:KPerStep",
        "k_per_step",
        "greedy with several picks between updates of gains, an approximation",
    )
