"""`random`: depends on the seed alone."""

from __future__ import annotations

import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


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
