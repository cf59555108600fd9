"""Greedy's compiled way is the loop's, to the last bit: picks, gains and scores, ties included.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

import importlib
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import scope_core as scope
from scope_core import greedy
from scope_core.parts import Problem
from scope_plugins.coverage._fast import arithmetic, compiled, rounds

KINDS = ("noise", "ties", "duplicates", "zero rows", "tiny", "negative", "huge", "unequal")
COMBINERS: tuple[Any, ...] = (
    {"name": "product", "alpha": 1.0},
    {"name": "product", "alpha": 0.0},
    "sum",
    "coverage_only",
)


def features(kind: str, batch: int, count: int, seed: int) -> Tensor:
    """(batch, count, 8) of a kind that is known to make trouble."""
    x = torch.randn(batch, count, 8, generator=torch.Generator().manual_seed(seed))
    if kind == "ties":
        x = x.round()
    if kind == "duplicates":
        x[:, count // 2 :] = x[:, : count - count // 2].clone()
    if kind == "zero rows":
        x[:, ::3] = 0
    if kind == "negative":
        x[:, ::2] = -x[:, : (count + 1) // 2].clone()
    if kind == "unequal":  # products on both sides of where float32 is on the grid of sums by itself
        x *= 2.0 ** -torch.randint(0, 16, (batch, count, 1), generator=torch.Generator().manual_seed(seed + 2))
    return x * {"tiny": 1e-4, "huge": 1e5}.get(kind, 1.0)


def both(x: Tensor, **spec: Any) -> tuple[scope.Selection, scope.Selection]:
    """The compiled way's selection and the loop's."""
    signals = spec.pop("given")
    whole = {"recipe": "scope", **spec}
    looped = {**whole, "optimizer": {"name": "greedy", "path": "loop"}}
    return scope.select(x, spec=whole, **signals), scope.select(x, spec=looped, **signals)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, 3),
    count=st.integers(1, 60),
    seed=st.integers(0, 10**6),
    combiner=st.sampled_from(COMBINERS),
    similarity=st.sampled_from(("cosine", "dot")),
    dtype=st.sampled_from(("float32", "float64")),
    coarse=st.booleans(),
    data=st.data(),
)
def test_bit_for_bit(
    kind: str,
    batch: int,
    count: int,
    seed: int,
    combiner: Any,
    similarity: str,
    dtype: str,
    coarse: bool,
    data: st.DataObject,
) -> None:
    x = features(kind, batch, count, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    saliency = torch.rand(batch, count, generator=generator)
    saliency = (saliency * 3).round() + 0.5 if coarse else saliency
    valid = torch.rand(batch, count, generator=generator) > 0.2
    valid[:, 0] = True
    keep = data.draw(st.integers(0, int(valid.sum(1).min())))
    fast, slow = both(
        x,
        budget={"name": "tokens", "keep": keep},
        combiner=combiner,
        similarity=similarity,
        dtype=dtype,
        given={"saliency": saliency, "valid": valid},
    )
    assert torch.equal(fast.picks, slow.picks)
    assert torch.equal(fast.gains, slow.gains)
    assert torch.equal(fast.scores, slow.scores.double())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS[:6]),
    batch=st.integers(1, 3),
    count=st.integers(1, 50),
    seed=st.integers(0, 10**6),
    coverage=st.sampled_from(("max_min", "redundancy", "graph_cut")),
    combiner=st.sampled_from((*COMBINERS, {"name": "balance", "share": 0.3})),
    dtype=st.sampled_from(("float32", "float64")),
    coarse=st.booleans(),
    data=st.data(),
)
def test_other_coverage_bit_for_bit(
    kind: str,
    batch: int,
    count: int,
    seed: int,
    coverage: str,
    combiner: Any,
    dtype: str,
    coarse: bool,
    data: st.DataObject,
) -> None:
    x, generator = features(kind, batch, count, seed), torch.Generator().manual_seed(seed + 1)
    saliency = torch.rand(batch, count, generator=generator)
    saliency = (saliency * 3).round() + 0.5 if coarse else saliency
    valid = torch.rand(batch, count, generator=generator) > 0.2
    valid[:, 0] = True
    keep = data.draw(st.integers(0, int(valid.sum(1).min())))
    fast, slow = both(
        x,
        budget={"name": "tokens", "keep": keep},
        coverage=coverage,
        combiner=combiner,
        similarity={"name": "without_negatives", "of": "cosine"},
        dtype=dtype,
        given={"saliency": saliency, "valid": valid},
    )
    for column in ("picks", "gains", "scores"):
        assert torch.equal(getattr(fast, column), getattr(slow, column)), column


@pytest.mark.parametrize("coverage", ["facility_location", "max_min", "redundancy"])
def test_required_tokens_of_other_coverage_come_first(coverage: str) -> None:
    x, saliency = features("noise", 2, 30, 3), torch.rand(2, 30)
    cells = {"name": "cells", "keep": [[0, 4], [3, 1]]}
    fast, slow = both(x, budget=5, coverage=coverage, constraints=[cells], given={"saliency": saliency, "grid": (5, 6)})
    assert torch.equal(fast.picks, slow.picks)
    assert {4, 19} == set(fast.picks[0, :2].tolist())


@pytest.mark.parametrize("coverage", ["facility_location", "max_min"])
def test_tensors_of_any_make(coverage: str) -> None:
    """Not contiguous, with gradients, of another dtype, in inference mode."""
    x, saliency = features("noise", 2, 24, 9), torch.rand(2, 24, generator=torch.Generator().manual_seed(9))
    spec = {"recipe": "scope", "coverage": coverage, "budget": 6}
    wanted = scope.select(x, saliency=saliency, spec=spec).picks
    strided = x.transpose(0, 2).contiguous().transpose(0, 2)
    assert not strided.is_contiguous()
    assert torch.equal(scope.select(strided, saliency=saliency.T.contiguous().T, spec=spec).picks, wanted)
    leaf = x.clone().requires_grad_()
    assert torch.equal(scope.select(leaf, saliency=saliency.clone().requires_grad_(), spec=spec).picks, wanted)
    assert torch.equal(scope.select(x.double(), saliency=saliency.double(), spec=spec).picks, wanted)
    with torch.inference_mode():
        assert torch.equal(scope.select(x.clone(), saliency=saliency.clone(), spec=spec).picks, wanted)
    half = scope.select(x.half(), saliency=saliency.half(), spec=spec).picks
    assert torch.equal(half, scope.select(x.half().float(), saliency=saliency.half().float(), spec=spec).picks)


def test_problems_that_carry_gradients() -> None:
    """Hosts may build a `Problem` themselves, outside of `torch.no_grad`."""
    x = features("noise", 1, 12, 4).requires_grad_()
    parts = scope.Pruner("scope@3").parts["selector"].parts
    names = ("saliency", "similarity", "coverage", "combiner")
    tokens = scope.VisualTokens.of(x, saliency=torch.rand(1, 12).requires_grad_())
    made = greedy(Problem(tokens, *(parts[name] for name in names)), [3])
    assert made.picks.shape == (1, 3)


def test_required_tokens_come_first() -> None:
    x, saliency = features("noise", 2, 30, 3), torch.rand(2, 30)
    cells = {"name": "cells", "keep": [[0, 4], [3, 1]]}
    fast, slow = both(x, budget=5, constraints=[cells], given={"saliency": saliency, "grid": (5, 6)})
    assert torch.equal(fast.picks, slow.picks)
    assert {4, 19} == set(fast.picks[0, :2].tolist())


@pytest.mark.parametrize("combiner", ["sum", "balance", "product"])
def test_padding_may_hold_anything(combiner: str) -> None:
    x, saliency = features("noise", 1, 12, 5), torch.rand(1, 12, generator=torch.Generator().manual_seed(5))
    saliency[0, 0] = torch.nan
    valid = torch.arange(12)[None] > 0
    fast, slow = both(x, budget=6, combiner=combiner, given={"saliency": saliency, "valid": valid})
    assert torch.equal(fast.picks, slow.picks)
    assert torch.equal(fast.gains, slow.gains)


def test_where_nothing_can_be_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba refuses to compile with a cache where it finds no folder to write to."""
    import numba

    real = numba.njit

    def njit(*, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function '_greedy': no locator available")
        return real(**options)

    x, saliency = features("noise", 1, 9, 0), torch.rand(1, 9)
    wanted = scope.select(x, saliency=saliency, spec="scope@4").picks
    monkeypatch.setattr(numba, "njit", njit)
    try:
        importlib.reload(rounds)
        assert torch.equal(scope.select(x, saliency=saliency, spec="scope@4").picks, wanted)
    finally:
        monkeypatch.undo()
        importlib.reload(rounds)


def test_it_is_really_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    inner = rounds.greedy_rising
    monkeypatch.setattr(rounds, "greedy_rising", lambda *args: (calls.append(1), inner(*args))[1])
    both(features("noise", 3, 9, 0), budget=4, given={"saliency": torch.rand(3, 9)})
    assert len(calls) == 3  # one for each group, and none for the loop


@pytest.mark.parametrize("by", ["machine code", "Python"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_by_four_and_alone_on_both_sides_of_where_float32_is_on_the_grid(
    dtype: Any, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against sums of fractions: numbers about 2^24 steps of the grid, one unit in the last place apart."""
    together: list[int] = []
    if by == "Python":
        lower = rounds._lower_by_four.py_func
        monkeypatch.setattr(rounds, "_lower", rounds._lower.py_func)
        monkeypatch.setattr(rounds, "_lower_by_four", lambda *given: together.append(len(given[1])) or lower(*given))
    rise = rounds.rise.py_func if by == "Python" else rounds.rise
    random = np.random.default_rng(0)
    count, rounder = 23, 1.5 * 2.0**52 * 2.0**-46
    edge = np.float32(2.0**-22)  # 2^24 steps
    near = np.array([np.nextafter(edge, 0, dtype=np.float32), edge, np.nextafter(edge, 1, dtype=np.float32)])
    near = np.concatenate([near, near / 3, near * 3, -near, [0, 0.7, 1]])
    matrix = random.choice(near, (count, count)).astype(dtype)
    exact = [[Fraction((float(number) + rounder) - rounder) for number in row] for row in matrix]
    best, gain = np.zeros(count), np.zeros(count)
    rounds.cover(matrix, rounder, gain)
    for picked in range(count):
        rise(matrix, matrix[:, picked], rounder, best, gain)
        highest = [max(0, *(row[j] for j in range(picked + 1))) for row in exact]
        assert best.tolist() == highest
        assert gain.tolist() == [
            sum(max(0, row[j] - most) for row, most in zip(exact, highest, strict=True)) for j in range(count)
        ]
    assert bool(together) == (by == "Python" and dtype is np.float32)


@pytest.mark.parametrize("coverage", ["facility_location", "max_min"])
def test_groups_on_several_threads(coverage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on one, errors included."""
    monkeypatch.setattr(compiled, "_WORTH_THREADS", 0)
    features = torch.randn(9, 30, 8, generator=torch.Generator().manual_seed(4))
    spec = {"recipe": "scope", "coverage": coverage, "combiner": "coverage_only", "budget": 7}
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            found.append(scope.select(features, spec=spec))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0].picks, found[1].picks)
    assert torch.equal(found[0].scores, found[1].scores)
    ran: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    compiled.for_each(ran.append, 5, 1)
    assert sorted(ran) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="x"):
        compiled.for_each(lambda group: int("x"), 5, 1)


def test_without_numba_the_loop_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    x, saliency = features("noise", 1, 20, 1), torch.rand(1, 20)
    wanted = scope.select(x, saliency=saliency, spec="scope@7").picks
    monkeypatch.setattr(compiled, "available", lambda: False)
    monkeypatch.setattr(rounds, "greedy_rising", None)
    assert torch.equal(scope.select(x, saliency=saliency, spec="scope@7").picks, wanted)


def test_a_numba_that_cannot_be_imported_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses releases of NumPy that it does not know."""
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not compiled.available.__wrapped__()


def test_scores_that_are_no_numbers_are_blamed_as_ever() -> None:
    """A combiner whose scores overflow is named, whichever way greedy goes."""
    x, saliency = features("noise", 1, 6, 1), torch.full((1, 6), 1e200, dtype=torch.float64)
    spec = {"recipe": "scope", "budget": 2, "combiner": {"name": "sum", "alpha": 2.0}, "dtype": "float64"}
    for path in ("auto", "loop"):
        with pytest.raises(scope.PluginOutputError, match="has score inf"):
            scope.select(x, saliency=saliency, spec={**spec, "optimizer": {"name": "greedy", "path": path}})


@settings(max_examples=50, deadline=None, derandomize=True)
@given(scale=st.sampled_from((1e-8, 1e-3, 1.0, 1e4)), seed=st.integers(0, 10**6), count=st.integers(2, 80))
def test_on_the_grid_sums_do_not_depend_on_their_order(scale: float, seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(1, count, count, generator=generator) * scale
    matrix = arithmetic.on_grid(raw, arithmetic.rounding_constant(raw))
    assert (matrix - raw).abs().max() <= scale * 1e-9
    order = torch.randperm(count, generator=generator)
    best = matrix.amax(2).clamp(min=0)
    terms = (matrix - best[:, :, None] / 2).clamp(min=0)
    forwards, backwards = torch.zeros(count).double(), torch.zeros(count).double()
    for row in range(count):
        forwards += terms[0, row]
        backwards += terms[0, order[row]]
    assert torch.equal(forwards, backwards)


def test_half_precision_is_left_as_published() -> None:
    matrix = torch.randn(1, 5, 5).half()
    assert torch.equal(arithmetic.on_grid(matrix, arithmetic.rounding_constant(matrix)), matrix.double())


NO_CACHE = "numba's cache cannot be used .*NUMBA_CACHE_DIR"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), EOFError("Ran out of input")])
def test_a_full_or_damaged_cache_of_numba_is_done_without(error: Exception) -> None:
    """Functions compiled here, one by one: a cache that raises when it is read and written."""

    def twice(x: int) -> int:
        return 2 * x

    pytest.importorskip("numba")
    dispatcher = compiled.compiled(twice)

    def fails(*_: object) -> None:
        raise error

    inner = dispatcher._cache
    inner._cache_file = type("Fails", (), {"load": fails, "save": fails})()
    compiled._warn_once.cache_clear()
    with pytest.warns(UserWarning, match=NO_CACHE) as warned:
        assert dispatcher(21) == 42
    assert dispatcher(1.5) == 3.0
    assert len(warned) == 1
