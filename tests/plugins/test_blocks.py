"""Selection without the matrix: the picks of the ways that make it, and a choice by itself where it does not fit.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

import re
from typing import Any

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scope_core as scope
from scope_core.structures import blocks
from scope_plugins.similarity.cosine import Cosine

BLOCKS, LOOP = {"name": "greedy", "path": "blocks"}, {"name": "greedy", "path": "loop"}
NONE_FITS = 1e-9
"""GiB: no room for any matrix, nor for vectors."""


def picked(x: torch.Tensor, saliency: torch.Tensor, given: dict[str, Any] | None = None, **spec: Any) -> Any:
    return scope.select(x, saliency=saliency, spec={"recipe": "scope", **spec}, **(given or {}))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["facility_location", "max_min", "redundancy", "graph_cut"]),
    st.sampled_from(["product", "sum", "coverage_only", "balance"]),
    st.integers(2, 60),
    st.sampled_from([(512, 1024), (7, 13), (10, 5)]),
)
def test_whole_numbers_give_the_same_to_the_last_tie(
    seed: int, coverage: str, combiner: str, count: int, size: tuple[int, int]
) -> None:
    """Dot products of small whole numbers are exact everywhere, and ties are everywhere."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0 if coverage == "graph_cut" else -2, 3, (2, count, 3), generator=generator).float()
    saliency = torch.randint(1, 4, (2, count), generator=generator) / 4
    valid = torch.rand(2, count, generator=generator) < 0.9
    valid[:, 0] = True
    required = valid & (torch.rand(2, count, generator=generator) < 0.1)
    keep = max(1, int(valid.sum(1).min()) - 1)
    tokens = scope.VisualTokens.of(x, valid=valid, saliency=saliency)
    tokens = tokens.require(required) if int(required.sum(1).max()) <= keep else tokens
    spec = {"recipe": "scope", "similarity": "dot", "coverage": coverage, "combiner": combiner, "budget": keep}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "TALL", size[0])
        patch.setattr(blocks, "WIDE", size[1])
        made = [scope.Pruner({**spec, "optimizer": way}).prune(tokens) for way in (BLOCKS, LOOP)]
    assert torch.equal(made[0].picks, made[1].picks)
    assert torch.equal(made[0].gains.double(), made[1].gains.double())


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(["product", "sum"]), st.integers(5, 150))
def test_cosines_give_the_oracles_picks_up_to_rounding(seed: int, combine: str, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, saliency = torch.randn(count, 12, generator=generator), torch.rand(count, generator=generator)
    x[count // 2], x[count // 3] = x[0], 0
    got = picked(x, saliency, budget=count // 2, optimizer=BLOCKS, combiner=combine)
    matrix = oracles.cosine_matrix(x.double().numpy())
    picks, gains, _ = oracles.scope_picks(matrix, saliency.double().numpy(), count // 2, combine=combine)
    if got.picks[0].tolist() != picks:
        regrets = oracles.scope_regrets(matrix, saliency.double().numpy(), got.picks[0].tolist(), combine=combine)
        assert max(regrets) <= 1e-6 * gains[0]


@pytest.mark.parametrize("similarity", ["cosine", "keys_cosine", "keys_dot", "signal_cosine", "dot", "scaled"])
@pytest.mark.parametrize("coverage", ["facility_location", "max_min", "redundancy"])
def test_every_similarity_of_vectors(similarity: str, coverage: str) -> None:
    generator = torch.Generator().manual_seed(3)
    x, saliency = torch.randn(2, 700, 24, generator=generator), torch.rand(2, 700, generator=generator)
    signals = {"vision.keys[-2]": torch.randn(2, 3, 700, 8, generator=generator), "vision.hidden[-2]": x.flip(2)}
    spec: Any = {"name": "dot", "scaled": True} if similarity == "scaled" else similarity
    made = [
        picked(x, saliency, {"signals": signals}, budget=40, coverage=coverage, similarity=spec, optimizer=way)
        for way in (BLOCKS, LOOP)
    ]
    assert torch.equal(made[0].picks, made[1].picks)  # no near ties among these
    torch.testing.assert_close(made[0].gains, made[1].gains.double(), rtol=1e-5, atol=1e-6)


def test_it_is_chosen_where_the_matrix_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x, saliency = torch.randn(2, 4000, 8, generator=generator), torch.rand(2, 4000, generator=generator)
    wanted = picked(x, saliency, budget=30)
    monkeypatch.setattr(Cosine, "pairwise", None)  # not even begun
    assert torch.equal(picked(x, saliency, budget=30, memory=0.04).picks, wanted.picks)  # 43 MB, the matrix takes 64
    short = "scope_core.parts.execution.shortfall_message"
    monkeypatch.setattr(short, lambda need, allowed, free: "" if need < 5e7 else "none is free")
    assert torch.equal(picked(x, saliency, budget=30).picks, wanted.picks)


def test_padding_is_nobodys_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    """All real similarities are negative, so that the 0 of padding would be the highest."""
    x = torch.eye(12) - 1 / 12 + torch.randn(12, 12, generator=torch.Generator().manual_seed(0)) / 500
    valid = torch.arange(12) % 5 != 2
    monkeypatch.setattr(blocks, "TALL", 3)
    monkeypatch.setattr(blocks, "WIDE", 4)
    saliency = torch.ones(12).index_fill(0, torch.tensor(0), 100.0)  # the first token is picked first
    made = [
        picked(x, saliency, {"valid": valid}, optimizer=way, coverage="max_min", budget=5) for way in (BLOCKS, LOOP)
    ]
    assert torch.equal(made[0].picks, made[1].picks)
    assert bool((made[0].gains > 1).all())
    torch.testing.assert_close(made[0].gains, made[1].gains.double())


def test_nothing_to_keep() -> None:
    x, saliency = torch.randn(1, 20, 4), torch.rand(1, 20)
    assert picked(x, saliency, budget={"name": "tokens", "keep": 0}, optimizer=BLOCKS).counts == (0,)


def test_parts_that_read_no_similarity_have_nothing_to_read_in_blocks() -> None:
    x, saliency = torch.randn(1, 20, 4), torch.rand(1, 20)
    made = [picked(x, saliency, budget=5, coverage="modular", optimizer=way).picks for way in (BLOCKS, LOOP)]
    assert torch.equal(*made)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"similarity": {"name": "row_softmax", "of": "cosine"}}, "similarity 'row_softmax'"),
        ({"coverage": "theta_cover"}, "coverage 'theta_cover'"),
        ({"combiner": "kernel"}, "combiner 'kernel'"),
        ({"dtype": "as_is"}, "dtype: float32"),
    ],
)
def test_why_it_is_not_done_without_the_matrix_is_said(spec: dict[str, Any], said: str) -> None:
    x, saliency = torch.randn(1, 60, 4), torch.rand(1, 60)
    x, saliency = (x.half(), saliency.half()) if "dtype" in spec else (x, saliency)
    with pytest.raises(scope.SpecError, match=f"path 'blocks' is not possible here: .*{said}"):
        picked(x, saliency, budget=5, optimizer=BLOCKS, **spec)
    with pytest.raises(
        scope.TooLargeError, match=f"60 x 60.*`memory: 1e-09` allows 1 byte.*is not possible here: .*{said}"
    ):
        picked(x, saliency, budget=5, memory=NONE_FITS, **spec)


@pytest.mark.parametrize("optimizer", ["stochastic", "top_k", LOOP])
def test_an_optimizer_that_needs_the_matrix_is_said(optimizer: Any) -> None:
    with pytest.raises(scope.TooLargeError, match="is not possible here: the optimizer needs the whole matrix"):
        picked(torch.randn(1, 60, 4), torch.rand(1, 60), budget=5, memory=NONE_FITS, optimizer=optimizer)


def test_vectors_that_do_not_fit_either_are_refused() -> None:
    with pytest.raises(scope.TooLargeError) as error:
        picked(torch.randn(1, 60, 4), torch.rand(1, 60), budget=5, memory=NONE_FITS)
    for said in ("image 0", "even without the matrix", "'cosine'", "60 vectors and", "`memory: 1e-09` allows 1 byte"):
        assert said in str(error.value)


def test_vectors_are_counted_once_they_are_there() -> None:
    """For a width of 1 there would be room."""
    spec = {"budget": 5, "memory": 1e-3, "optimizer": BLOCKS}
    assert scope.Pruner({"recipe": "scope", **spec}).plan([100]).in_blocks
    with pytest.raises(scope.TooLargeError, match=r"image 0: .* 100 vectors of 900 numbers .* `memory: 0.001` allows"):
        picked(torch.randn(1, 100, 900), torch.rand(1, 100), **spec)


def test_negative_similarities_are_refused_as_with_the_matrix() -> None:
    x, saliency = torch.randn(1, 60, 4), torch.rand(1, 60)
    for way in (BLOCKS, LOOP):
        with pytest.raises(scope.SpecError, match="at least 0, but similarity 'cosine'"):
            picked(x, saliency, budget=5, coverage="graph_cut", optimizer=way)


def test_vectors_of_a_plugin_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    x, saliency = torch.randn(1, 60, 4), torch.rand(1, 60)
    for wrong, said in (
        (lambda self, tokens: tokens.features[:, :5], "vectors() on image 0"),
        (lambda self, tokens: tokens.features / 0, "vectors() of image 0"),
        (lambda self, tokens: None, "gave no vectors"),
    ):
        monkeypatch.setattr(Cosine, "vectors", wrong)
        with pytest.raises(scope.ScopeError, match=re.escape(said)):
            picked(x, saliency, budget=5, optimizer=BLOCKS)


@pytest.mark.parametrize(
    ("spec", "possible"),
    [
        ({}, True),
        ({"optimizer": BLOCKS}, True),
        ({"optimizer": LOOP}, False),
        ({"optimizer": "stochastic"}, False),
        ({"coverage": "theta_cover"}, False),
        ({"coverage": "modular"}, False),
        ({"similarity": "spatial"}, False),
        ({"combiner": "kernel"}, False),
    ],
)
def test_the_plan_says_whether_it_can_be_done_without(spec: dict[str, Any], possible: bool) -> None:
    assert scope.Pruner({"recipe": "scope", "budget": 8, **spec}).plan([100]).in_blocks is possible


def test_the_plan_says_where_no_matrix_is_made_for_sure() -> None:
    count, bytes_ = 3000, 3000**2 * 4
    spec = {"recipe": "scope", "budget": 8}
    for more, memory in (({}, bytes_), ({"optimizer": BLOCKS}, 0), ({"memory": 0.03}, 0), ({"memory": 0.04}, bytes_)):
        plan = scope.Pruner({**spec, **more}).plan([count])
        assert (plan.memory, plan.in_blocks) == (memory, True)
    refused = scope.Pruner({**spec, "memory": 0.03, "optimizer": LOOP}).plan([count])
    assert (refused.memory, refused.in_blocks) == (bytes_, False)


@pytest.mark.parametrize(("last", "possible"), [("facility_location", True), ("theta_cover", False)])
def test_stages_of_a_chain_are_looked_at_where_they_read_similarities(last: str, possible: bool) -> None:
    parts = {"saliency": "uniform", "similarity": "cosine", "combiner": "product", "optimizer": "greedy"}
    first = {"name": "composite", **parts, "coverage": "modular"}
    second = {"name": "composite", **parts, "coverage": last}
    chain = {"name": "chain", "stages": [first, second], "shares": [1.0, 1.0]}
    plan = scope.Pruner({"recipe": "scope", "budget": 8, "selector": chain}).plan([100])
    assert plan.in_blocks is possible
    assert plan.memory > 0
