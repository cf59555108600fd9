"""Composite and chain."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope

GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(2, 30, 8, generator=GENERATOR)
SALIENCY = torch.rand(2, 30, generator=GENERATOR)
TOP = {"name": "composite", "coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"}


def chain(stages: list[Any], shares: list[float], **more: Any) -> scope.Selection:
    spec = {"selector": {"name": "chain", "stages": stages, "shares": shares}, "budget": 8, **more}
    return scope.select(FEATURES, saliency=SALIENCY, spec=spec, grid=(5, 6))


def test_composite_is_what_a_recipe_is_made_of(registry: scope.Registry) -> None:
    short = scope.select(FEATURES, saliency=SALIENCY, spec="scope@8").picks
    assert scope.select(FEATURES, saliency=SALIENCY, spec={"selector": "composite", "budget": 8}).picks.equal(short)


@pytest.mark.parametrize(
    ("parts", "asked"),
    [
        ({}, {"saliency", "similarity", "coverage", "combiner", "optimizer"}),
        ({"combiner": "coverage_only"}, {"similarity", "coverage", "combiner", "optimizer"}),
        ({"combiner": "saliency_only"}, {"saliency", "combiner", "optimizer"}),
        ({"coverage": "modular"}, {"saliency", "coverage", "combiner", "optimizer"}),
    ],
)
def test_composite_names_only_the_parts_it_will_ask(
    parts: dict[str, str], asked: set[str], registry: scope.Registry
) -> None:
    selector = built(registry, "selector", {"name": "composite", **parts})
    assert {part.kind for part in selector.walk()} == {"selector", *asked}


class TestChain:
    def test_a_chain_of_one_is_its_stage(self) -> None:
        alone = scope.select(FEATURES, saliency=SALIENCY, spec="scope@8").picks
        assert chain(["composite"], [1]).picks.equal(alone)

    def test_the_first_stage_is_untouched_by_the_second(self) -> None:
        got = chain([TOP, "composite"], [3, 1])
        top = scope.select(FEATURES, saliency=SALIENCY, spec="top_k_attention@6").picks
        assert got.picks[:, :6].equal(top)
        assert got.counts == (8, 8)

    def test_the_second_stage_chooses_from_what_is_left(self) -> None:
        got = chain([TOP, "composite"], [1, 1])
        left = torch.ones(2, 30, dtype=torch.bool).scatter(1, got.picks[:, :4], False)
        rest = scope.select(FEATURES, saliency=SALIENCY, valid=left, spec="scope@4").picks
        assert got.picks[:, 4:].equal(rest)

    @given(st.lists(st.sampled_from([0.0, 1e-9, 0.1, 1 / 3, 1.0, 7.0]), min_size=1, max_size=4).filter(any))
    def test_any_shares_add_up(self, shares: list[float]) -> None:
        assert chain([TOP] * len(shares), shares).counts == (8, 8)

    @pytest.mark.parametrize(("shares", "first"), [([1, 1], 4), ([3, 1], 6), ([1e-9, 1e-9], 4), ([0.35, 0.65], 3)])
    def test_shares_are_exact(self, shares: list[float], first: int) -> None:
        got = chain([TOP, {**TOP, "saliency": "uniform"}], shares)
        assert int(got.scores[0].ne(1).sum()) == first

    def test_required_tokens_are_kept_even_by_later_stages(self) -> None:
        cells = {"name": "cells", "keep": [[4, col] for col in range(6)]}
        for stages in ([TOP, TOP], [TOP, "composite"], [{"name": "composite", "optimizer": "grid"}, TOP]):
            got = chain(stages, [1, 1], constraints=[cells])
            assert got.mask[:, 24:].all()
            assert got.counts == (8, 8)

    @pytest.mark.parametrize(("stages", "shares"), [(["composite"], [1, 1]), (["composite"], [0]), ([], [])])
    def test_wrong_shares(self, stages: list[str], shares: list[float]) -> None:
        with pytest.raises(scope.SpecError, match="shares"):
            chain(stages, shares)

    def test_stages_may_be_chains(self) -> None:
        inner = {"name": "chain", "stages": [TOP, "composite"], "shares": [1, 1]}
        assert chain([inner, TOP], [1, 1]).counts == (8, 8)
