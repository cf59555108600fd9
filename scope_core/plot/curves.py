"""Curves, as matplotlib axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from scope_core.errors import MissingDependencyError, TokensError, quoted
from scope_core.structures.selection import Selection


def coverage_curve(
    selections: Selection | Mapping[str, Selection | Sequence[Selection]],
    *,
    theta: float | tuple[float, ...] = 0.8,
    ax: Any = None,
) -> Any:
    """theta-coverage over the number of kept tokens, as the mean over images.

    A single selection gives a whole curve: the coverage after each of its picks. For greedy selection that is also the
    coverage at every smaller budget; for methods that choose other tokens at other budgets (grids, budgets by tile,
    mergers), give one selection for each budget instead.

    Args:
        selections: A selection; or ``{name: selection}``; or ``{name: [selection, ...]}`` with one for each budget.
        theta: Threshold of theta-coverage in [-1, 1]; several give one line each.
        ax: matplotlib axes to draw on; new ones if left out.

    Returns:
        The axes. ``ax.figure.savefig("curve.png")`` writes them.

    Raises:
        TokensError: no selection was given, or a threshold is outside [-1, 1].
        MissingDependencyError: matplotlib is not installed.
    """
    named = selections if isinstance(selections, Mapping) else {"": selections}
    if not named:
        raise TokensError("no selection was given; give {name: selection}")
    thetas = theta if isinstance(theta, tuple) else (theta,)
    ax = axes(ax)
    for name, given in named.items():
        points = [given] if isinstance(given, Selection) else list(given)
        if not points or not all(isinstance(one, Selection) for one in points):
            raise TokensError(f"'{name}' is {quoted(given)}; give a Selection, or a list of them, one for each budget")
        for level in thetas:
            label = " ".join(part for part in (str(name), f"at {level:g}" if len(thetas) > 1 else "") if part)
            if isinstance(given, Selection):
                across, up = list(range(1, len(curve := prefix_coverage(given, level)) + 1)), curve
            else:
                pairs = sorted((max(one.counts), float(one.coverage(level).mean())) for one in points)
                across, up = [count for count, _ in pairs], [share for _, share in pairs]
            marker = {} if isinstance(given, Selection) else {"marker": "o"}
            ax.plot(across, up, label=label or None, **marker)
    finish(ax, "kept tokens per image", f"coverage at {thetas[0]:g}" if len(thetas) == 1 else "coverage")
    return ax


def prefix_coverage(selection: Selection, theta: float) -> list[float]:
    """theta-coverage after each pick, as the mean over images; rows with fewer picks keep their last value."""
    selection.coverage(theta)  # refuses a threshold outside [-1, 1]
    tokens = selection.tokens
    unit = replace(tokens, features=tokens.features.float()).unit()
    best = unit.new_full(tokens.valid.shape, -torch.inf)
    count, curve = tokens.valid.sum(1).clamp(min=1), []
    for pick in selection.picks.unbind(1):
        row = unit.gather(1, pick.clamp(min=0)[:, None, None].expand(-1, 1, unit.shape[2]))
        cosine = torch.einsum("bnd,bkd->bnk", unit, row)[..., 0]
        best = torch.maximum(best, cosine.masked_fill((pick < 0)[:, None], -torch.inf))
        covered = (best >= theta - 1e-6) & tokens.valid
        curve.append(float((covered.sum(1) / count).mean()))
    return curve


def axes(ax: Any) -> Any:
    """``ax``, or new ones made by pyplot, which notebooks show by themselves.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingDependencyError(
            "curves need matplotlib: pip install 'scope-core[plot]'; overlays and tables work without it"
        ) from error
    return pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")[1]


def finish(ax: Any, across: str, up: str) -> None:
    """Label axes that show shares between 0 and 1."""
    ax.set(xlabel=across, ylabel=up)
    ax.grid(alpha=0.3)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False)
