"""`joint_attention`: the softmax over full-width queries and keys."""

from __future__ import annotations

import numpy as np
import oracles_encoder as oracle
import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.encoder_tokens import HEADS
from scope_core import VisualTokens


class TestJointAttention:
    @pytest.mark.parametrize(("layout", "scale"), [((9,), 1.0), ((9, 7), 3.0)])
    def test_is_the_softmax_of_full_width_queries_and_keys(
        self, layout: tuple[int, ...], scale: float, registry: scope.Registry
    ) -> None:
        random = np.random.default_rng(0)
        per_head, wanted = [], []
        for count in layout:
            query, keys = scale * random.normal(size=(HEADS, 4)), random.normal(size=(HEADS, 1 + count, 4))
            logits = np.exp(np.einsum("hd,hnd->hn", query, keys) / 2)
            per_head.append((logits / logits.sum(1, keepdims=True))[:, 1:])
            wanted.append(oracle.joint_attention(query, keys))
        tile = torch.tensor(np.repeat(range(len(layout)), layout))[None]
        attention = torch.tensor(np.concatenate(per_head, 1))[None]
        tokens = VisualTokens.of(
            torch.ones(1, sum(layout), 2, dtype=torch.float64),
            tile=tile,
            signals={"vision.cls_attention[-1]": attention},
        )
        got = built(registry, "saliency", {"name": "joint_attention", "layer": -1}).score(tokens)
        np.testing.assert_allclose(got[0], np.concatenate(wanted), rtol=1e-9)

    def test_attention_that_underflowed_is_least(self, registry: scope.Registry) -> None:
        attention = torch.tensor([[[0.5, 0.0, 0.25], [0.5, 0.25, 0.25]]])
        tokens = VisualTokens.of(torch.ones(1, 3, 2), signals={"vision.cls_attention[-2]": attention})
        got = built(registry, "saliency", "joint_attention").score(tokens)
        assert got.argmin() == 1
        assert bool(torch.isfinite(got).all())

    def test_exact_reads_the_attention_itself(self, registry: scope.Registry) -> None:
        source = built(registry, "saliency", {"name": "joint_attention", "exact": True})
        assert source.needs == {"vision.joint_attention[-2]"}
        tokens = VisualTokens.of(
            torch.ones(1, 3, 2), signals={"vision.joint_attention[-2]": torch.tensor([[0.1, 0.2, 0.3]])}
        )
        assert source.score(tokens).equal(torch.tensor([[0.1, 0.2, 0.3]]))
        heads = VisualTokens.of(torch.ones(1, 3, 2), signals={"vision.cls_attention[-2]": torch.full((1, 2, 3), 0.25)})
        rebuilt = built(registry, "saliency", "joint_attention").score(heads)
        assert source.score(heads).equal(rebuilt)
        with pytest.raises(scope.SignalError, match="joint_attention"):
            source.score(heads.to_dtype(torch.bfloat16))
