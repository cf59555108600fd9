"""Built-in optimizers."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_optimizers() -> Iterable[Entry]:
    """Exact greedy, one-shot top-k, and a regular grid."""
    yield Entry(
        "scope_plugins.optimizer.greedy:Greedy",
        "greedy",
        "exact greedy: pick the highest score, update gains, repeat",
        paper="Nemhauser, Wolsey, Fisher 1978",
        default=True,
    )
    yield Entry("scope_plugins.optimizer.top_k:TopK", "top_k", "the highest scores at once, gains of the empty set")
    yield Entry("scope_plugins.optimizer.grid:Grid", "grid", "evenly spaced tokens, whatever their scores; the control")
    yield Entry(
        "scope_plugins.optimizer.stride:Stride",
        "stride",
        "every s-th token from the first on, whatever the scores",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        "scope_plugins.optimizer.stochastic:Stochastic",
        "stochastic",
        "greedy over random samples, seeded: an approximation",
        paper="Mirzasoleiman et al. 2015",
    )
    yield Entry(
        "scope_plugins.optimizer.k_per_step:KPerStep",
        "k_per_step",
        "several picks per step, then gains are updated: an approximation",
    )
