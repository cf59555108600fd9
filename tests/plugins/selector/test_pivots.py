"""`pivots`: DART's rounds around pivots."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.decoder_cases import alone, signals
from scope_core import Pruner, SpecError


def test_pivots_need_one() -> None:
    """Text pivots alone, and an image that no text follows."""
    x = torch.randn(1, 12, 8)
    names = {"keys": torch.zeros(1, 1, 12, 4), "hidden": x, "text_keys": torch.zeros(1, 1, 1, 4)}
    signals = {f"decoder.{name}[2]": tensor for name, tensor in names.items()}
    signals["decoder.text_hidden[2]"] = torch.zeros(1, 1, 8)
    pivots = {"name": "pivots", "pivots": 0, "keys": 2, "states": 2, "saliency": "uniform"}
    with pytest.raises(scope.TokensError, match="image 0 has no pivot"):
        scope.select(x, signals=signals, spec={"selector": pivots, "budget": 4})


def test_pivots_at_the_edges() -> None:
    features = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))
    spec: dict[str, Any] = {
        "selector": {"name": "pivots", "saliency": "feature_norm", "pivots": 3, "text_pivots": 0},
        "at": "projected",
    }
    valid = torch.ones(2, 12, dtype=torch.bool)
    valid[1, 5:] = False
    for keep in (0, 1, 2, 3, 4, 5):
        got = scope.select(features, spec={**spec, "budget": keep}, valid=valid)
        assert got.counts == (keep, keep)
        assert all(len(set(row.tolist())) == keep for row in got.picks)
        assert not (got.mask & ~valid).any()
    for wrong in ({"text_pivots": 4}, {"pivots": 0, "text_pivots": 0}):
        with pytest.raises(SpecError, match="pivot"):
            Pruner({**spec, "selector": {**spec["selector"], **wrong}, "budget": 4})


def test_pivots_give_way_to_required_tokens(registry: scope.Registry) -> None:
    features = torch.randn(1, 10, 4, generator=torch.Generator().manual_seed(1))
    part = built(registry, "selector", {"name": "pivots", "saliency": "feature_norm", "pivots": 3, "text_pivots": 0})
    for required in ([0, 1], [7, 8, 9], [2, 3, 4, 5]):
        mask = torch.zeros(1, 10, dtype=torch.bool)
        mask[0, required] = True
        tokens = scope.VisualTokens.of(features, required=mask)
        for keep in range(len(required), 11):
            picks = part.select(tokens, [keep]).picks[0].tolist()
            assert len(set(picks)) == keep
            assert set(required) <= set(picks)


def test_pivots_as_in_a_set_do_not_depend_on_the_padding_of_a_batch() -> None:
    """Positions of the text follow from the image's own tokens, not from those of the largest image."""
    features = torch.randn(2, 24, 8, generator=torch.Generator().manual_seed(0))
    read = signals(features, (1, 2))
    valid = torch.arange(24) < torch.tensor([[24], [12]])
    for offset in range(20, 52):  # a set's order changes where positions reach the size of its table
        pruner = alone("dart@official", selector={"offset": offset}, budget={"name": "tokens", "keep": 10})
        together = pruner.select(features, signals=read, valid=valid)
        cut = {
            name: (tensor[1:, :, :12] if name.startswith("decoder.keys") else tensor[1:, :12])
            if not name.startswith(("decoder.text", "decoder.vision")) and "attention" not in name
            else tensor[1:]
            for name, tensor in read.items()
            if name in pruner.needs
        }
        single = pruner.select(features[1:, :12], signals=cut)
        assert together.picks[1].tolist() == single.picks[0].tolist(), offset
