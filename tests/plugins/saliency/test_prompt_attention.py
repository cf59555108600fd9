"""`prompt_attention`: attention from the prompt, pooled over heads, by hand."""

from __future__ import annotations

import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens

LAST, ALL = [[0.5, 0.25, 0.0], [0.0, 0.5, 0.25]], [[0.25, 0.5, 0.125], [0.5, 0.25, 0.125]]
TOKENS = VisualTokens.of(
    torch.ones(1, 3, 2),
    signals={
        "decoder.last_query_attention[3]": torch.tensor([LAST]),
        "decoder.received_attention[3]": torch.tensor([ALL]),
    },
)


@pytest.mark.parametrize(
    ("heads", "last", "every"),
    [
        ("mean", [0.25, 0.375, 0.125], [0.375, 0.375, 0.125]),
        ("sum", [0.5, 0.75, 0.25], [0.75, 0.75, 0.25]),
        ("max", [0.5, 0.5, 0.25], [0.5, 0.5, 0.125]),
    ],
)
def test_by_hand(heads: str, last: list[float], every: list[float], registry: scope.Registry) -> None:
    for queries, want in (("last", last), ("all", every)):
        part = {"name": "prompt_attention", "layer": 3, "queries": queries, "heads": heads}
        assert built(registry, "saliency", part).score(TOKENS)[0].tolist() == want


def test_the_text_after_the_image(registry: scope.Registry) -> None:
    """Shorter texts are padded with rows of zeros, which count for nothing; without text, there is nothing."""
    rows = torch.rand(2, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[0, :, 2] = 0
    rows[1] = 0
    tokens = scope.VisualTokens.of(torch.ones(2, 4, 2).double(), signals={"decoder.text_attention[3]": rows})
    got = built(registry, "saliency", {"name": "prompt_attention", "layer": 3, "queries": "text"}).score(tokens)
    torch.testing.assert_close(got[0], rows[0, :, :2].mean((0, 1)))
    assert not got[1].any()


def test_the_layer_has_to_be_given() -> None:
    with pytest.raises(scope.SpecError, match="layer"):
        scope.Pruner({"recipe": "scope", "saliency": "prompt_attention"})
