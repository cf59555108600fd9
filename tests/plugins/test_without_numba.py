"""Facility location where numba is missing: the loop's picks, gains and scores, to the last bit; and an oracle's.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import watcher
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import scope_core as scope
from plugins.test_compiled import COMBINERS, KINDS, both, features
from plugins.test_large import BESIDE, PROGRAM
from scope_core import VisualTokens, greedy
from scope_core.parts import Picks, Problem
from scope_plugins.coverage._fast import compiled, in_torch
from scope_plugins.coverage._fast.in_torch import FacilityLocationInTorch
from scope_plugins.coverage.facility_location import FacilityLocation, FacilityLocationSpec

pytestmark = pytest.mark.filterwarnings("error")
NORM = {"name": "facility_location", "weights": "feature_norm"}
SIMILARITIES: tuple[Any, ...] = (
    "cosine",
    "dot",
    {"name": "row_softmax", "of": "cosine"},
    {"name": "without_negatives", "how": "shift", "of": "cosine"},
)


@contextmanager
def small(sizes: tuple[int, int] | None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if sizes is not None:
            patch.setattr(in_torch, "FEW", sizes[0])
            patch.setattr(in_torch, "MANY", max(sizes))
        yield


@contextmanager
def no_numba(groups: list[int] | None = None, sizes: tuple[int, int] | None = None) -> Iterator[None]:
    """Without numba.

    Args:
        groups: Gets the number of groups of each call of the kernel that made picks.
        sizes: Fewer tokens to be scored together, so that others have to be looked at in small groups too.
    """
    with pytest.MonkeyPatch.context() as patch, small(sizes):
        patch.setattr(compiled, "available", lambda: False)
        patch.setattr(compiled, "installed", lambda: False)
        inner = FacilityLocationInTorch.picks

        def picks(self: Any, *args: Any) -> Picks | None:
            made = inner(self, *args)
            if groups is not None and made is not None:
                groups.append(len(args[-1]))
            return made

        patch.setattr(FacilityLocationInTorch, "picks", picks)
        yield


def equal(fast: Any, slow: Any) -> None:
    for column in ("picks", "gains", "scores"):
        mine, other = getattr(fast, column), getattr(slow, column)
        assert torch.equal(mine.isnan(), other.isnan())
        assert torch.equal(mine.nan_to_num(), other.to(mine.dtype).nan_to_num()), column


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, in_torch.GROUPS),
    count=st.integers(1, 90),
    seed=st.integers(0, 10**6),
    coverage=st.sampled_from(("facility_location", NORM)),
    similarity=st.sampled_from(SIMILARITIES),
    combiner=st.sampled_from((*COMBINERS, {"name": "balance", "share": 0.3})),
    dtype=st.sampled_from(("float32", "float64")),
    coarse=st.booleans(),
    ratio=st.sampled_from((0.0, 0.3, 1.0)),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 9)),
    data=st.data(),
)
def test_bit_for_bit(
    kind: str,
    batch: int,
    count: int,
    seed: int,
    coverage: Any,
    similarity: Any,
    combiner: Any,
    dtype: str,
    coarse: bool,
    ratio: float,
    sizes: tuple[int, int],
    data: st.DataObject,
) -> None:
    """Copies, zero rows, few distinct numbers, negative cosines; padding, required tokens, none to all of a group."""
    generator = torch.Generator().manual_seed(seed + 1)
    x = features(kind, batch, count, seed)
    saliency = torch.rand(batch, count, generator=generator)
    saliency = (saliency * 3).round() + 0.5 if coarse else saliency
    valid = torch.rand(batch, count, generator=generator) > 0.2
    valid[:, 0] = True
    cells = data.draw(st.lists(st.integers(0, count - 1), max_size=2, unique=True))
    must = [cell for cell in cells if bool(valid[:, cell].all())] if ratio == 1 else []
    some = ratio * int(valid.sum(1).min()) >= 1
    spec = {
        "budget": {"name": "ratio", "keep_ratio": ratio} if some else {"name": "tokens", "keep": 0},
        "coverage": coverage,
        "similarity": similarity,
        "combiner": combiner,
        "dtype": dtype,
        "constraints": [{"name": "cells", "keep": [[0, cell] for cell in must]}] if must else [],
        "given": {"saliency": saliency, "valid": valid, "grid": (1, count)},
    }
    groups = list[int]()
    with no_numba(groups, sizes):
        fast, slow = both(x, **spec)
    assert groups
    equal(fast, slow)
    equal(fast, both(x, **spec)[0])  # by numba, where there is one
    assert not must or {*must} == {*fast.picks[0, : len(must)].tolist()}


MATRICES = ("cosines", "whole numbers", "equal", "zeros", "negative", "wide", "one-sided", "copies")


def matrix_of(kind: str, count: int, seed: int) -> Tensor:
    """(N, N) float64 of a kind that is known to make trouble."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    if kind == "copies":
        x[count // 2 :] = x[: count - count // 2].clone()
    S = torch.nn.functional.normalize(x, dim=1)
    S = S @ S.T
    noise = torch.randn(count, count, generator=generator, dtype=torch.float64)
    made = {
        "whole numbers": noise.mul(2).round(),
        "equal": torch.ones_like(S),
        "zeros": torch.zeros_like(S),
        "negative": -S.abs(),
        "wide": noise * 10.0 ** torch.randint(-30, 2, (count, count), generator=generator),
        "one-sided": noise,
    }
    return made.get(kind, S)


def oracle(S: Tensor, step: float, level: Tensor, scale: Tensor, offset: Tensor, keep: int) -> list[Any]:
    """(index, gain, score) of every pick, from sums made anew: slow and obvious.

    Args:
        S: (N, N).
        step: Of the grid.
        level: (N,) 2 for required tokens, 1 for other candidates, 0 for the rest.
        scale: (N,).
        offset: (N,).
        keep: Number of picks.
    """
    rows = [[round(number / step) * step for number in row] for row in S.double().tolist()]
    best, made, levels = [0.0] * len(rows), list[Any](), level.tolist()
    while len(made) < keep:
        among = [j for j in range(len(rows)) if levels[j] == max(levels)]
        gains = {j: math.fsum(max(0.0, row[j] - c) for row, c in zip(rows, best, strict=True)) for j in among}
        scores = {j: gains[j] * float(scale[j]) + float(offset[j]) for j in among}
        pick = min(among, key=lambda j: (-scores[j], j))
        made.append((pick, gains[pick], scores[pick]))
        best = [max(c, row[pick]) for row, c in zip(rows, best, strict=True)]
        levels[pick] = 0
    return made


def directly(S: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: list[int]) -> Picks | None:
    """The kernel's picks; by rows as well, if these are columns."""
    kernel, coverage = FacilityLocationInTorch(), FacilityLocation(FacilityLocationSpec())
    made = kernel.picks(coverage, S, tokens, scale, offset, keep)
    if torch.equal(S, S.mT):
        other = kernel.mirrored.picks(coverage, S, tokens, scale, offset, keep)
        assert (made is None) == (other is None)
        if made is not None:
            equal(made, other)
    return made


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    kinds=st.lists(st.sampled_from(MATRICES), min_size=1, max_size=in_torch.GROUPS),
    count=st.integers(1, 30),
    seed=st.integers(0, 10**6),
    power=st.sampled_from((-60, 0, 60)),
    dtype=st.sampled_from((torch.float32, torch.float64)),
    coarse=st.booleans(),
    spread=st.sampled_from((0.0, 1.0, 1e3)),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 9)),
    data=st.data(),
)
def test_picks_are_those_of_the_definition(
    kinds: list[str],
    count: int,
    seed: int,
    power: int,
    dtype: torch.dtype,
    coarse: bool,
    spread: float,
    sizes: tuple[int, int],
    data: st.DataObject,
) -> None:
    """To the last bit, of unequal counts, with required tokens and padding, from none to all."""
    generator, shape = torch.Generator().manual_seed(seed), (len(kinds), count)
    S = torch.stack([matrix_of(kind, count, seed + at) for at, kind in enumerate(kinds)])
    valid = torch.rand(shape, generator=generator) > 0.2
    S = (S * 2.0**power * valid[:, :, None] * valid[:, None, :]).to(dtype)
    tokens = VisualTokens.of(torch.ones(*shape, 2), valid=valid).require(torch.rand(shape, generator=generator) > 0.8)
    scale, offset = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    scale, offset = (scale * 3).round() if coarse else scale, (offset - 0.5) * spread
    keep = [data.draw(st.integers(0, most)) for most in tokens.n_valid]
    with small(sizes):
        made = directly(S, tokens, scale, offset, keep)
    step = 2.0 ** (math.frexp(float(S.abs().max()))[1] + count.bit_length() - 52)
    if made is None:
        assert S.any()
        assert step < torch.finfo(dtype).tiny
        return
    level = tokens.valid.int() + (tokens.required & tokens.valid).int()
    for group, number in enumerate(keep):
        wanted = oracle(S[group], step, level[group], scale[group], offset[group], number)
        columns = [column[group].tolist() for column in (made.picks, made.gains, made.scores)]
        assert list(zip(*(column[:number] for column in columns), strict=True)) == wanted
        assert columns[0][number:] == [-1] * (max(keep) - number)
        assert all(map(math.isnan, columns[1][number:] + columns[2][number:]))


ONES = torch.ones(1, 6, dtype=torch.float64)


@pytest.mark.parametrize(
    ("S", "scale"),
    [
        (torch.full((1, 6, 6), 1e-30), ONES),
        (torch.full((1, 6, 6), 1e300, dtype=torch.float64), ONES),
        (torch.eye(6)[None].half(), ONES),
        (torch.eye(6)[None], -ONES),
        (torch.full((1, 6, 6), 1e200, dtype=torch.float64), 1e200 * ONES),
        (torch.eye(6).expand(in_torch.GROUPS + 1, 6, 6), ONES.expand(in_torch.GROUPS + 1, 6)),
    ],
    ids=("tiny", "huge", "half precision", "negative scale", "infinite scores", "many groups"),
)
def test_the_rest_is_left_to_the_loop(S: Tensor, scale: Tensor) -> None:
    tokens = VisualTokens.of(torch.ones(*scale.shape, 2))
    assert directly(S, tokens, scale, 0 * scale, [2] * len(S)) is None


def test_columns_of_many_tokens_are_left_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, coverage = FacilityLocationInTorch(), FacilityLocation(FacilityLocationSpec())
    monkeypatch.setattr(in_torch, "NEAR", 5)
    given_ = (coverage, torch.eye(6)[None], VisualTokens.of(torch.ones(1, 6, 2)), ONES, ONES, [2])
    assert kernel.picks(*given_) is None
    rows = kernel.mirrored.picks(*given_)
    assert rows is not None
    assert rows.picks.tolist() == [[0, 1]]


def test_groups_of_nothing() -> None:
    made = directly(torch.zeros(0, 3, 3), VisualTokens.of(torch.ones(0, 3, 2)), ONES[:0, :3], ONES[:0, :3], [])
    assert made is not None
    assert made.picks.shape == made.gains.shape == made.scores.shape == (0, 0)
    other = directly(torch.eye(6)[None], VisualTokens.of(torch.ones(1, 6, 2)), ONES, ONES, [0])
    assert other is not None
    assert other.picks.shape == (1, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_tokens_as_images_have(kind: str) -> None:
    given_ = {"saliency": torch.rand(1, 300, generator=torch.Generator().manual_seed(1))}
    groups = list[int]()
    with no_numba(groups):
        fast, slow = both(features(kind, 1, 300, 2), budget=150, given=given_)
    assert groups == [1]
    equal(fast, slow)


def test_where_it_is_taken() -> None:
    """Not by name, on no path but ``auto``, nor in half precision; also where numba is installed and broken."""
    x, saliency = features("noise", 1, 20, 1), torch.rand(1, 20)
    groups = list[int]()
    with no_numba(groups):
        scope.select(x, saliency=saliency, spec="scope@4")
        assert groups == [1]
        for path in ("loop", "blocks"):
            spec = {"recipe": "scope", "budget": 4, "optimizer": {"name": "greedy", "path": path}}
            scope.select(x, saliency=saliency, spec=spec)
        half = {"recipe": "scope", "budget": 4, "dtype": "as_is"}
        scope.select(x.bfloat16(), saliency=saliency.bfloat16(), spec=half)
        assert groups == [1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "installed", lambda: True)
            scope.select(x, saliency=saliency, spec="scope@4")
        assert groups == [1, 1]


def test_the_plan_is_that_of_the_loop() -> None:
    with no_numba():
        looped = {"recipe": "scope", "budget": 40, "optimizer": {"name": "greedy", "path": "loop"}}
        plan, loop = scope.Pruner("scope@40").plan([3000]), scope.Pruner(looped).plan([3000])
    assert plan.memory == loop.memory == 3000**2 * 4


@watcher.needs_linux
def test_it_takes_what_the_plan_says() -> None:
    """With and without weights, and a token in the middle that is none."""
    absent = (
        "from scope_plugins.coverage._fast import compiled\ncompiled.available = compiled.installed = lambda: False"
    )
    cases = [({"coverage": part}, [3000], hole) for part in ("facility_location", NORM) for hole in (False, True)]
    for case, (added, planned) in zip(cases, watcher.measured(f"{absent}\n{PROGRAM}", cases), strict=True):
        assert 0.55 * planned <= added < planned + BESIDE, case


def test_gradients_other_strides_and_inference_mode() -> None:
    x, saliency = features("noise", 2, 24, 9), torch.rand(2, 24, generator=torch.Generator().manual_seed(9))
    wanted = scope.select(x, saliency=saliency, spec="scope@6").picks
    with no_numba(groups := list[int]()):
        strided = x.transpose(0, 2).contiguous().transpose(0, 2)
        assert torch.equal(scope.select(strided, saliency=saliency.T.contiguous().T, spec="scope@6").picks, wanted)
        leaf = x.clone().requires_grad_()
        assert torch.equal(scope.select(leaf, saliency=saliency.clone().requires_grad_(), spec="scope@6").picks, wanted)
        with torch.inference_mode():
            assert torch.equal(scope.select(x.clone(), saliency=saliency.clone(), spec="scope@6").picks, wanted)
    assert groups == [2, 2, 2]


def test_a_problem_that_carries_gradients() -> None:
    parts = scope.Pruner("scope@3").parts["selector"].parts
    tokens = VisualTokens.of(features("noise", 1, 12, 4).requires_grad_(), saliency=torch.rand(1, 12).requires_grad_())
    problem = Problem(tokens, *(parts[name] for name in ("saliency", "similarity", "coverage", "combiner")))
    with no_numba(groups := list[int]()):
        fast = greedy(problem, [3])
    assert groups == [1]
    assert torch.equal(fast.picks, greedy(problem, [3], ways=("dense",)).picks)
