"""`scaled`: each scale by its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fakes import random_case
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.cases import POSITIVE, clip_tokens, score
from scope_core import VisualTokens


class TestScaled:
    @given(
        st.lists(st.integers(-9, 9), min_size=1, max_size=9),
        st.sampled_from(["min_max", "rank", "max", "sum", "mean", "length"]),
    )
    def test_by_the_formula(self, numbers: list[int], scale: str) -> None:
        values = [number / 4 or 0.125 for number in numbers]
        low, high, total = min(values), max(values), math.fsum(values)
        spec = {"name": "scaled", "of": POSITIVE, "scale": scale}
        if {"max": high, "sum": total, "mean": total}.get(scale, 0) < 0:  # the order of tokens would be turned around
            with pytest.raises(scope.TokensError, match=f"cannot be divided by its {scale}"):
                score(spec, clip_tokens(values))
            return
        got = score(spec, clip_tokens(values))[0]
        for value, mine in zip(values, got, strict=True):
            below, equal = sum(v < value for v in values), values.count(value)
            want = {
                "min_max": (value - low) / (high - low) if high > low else 1.0,
                "rank": (below + (equal - 1) / 2) / (len(values) - 1) if len(values) > 1 else 1.0,
                "max": value / high if high else value,
                "sum": value / total if total else value,
                "mean": value / (total / len(values)) if total else value,
                "length": value / math.sqrt(math.fsum(v * v for v in values)),
            }[scale]
            assert mine == pytest.approx(want, abs=1e-12)

    @pytest.mark.parametrize("scale", ["min_max", "rank", "max", "sum", "mean"])
    def test_padding_is_left_out(self, scale: str) -> None:
        spec = {"name": "scaled", "of": POSITIVE, "scale": scale}
        alone = score(spec, clip_tokens([0.5, 0.25, 0.75]))
        beside = score(spec, clip_tokens([0.5, 0.25, 9.0, 0.75], [True, True, False, True]))
        np.testing.assert_allclose(alone[0], beside[0, [0, 1, 3]])
        assert np.isfinite(beside).all()

    def test_over_the_call(self) -> None:
        tokens = VisualTokens.of(
            torch.ones(2, 2, 1), signals={"clip.text_similarity": torch.tensor([[[1.0, 2]], [[3, 5]]])}
        )
        spec = {"name": "scaled", "of": POSITIVE, "over": "call", "offset": 0.5}
        np.testing.assert_allclose(score(spec, tokens), [[0.5 / 4, 1.5 / 4], [2.5 / 4, 4.5 / 4]])

    def test_options_that_exclude_each_other(self) -> None:
        with pytest.raises(scope.SpecError, match="offset is an option of scale: min_max"):
            scope.Pruner({"recipe": "scope", "saliency": {"name": "scaled", "scale": "rank", "offset": 1}})

    def test_given_saliency_stands_in_for_the_source_inside(self) -> None:
        features, saliency = random_case(1, 12)
        spec = {
            "recipe": "scope",
            "saliency": {"name": "scaled", "scale": "rank"},
            "combiner": "saliency_only",
            "budget": 4,
        }
        assert scope.select(features, saliency=saliency, spec=spec).picks.equal(saliency.topk(4).indices)


def test_over_tiles_is_each_tile_by_itself() -> None:
    x = torch.rand(2, 9, 3, generator=torch.Generator().manual_seed(0))
    tile = torch.tensor([[0, 0, 1, 1, 1, 1, 2, 2, 2], [0, 1, 1, 0, 0, 0, 0, 0, 0]])
    image = torch.tensor([[0] * 9, [1, 1, 1, 2, 2, 2, 2, 3, 3]])
    valid = torch.arange(9) < torch.tensor([[9], [7]])
    tokens = VisualTokens.of(x, tile=tile, image=image, valid=valid)
    for scale in ("length", "min_max", "sum", "rank"):
        spec = {"name": "scaled", "of": "feature_norm", "scale": scale}
        got = score({**spec, "over": "tile"}, tokens)
        for group in range(2):
            for place in {tuple(p) for p in torch.stack([image, tile], -1)[group, valid[group]].tolist()}:
                own = (torch.stack([image, tile], -1)[group] == torch.tensor(place)).all(1) & valid[group]
                np.testing.assert_allclose(got[group, own], score(spec, VisualTokens.of(x[group, own]))[0], rtol=1e-6)
        assert not got[~valid.numpy()].any()
