"""`still_segments`: runs of frames that save most if what stands still is kept once."""

from __future__ import annotations

import itertools

import pytest
import torch
from fakes import built
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.cases import REGISTRY
from scope_core import VisualTokens
from scope_plugins.partition.still_segments import runs


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7).flatmap(lambda f: st.lists(st.tuples(*[st.booleans()] * 3), min_size=f - 1, max_size=f - 1)))
def test_no_other_division_saves_more(same: list[tuple[bool, ...]]) -> None:
    """Against all divisions of up to 7 frames of three places, each of which stood still or not at each step."""
    frames = len(same) + 1

    def saved(run: range) -> int:
        return (len(run) - 1) * sum(all(same[f - 1][n] for f in run[1:]) for n in range(3))

    still = [[0] * 3]
    for row in same:
        still.append([length + 1 if on else 0 for on, length in zip(row, still[-1], strict=True)])
    found = runs(still)
    cuts = [f for f in range(1, frames) if found[f] != found[f - 1]]
    assert found == [sum(cut <= f for cut in cuts) for f in range(frames)]
    best = max(
        sum(saved(range(a, b)) for a, b in itertools.pairwise([0, *chosen, frames]))
        for size in range(frames)
        for chosen in itertools.combinations(range(1, frames), size)
    )
    assert sum(saved(range(a, b)) for a, b in itertools.pairwise([0, *cuts, frames])) == best


@pytest.mark.parametrize(("threshold", "wanted"), [(0.8, [0, 0, 0, 1]), (-1.0, [0] * 4), (1.0, [0, 1, 1, 2])])
def test_cosines_of_a_place(threshold: float, wanted: list[int]) -> None:
    """Two places of four frames; their cosines to the frame before are (0.8, 0.9), (1, 1) and (0, -1)."""
    turns = [[0.0, 0.0], [0.6435, 0.4510], [0.6435, 0.4510], [0.6435 + torch.pi / 2, 0.4510 + torch.pi]]
    angle = torch.tensor(turns, dtype=torch.float64) * 0.999
    x = torch.stack([angle.cos(), angle.sin()], -1).reshape(1, 8, 2)
    part = built(REGISTRY, "partition", {"name": "still_segments", "threshold": min(threshold, 1 - 1e-9)})
    labels = part.label(VisualTokens.of(x, grid=(4, 1, 2)), [4])
    assert labels[0].view(4, 2)[:, 0].tolist() == wanted
