"""Built-in optimizers."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.optimizer.greedy import Greedy, GreedySpec
from scope_plugins.optimizer.grid import Grid, GridSpec
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
