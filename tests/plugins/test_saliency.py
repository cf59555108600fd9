"""Saliency sources against the oracle's attention, by hand, and their determinism."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens

HEADS, PATCHES, WIDTH = 3, 6, 4


def queries_and_keys(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(H, 1 + N, d) queries and keys of CLS and the patches."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(HEADS, 1 + PATCHES, WIDTH)), rng.normal(size=(HEADS, 1 + PATCHES, WIDTH))


def tokens_with(**signals: np.ndarray) -> VisualTokens:
    named = {f"vision.{name}[-2]": torch.tensor(value)[None] for name, value in signals.items()}
    return VisualTokens.of(torch.ones(1, PATCHES, 2, dtype=torch.float64), signals=named)


def pooled(attention: np.ndarray, heads: str) -> np.ndarray:
    pooled: np.ndarray = {"sum": np.sum, "mean": np.mean, "max": np.max}[heads](attention, axis=0)
    return pooled


@pytest.mark.parametrize("heads", ["sum", "mean", "max"])
def test_cls_attention(heads: str, registry: scope.Registry) -> None:
    q, k = queries_and_keys()
    attention = oracles.cls_attention(q[:, 0], k, WIDTH**-0.5)
    source = built(registry, "saliency", {"name": "cls_attention", "heads": heads})
    assert source.needs == {"vision.cls_attention[-2]"}
    np.testing.assert_allclose(source.score(tokens_with(cls_attention=attention))[0], pooled(attention, heads))


@pytest.mark.parametrize("heads", ["sum", "mean", "max"])
def test_received_attention(heads: str, registry: scope.Registry) -> None:
    q, k = queries_and_keys()
    attention = oracles.received_attention(q, k, 1, WIDTH**-0.5)
    source = built(registry, "saliency", {"name": "received_attention", "heads": heads})
    assert source.needs == {"vision.received_attention[-2]"}
    np.testing.assert_allclose(source.score(tokens_with(received_attention=attention))[0], pooled(attention, heads))


@pytest.mark.parametrize("name", ["cls_attention", "received_attention"])
def test_the_layer_is_part_of_the_signal(name: str, registry: scope.Registry) -> None:
    source = built(registry, "saliency", {"name": name, "layer": -1})
    assert source.needs == {f"vision.{name}[-1]"}
    with pytest.raises(scope.SignalError, match=rf"did you mean 'vision.{name}\[-2\]'"):
        source.score(tokens_with(**{name: np.ones((HEADS, PATCHES))}))


@pytest.mark.parametrize("order", [1.0, 2.0, 3.5])
def test_feature_norm(order: float, registry: scope.Registry) -> None:
    features = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = built(registry, "saliency", {"name": "feature_norm", "order": order}).score(VisualTokens.of(features))
    np.testing.assert_allclose(got, (np.abs(features.numpy()) ** order).sum(-1) ** (1 / order))


def test_uniform(registry: scope.Registry) -> None:
    assert built(registry, "saliency", "uniform").score(VisualTokens.of(torch.rand(2, 5, 3))).eq(1).all()


class TestRandom:
    def scores(self, registry: scope.Registry, seed: int, valid: torch.Tensor) -> torch.Tensor:
        source = built(registry, "saliency", {"name": "random", "seed": seed})
        scores: torch.Tensor = source.score(VisualTokens.of(torch.ones(*valid.shape, 2), valid=valid))
        return scores

    def test_depends_on_the_seed_alone(self, registry: scope.Registry) -> None:
        valid = torch.ones(2, 9, dtype=torch.bool)
        state = torch.random.get_rng_state()
        first = self.scores(registry, 0, valid)
        assert torch.random.get_rng_state().equal(state)
        torch.manual_seed(5)
        assert self.scores(registry, 0, valid).equal(first)
        assert not self.scores(registry, 1, valid).equal(first)
        assert ((first >= 0) & (first < 1)).all()

    def test_padding_and_batch_change_nothing(self, registry: scope.Registry) -> None:
        valid = torch.tensor([[True] * 4 + [False] * 2, [False, True, True, False, True, True]])
        alone = self.scores(registry, 3, torch.ones(1, 4, dtype=torch.bool))[0]
        padded = self.scores(registry, 3, valid)
        assert padded[0][valid[0]].equal(alone)
        assert padded[1][valid[1]].equal(alone)


@pytest.mark.parametrize("name", ["cls_attention", "received_attention", "feature_norm", "uniform", "random"])
def test_scores_are_never_negative_as_declared(name: str, registry: scope.Registry) -> None:
    attention = np.random.default_rng(0).dirichlet(np.ones(PATCHES), size=HEADS)
    source = built(registry, "saliency", name)
    assert source.nonnegative
    assert (source.score(tokens_with(cls_attention=attention, received_attention=attention)) >= 0).all()
