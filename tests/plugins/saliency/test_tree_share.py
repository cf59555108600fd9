"""`tree_share`: one for each tree, shared by its tokens."""

from __future__ import annotations

import pytest
import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"link": "cell", "span": "any"}, [[1 / 3, 1], [1 / 3, 1 / 2], [1 / 3, 1 / 2]]),
        ({"link": "cell", "span": "all"}, [[1 / 3, 1], [1 / 3, 1], [1 / 3, 1]]),
        ({"link": "cell", "span": "mean", "threshold": 0.3}, [[1 / 3] * 2] * 3),
        ({"link": "nearest"}, [[1 / 5, 1], [1 / 5] * 2, [1 / 5] * 2]),
    ],
    ids=str,
)
def test_shares_by_hand(options: dict[str, object], wanted: list[list[float]]) -> None:
    """Place 0 shows a in all frames; place 1 shows b, then a twice."""
    a, b = [1.0, 0.0], [0.0, 1.0]
    tokens = VisualTokens.of(torch.tensor([[a, b, a, a, a, a]]), grid=(3, 1, 2))
    score = built(REGISTRY, "saliency", {"name": "tree_share", **options}).score(tokens)
    torch.testing.assert_close(score[0].view(3, 2), torch.tensor(wanted))
