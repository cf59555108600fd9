"""`balance`: a convex combination."""

from __future__ import annotations

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_by_the_formula() -> None:
    combiner = built(REGISTRY, "combiner", {"name": "balance", "share": 0.25})
    tokens = VisualTokens.of(torch.ones(1, 3, 2))
    gain, saliency = torch.tensor([[1.0, -2, 3]]), torch.tensor([[-4.0, 0, 8]])
    prepared = combiner.prepare(saliency, tokens)
    want = 0.25 * saliency + 0.75 * gain
    assert combiner.combine(gain, prepared).equal(want)
    scale, offset = combiner.affine(prepared)
    assert (gain * scale + offset).equal(want)
