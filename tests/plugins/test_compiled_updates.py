"""Coverage whose gains compiled code updates: the loop's picks, gains and scores, to the last bit; and an oracle's.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import oracles_sets
import pytest
import torch
import watcher
from fakes import with_part
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import scope_core as scope
from plugins.test_compiled import COMBINERS, KINDS, both, features
from plugins.test_large import BESIDE, LOOP, PROGRAM
from scope_core import VisualTokens, greedy
from scope_core.parts import Problem, SimilarityMetric
from scope_plugins.coverage import log_det
from scope_plugins.coverage._fast import compiled, rounds, saturated, theta_cover
from scope_plugins.coverage._fast.arithmetic import grid_constant

pytestmark = pytest.mark.filterwarnings("error")
TEXT = {"name": "text_facility_location", "temperature": 0.1}
COVERAGES: dict[str, dict[str, Any]] = {
    "log_det": {"name": "log_det"},
    "log_det, ridge": {"name": "log_det", "ridge": 0.3},
    "saturated": {"name": "saturated"},
    "saturated, small": {"name": "saturated", "share": 0.01},
    "theta_cover": {"name": "theta_cover", "theta": 0.5},
    "theta_cover, tiny": {"name": "theta_cover", "theta": 1e-9},
    "text": TEXT,
    "text, plain": {"name": "text_facility_location", "temperature": None, "rows": "sum"},
    "stacked": {"name": "stacked", "of": [TEXT, "facility_location"], "weights": [1.0, 0.5]},
    "stacked, all": {
        "name": "stacked",
        "of": [
            "saturated",
            {"name": "stacked", "of": [{"name": "log_det", "ridge": 0.1}, TEXT]},
            "theta_cover",
            "facility_location",
        ],
        "weights": [0.3, 1e-3, 2, 1 / 3],
    },
}
SIMILARITIES: dict[str, Any] = {
    "cosine": "cosine",
    "dot": "dot",
    "nonnegative": {"name": "without_negatives", "of": "cosine"},
    "shifted": {"name": "without_negatives", "how": "shift", "of": "cosine"},
    "softmax": {"name": "row_softmax", "of": "cosine"},
}


def fitting(coverage: str, similarity: str) -> Any:
    """The similarity, or one that the coverage is defined for."""
    if "all" in coverage:
        return SIMILARITIES["shifted"]
    if coverage.startswith("log_det"):
        return SIMILARITIES[similarity if similarity in ("dot", "shifted") else "cosine"]
    return SIMILARITIES[similarity if similarity in ("shifted", "softmax") or "sat" not in coverage else "nonnegative"]


def equal(fast: scope.Selection, slow: scope.Selection) -> None:
    for column in ("picks", "gains", "scores"):
        mine, other = getattr(fast, column), getattr(slow, column)
        assert torch.equal(mine.isnan(), other.isnan())  # behind the last pick of a smaller group
        assert torch.equal(mine.nan_to_num(), other.to(mine.dtype).nan_to_num()), column


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from((*KINDS[:6], "unequal", "one direction")),
    batch=st.integers(1, 3),
    count=st.integers(1, 90),
    words=st.integers(0, 9),
    seed=st.integers(0, 10**6),
    coverage=st.sampled_from(sorted(COVERAGES)),
    similarity=st.sampled_from(sorted(SIMILARITIES)),
    combiner=st.sampled_from((*COMBINERS, {"name": "balance", "share": 0.3}, "kernel")),
    dtype=st.sampled_from(("float32", "float64")),
    coarse=st.booleans(),
    ratio=st.sampled_from((0.0, 0.3, 1.0)),
    data=st.data(),
)
def test_bit_for_bit(
    kind: str,
    batch: int,
    count: int,
    words: int,
    seed: int,
    coverage: str,
    similarity: str,
    combiner: Any,
    dtype: str,
    coarse: bool,
    ratio: float,
    data: st.DataObject,
) -> None:
    """Copies, zero rows, few distinct numbers, negative cosines; padding, required tokens, none to all of a group."""
    generator = torch.Generator().manual_seed(seed + 1)
    x = features("noise" if kind == "one direction" else kind, batch, count, seed)
    x = x[:, :1].expand_as(x).clone() if kind == "one direction" else x
    saliency = torch.rand(batch, count, generator=generator)
    saliency = (saliency * 3).round() + 0.5 if coarse else saliency
    valid = torch.rand(batch, count, generator=generator) > 0.2
    valid[:, 0] = True
    text = torch.randn(batch, words, 8, generator=generator)
    text[:, 5:] = 0
    cells = data.draw(st.lists(st.integers(0, count - 1), max_size=2, unique=True))
    must = [cell for cell in cells if bool(valid[:, cell].all())] if ratio == 1 else []
    signals = {"saliency": saliency, "valid": valid, "grid": (1, count), "signals": {"text.embeddings": text}}
    fast, slow = both(
        x,
        budget={"name": "ratio", "keep_ratio": ratio}
        if ratio and ratio * int(valid.sum(1).min()) >= 1
        else {"name": "tokens", "keep": 0},
        coverage=COVERAGES[coverage],
        similarity=fitting(coverage, similarity),
        combiner=combiner,
        dtype=dtype,
        constraints=[{"name": "cells", "keep": [[0, cell] for cell in must]}] if must else [],
        given=signals,
    )
    equal(fast, slow)
    assert not must or {*must} == {*fast.picks[0, : len(must)].tolist()}


@pytest.mark.parametrize("coverage", sorted(COVERAGES))
def test_it_is_really_taken(coverage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    choose = rounds.choose
    monkeypatch.setattr(rounds, "choose", lambda *args: (calls.append(1), choose(*args))[1])
    given = {"saliency": torch.rand(3, 20), "signals": {"text.embeddings": torch.randn(3, 4, 8)}}
    similarity = fitting(coverage, "cosine")
    both(features("noise", 3, 20, 0), budget=4, coverage=COVERAGES[coverage], similarity=similarity, given=given)
    assert len(calls) == 3 * 4  # each pick of each group, and none for the loop


@pytest.mark.parametrize("recipe", ["cdpruner", "mmtok"])
def test_published_recipes_are_served(recipe: str) -> None:
    """576 tokens, 192 kept, and more rows than one block of the factor."""
    generator = torch.Generator().manual_seed(4)
    x, text = torch.randn(1, 576, 64, generator=generator), torch.randn(1, 12, 64, generator=generator)
    signals = {"text.embeddings": text, "vision.hidden[-2]": x, "text.relevance_tokens": x, "text.relevance": text}
    made = []
    for path in ("compiled", "loop"):
        pruner = scope.Pruner({"recipe": recipe, "budget": 192, "optimizer": {"name": "greedy", "path": path}})
        given = {name: signals[name] for name in pruner.needs if name in signals}
        saliency = None if recipe == "mmtok" else torch.rand(1, 576, generator=torch.Generator().manual_seed(5))
        made.append(pruner.select(x, saliency=saliency, signals=given))
    equal(*made)


@pytest.mark.parametrize("kind", ["noise", "duplicates", "zero rows"])
@pytest.mark.parametrize(
    ("coverage", "value"),
    [
        ("log_det, ridge", lambda S, A: oracles_sets.log_det(S, A, 0.3)),
        ("saturated", oracles_sets.saturated),
        ("theta_cover", lambda S, A: oracles_sets.theta_cover(S, A, 0.5)),
        (
            {"name": "stacked", "of": ["facility_location", "theta_cover"], "weights": [0.5, 2.0]},
            lambda S, A: 0.5 * oracles_sets.facility_location(S, A) + 2 * oracles_sets.theta_cover(S, A),
        ),
    ],
)
def test_picks_are_those_of_the_definition(coverage: Any, value: Any, kind: str) -> None:
    """Every pick from the set function itself, evaluated anew for every token: slow, obvious, float64."""
    x = features(kind, 1, 18, 11)
    part, similarity = COVERAGES.get(coverage, coverage) if isinstance(coverage, str) else coverage, "cosine"
    if "saturated" in part["name"]:
        similarity = SIMILARITIES["shifted"]
    S = oracles.cosine_matrix(x[0].double().numpy())
    S = (S + 1) / 2 if similarity != "cosine" else S
    spec = {"recipe": "coverage_only", "coverage": part, "similarity": similarity, "dtype": "float64", "budget": 9}
    got = scope.select(x, spec={**spec, "optimizer": {"name": "greedy", "path": "compiled"}})
    kept: list[int] = []
    for step, pick in enumerate(got.picks[0].tolist()):
        had = value(S, kept)
        gains = {j: value(S, [*kept, j]) - had for j in range(18) if j not in kept}
        assert got.gains[0, step].item() == pytest.approx(gains[pick], abs=1e-9)
        best = [j for j, gain in gains.items() if gain >= max(gains.values()) - 1e-9]
        assert pick in best  # cosines of copies may differ in the last bit, and then so do their gains
        assert pick == best[0] or part["name"] != "theta_cover"
        kept.append(pick)


class TestLogDet:
    def test_what_is_refused_is_refused(self, registry: scope.Registry) -> None:
        def indefinite(self: Any, tokens: VisualTokens) -> Tensor:
            return torch.ones(*tokens.shape[:2], tokens.shape[1]) * 2 - torch.eye(tokens.shape[1])

        registry = with_part(registry, SimilarityMetric, "acme.indefinite", pairwise=indefinite)
        for similarity, what in (("row_softmax", "symmetric"), ({"name": "acme.indefinite"}, "positive semi-definite")):
            spec = {"recipe": "coverage_only", "coverage": "log_det", "similarity": similarity, "budget": 3}
            for path in ("compiled", "loop"):
                optimizer = {"name": "greedy", "path": path}
                with pytest.raises(scope.SpecError, match=f"is not {what}"):
                    scope.select(features("noise", 1, 6, 0), spec={**spec, "optimizer": optimizer}, registry=registry)

    @pytest.mark.parametrize("keep", [log_det.BLOCK - 1, log_det.BLOCK, log_det.BLOCK + 1, 3 * log_det.BLOCK])
    def test_rows_of_the_factor_in_blocks(self, keep: int) -> None:
        x = torch.randn(2, 200, 256, generator=torch.Generator().manual_seed(6))
        fast, slow = both(x, budget=keep, coverage="log_det", combiner="coverage_only", given={})
        equal(fast, slow)
        S = oracles.cosine_matrix(x[1].numpy())
        assert fast.gains[1].sum().item() == pytest.approx(oracles_sets.log_det(S, fast.picks[1].tolist()), abs=1e-3)

    @watcher.needs_linux
    def test_all_tokens_take_what_the_plan_says(self) -> None:
        """As much as the similarity, and a factor of as many rows in float64."""
        spec = {"coverage": "log_det", "combiner": "coverage_only", "similarity": "spatial"}
        everything = {"name": "ratio", "keep_ratio": 1.0}
        cases = [({**spec, "budget": everything, "optimizer": way}, [1600], False) for way in ("greedy", LOOP)]
        for added, planned in watcher.measured(PROGRAM, cases):
            assert planned == 3 * 1600**2 * 4
            assert 0.7 * planned < added < planned + BESIDE


@pytest.mark.parametrize("coverage", ["log_det", "saturated", "theta_cover", "stacked"])
def test_where_there_is_no_compiled_way_it_says_why(coverage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, saliency = features("noise", 1, 12, 0), torch.rand(1, 12)
    given = {"saliency": saliency, "signals": {"text.embeddings": torch.randn(1, 3, 8)}}
    spec: dict[str, Any] = {"recipe": "scope", "coverage": COVERAGES[coverage], "budget": 4}
    spec |= {"similarity": fitting(coverage, "cosine"), "optimizer": {"name": "greedy", "path": "compiled"}}
    half = {"saliency": saliency.half(), "signals": {"text.embeddings": given["signals"]["text.embeddings"].half()}}
    with pytest.raises(scope.SpecError, match="half precision"):
        scope.select(x.half(), spec={**spec, "dtype": "as_is"}, **half)
    monkeypatch.setattr(compiled, "available", lambda: False)
    with pytest.raises(scope.SpecError, match="numba is not installed"):
        scope.select(x, spec=spec, **given)
    loop = scope.select(x, spec={**spec, "optimizer": {"name": "greedy", "path": "loop"}}, **given)
    assert torch.equal(scope.select(x, spec={**spec, "optimizer": "greedy"}, **given).picks, loop.picks)


def test_a_stack_with_a_function_that_has_one_way_only_is_served_by_the_loop() -> None:
    x, saliency = features("ties", 2, 15, 3), torch.rand(2, 15)
    mixed = {"name": "stacked", "of": ["facility_location", "max_min"]}
    fast, slow = both(x, budget=6, coverage=mixed, given={"saliency": saliency})
    equal(fast, slow)
    spec = {"recipe": "scope", "coverage": mixed, "budget": 4, "optimizer": {"name": "greedy", "path": "compiled"}}
    with pytest.raises(scope.SpecError, match=r"'max_min'.* has no compiled update"):
        scope.select(x, saliency=saliency, spec=spec)


def test_numbers_too_small_for_a_grid_are_left_to_the_loop() -> None:
    assert grid_constant(torch.full((1, 3, 3), 1e-30)) is None
    assert grid_constant(torch.zeros(1, 3, 3)) == 0
    x = features("noise", 1, 20, 3) * 1e-15
    fast, slow = both(
        x,
        budget=9,
        coverage=COVERAGES["stacked"],
        similarity="dot",
        given={"saliency": torch.ones(1, 20), "signals": {"text.embeddings": torch.randn(1, 3, 8)}},
    )
    equal(fast, slow)


@pytest.mark.parametrize("coverage", ["log_det", "saturated", "stacked", "text"])
def test_scores_that_are_no_numbers_are_blamed_as_ever(coverage: str) -> None:
    x, saliency = features("noise", 1, 6, 1), torch.full((1, 6), 1e308, dtype=torch.float64)
    text = torch.randn(1, 3, 8) * 50
    part = (
        {"name": "text_facility_location", "temperature": 1e-4, "rows": "sum"}
        if coverage == "text"
        else COVERAGES[coverage]
    )
    spec = {"recipe": "scope", "budget": 2, "coverage": part, "combiner": {"name": "product", "alpha": 1.0}}
    spec |= {"dtype": "float64", "similarity": SIMILARITIES["shifted"]}
    said = []
    for path in ("auto", "loop"):
        try:
            scope.select(
                x,
                saliency=saliency,
                signals={"text.embeddings": text},
                spec={**spec, "optimizer": {"name": "greedy", "path": path}},
            )
        except scope.PluginOutputError as error:
            said.append(str(error))
    assert len(said) in (0, 2)
    assert len({*said}) <= 1


def test_gradients_other_strides_and_inference_mode() -> None:
    x = features("noise", 2, 24, 9)
    for coverage in ("log_det", "saturated", "theta_cover"):
        spec = {"recipe": "coverage_only", "coverage": coverage, "similarity": fitting(coverage, "cosine"), "budget": 6}
        wanted = scope.select(x, spec=spec).picks
        assert torch.equal(scope.select(x.transpose(0, 2).contiguous().transpose(0, 2), spec=spec).picks, wanted)
        assert torch.equal(scope.select(x.clone().requires_grad_(), spec=spec).picks, wanted)
        with torch.inference_mode():
            assert torch.equal(scope.select(x.clone(), spec=spec).picks, wanted)


def test_a_problem_that_carries_gradients() -> None:
    x = features("noise", 1, 12, 4).requires_grad_()
    for coverage in ("log_det", "theta_cover"):
        parts = scope.Pruner({"recipe": "scope", "coverage": coverage, "budget": 3}).parts["selector"].parts
        tokens = VisualTokens.of(x, saliency=torch.rand(1, 12).requires_grad_())
        problem = Problem(tokens, *(parts[name] for name in ("saliency", "similarity", "coverage", "combiner")))
        assert torch.equal(greedy(problem, [3]).picks, greedy(problem, [3], ways=("dense",)).picks)


@pytest.mark.parametrize("seed", range(3))
def test_the_kernels_as_python_do_what_they_do_compiled(seed: int) -> None:
    """What numba makes of them is what they say: no fused operation, no other order."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(7, 9)).astype(np.float32)
    S = np.ascontiguousarray(oracles.cosine_matrix(x).clip(0).astype(np.float32))
    given = float(grid_constant(torch.from_numpy(S)[None]))
    lowered = saturated.kernels(), (S, given, given / (1.5 * 2.0**52), 0.3), 3
    covered = theta_cover.kernels(), (S, 0.2), 2
    for (start, update), read, columns in (lowered, covered):
        made = []
        for starts, updates in ((start, update), (start.py_func, update.py_func)):
            written = np.ones((columns, 7))
            gain, left, *highest = written
            order = (gain, left, *highest) if columns == 3 else (left, gain)
            starts(*read, *order)
            updates(*read[:2], *highest, left, gain, 2)
            made.append(written)
        assert np.array_equal(*made)
