"""Mergers and `bipartite` compute few similarities: the same choices as from the whole matrix, ties included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import built
from torch import Tensor

import scope_core as scope
from scope_core import VisualTokens
from scope_core.parts import similarities, similarity_rows
from scope_plugins.merger._targets import _nearest
from scope_plugins.merger.knn import _highest
from scope_plugins.selector import _folding

KEYS = "vision.keys[-2]"


def tokens_with(count: int, seed: int, copies: bool) -> VisualTokens:
    """Three groups with padding of NaN; with ``copies``, each token is one of five, and one of these is 0."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(3, count, 24, generator=draw)
    if copies:
        features[0, :5] = 0
        few = torch.cat([features[:, :5]], 1)
        features = few.gather(1, torch.randint(5, (3, count), generator=draw)[..., None].expand(-1, -1, 24)).clone()
    valid = torch.ones(3, count, dtype=torch.bool)
    valid[1, count // 2 :] = False
    features[~valid] = torch.nan
    keys = features.view(3, count, 4, 6).transpose(1, 2)
    return VisualTokens.of(features, valid=valid, signals={KEYS: keys})


@pytest.mark.parametrize("metric", ["cosine", "dot", "keys_cosine", "keys_dot", "plain_cosine", "row_softmax"])
@pytest.mark.parametrize("copies", [False, True])
def test_the_nearest_are_those_of_the_matrix(metric: str, copies: bool, registry: scope.Registry) -> None:
    options: dict[str, Any] = {"of": "cosine", "temperature": 0.2} if metric == "row_softmax" else {}
    part = built(registry, "similarity", {"name": metric, **options})
    for seed, count in enumerate((7, 33, 130, 577)):
        tokens = tokens_with(count, seed, copies)
        matrix = similarities(part, tokens)
        index = torch.randint(-1, count, (3, 11), generator=torch.Generator().manual_seed(seed))
        rows = similarity_rows(part, tokens, index)
        wanted = matrix.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, count)) * (index >= 0)[..., None]
        torch.testing.assert_close(rows, wanted, rtol=1e-5, atol=1e-5)
        targets = torch.rand(3, count, generator=torch.Generator().manual_seed(seed)) < 0.3
        targets &= tokens.valid
        targets[2] = False
        nearest = _nearest(part, tokens, targets)
        assert (nearest[2] == -1).all()
        by_matrix = matrix.masked_fill(~targets[:, None], -torch.inf)
        for group in (0, 1):
            real = tokens.valid[group]
            if not targets[group].any():
                continue
            best = by_matrix[group].amax(1)
            found = by_matrix[group].gather(1, nearest[group][:, None])[:, 0]
            torch.testing.assert_close(found[real], best[real], rtol=1e-5, atol=1e-5)
            if copies:  # of equal tokens, the first is taken
                same = (tokens.features[group][:, None] == tokens.features[group][None]).all(2) & targets[group]
                first = torch.where(same.any(1), same.int().argmax(1), -1)[nearest[group]]
                dropped = real & ~targets[group]
                assert torch.equal(first[dropped], nearest[group][dropped])


def test_numbers_that_are_not_finite_are_refused_by_the_matrix(registry: scope.Registry) -> None:
    part = built(registry, "similarity", {"name": "dot"})
    tokens = VisualTokens.of(torch.full((1, 4, 8), 1e30))
    with pytest.raises(scope.ScopeError, match=r"similarity 'dot'.*inf for image 0"):
        similarity_rows(part, tokens, torch.tensor([[1, 2]]))


@pytest.mark.parametrize("count", [0, 1, 3, 32, 99])
def test_the_highest_of_a_row_are_those_of_a_stable_sort(count: int) -> None:
    draw = torch.Generator().manual_seed(count)
    for levels in (2, 5, 1000):
        rows = torch.randint(levels, (2, 6, 40), generator=draw).float()
        rows[:, :, 30:] = -torch.inf
        rows[0, 0] = -torch.inf
        order = rows.sort(dim=2, descending=True, stable=True).indices[..., :count]
        wanted = torch.zeros_like(rows, dtype=torch.bool).scatter(2, order, True)
        assert torch.equal(_highest(rows, count), wanted)


class Rounded(_folding.Sums):
    """Sums of products in float64, compared in float32 as `Totals` does."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__(vectors.double() @ vectors.double().mT)
        self.dtype = vectors.dtype

    def alike(self, rows: Tensor, columns: Tensor) -> Tensor:
        return super().alike(rows, columns).float()


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("recipe", ["tome", "tome@official"])
def test_sums_of_vectors_merge_as_sums_of_similarities(
    recipe: str, copies: bool, registry: scope.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def merged(tokens: VisualTokens, keep: int) -> tuple[Tensor, Tensor, Tensor]:
        features, keys = tokens.features.nan_to_num(), tokens.signal(KEYS).nan_to_num()
        spec = {"recipe": recipe, "budget": keep, "dtype": "float32"}
        found = scope.select(features, signals={KEYS: keys}, spec=spec, registry=registry)
        return found.picks, found.weights, found.scores

    for seed, (count, keep) in enumerate([(41, 9), (64, 1), (130, 100), (577, 50)]):
        tokens = tokens_with(count, seed, copies)
        by_vectors = merged(tokens, keep)
        with monkeypatch.context() as patch:
            patch.setattr("scope_plugins.selector.bipartite.Totals", Rounded)
            by_matrix = merged(tokens, keep)
        assert torch.equal(by_vectors[0], by_matrix[0])
        assert torch.equal(by_vectors[1], by_matrix[1])
        torch.testing.assert_close(by_vectors[2], by_matrix[2], rtol=0, atol=1e-6)
        blank, ones = (
            row.expand(1, count, 24).contiguous() for row in (tokens.features[:1, 6:7], torch.ones(1, 1, 24))
        )
        picks = [
            merged(VisualTokens.of(one, signals={KEYS: one.view(1, count, 4, 6).transpose(1, 2)}), keep)[0]
            for one in (blank, ones)
        ]
        assert torch.equal(*picks)  # a blank image: ties by place alone
