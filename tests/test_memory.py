"""What selection takes is known before anything is allocated, and too much is refused by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.test_greedy import made, problem
from hypothesis import example, given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import by_group, memory
from scope_core.parts import Optimizer, Picks
from scope_core.parts import problem as problem_file

LOOP = {"name": "greedy", "path": "loop"}
SMALL = 2 * 40 * 40 * 4 / 2**30
"""GiB that two groups' matrices of 40 tokens take."""


def tokens(batch: int = 1, count: int = 40) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    return {
        "features": torch.randn(batch, count, 8, generator=generator),
        "saliency": torch.rand(batch, count, generator=generator),
    }


def test_the_plan_says_what_similarities_take() -> None:
    assert scope.Pruner("scope@8").plan([20_000]).memory == 20_000**2 * 4
    assert scope.Pruner("scope@8").plan([576, 2880]).memory == 2880**2 * 4  # one group at a time
    assert scope.Pruner("scope@8", dtype="float64").plan([576]).memory == 576**2 * 8
    assert scope.Pruner("top_k_attention@8").plan([20_000]).memory == 0
    assert scope.Pruner("visionzip@8").plan([576]).memory >= 0
    assert scope.Pruner("divprune@8").plan([576]).memory == 576**2 * 4
    soft = {"recipe": "scope", "budget": 8, "similarity": {"name": "row_softmax", "of": "cosine"}}
    assert scope.Pruner(soft).plan([576]).memory == 2 * 576**2 * 4
    assert scope.Pruner({"recipe": "scope", "budget": 8, "combiner": "kernel"}).plan([576]).memory == 2 * 576**2 * 4


def test_more_than_is_allowed_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_plugins.similarity.cosine.cosines", None)  # it would be an error of another kind
    with pytest.raises(scope.TooLargeError) as error:
        scope.select(**tokens(count=5000), spec={"recipe": "scope", "budget": 4, "memory": 0.05, "optimizer": LOOP})
    message = str(error.value)
    for said in ("image 0", "'cosine'", "'facility_location'", "5000 x 5000", "100 MB", "54 MB", "partition", "memory"):
        assert said in message
    assert isinstance(error.value, MemoryError)


@pytest.mark.parametrize("free", [int(1e8 / 0.9) - 10**6, None])
def test_what_is_free_decides_where_the_spec_says_nothing(free: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "UNCHECKED_BYTES", 10**6)
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    monkeypatch.setattr("scope_plugins.similarity.cosine.cosines", lambda tokens: torch.ones(1, 5000, 5000))
    if free is None:  # nobody knows, so it is tried
        assert scope.select(**tokens(count=5000), spec="scope@1").counts == (1,)
    else:
        with pytest.raises(scope.TooLargeError, match="110 MB are free"):
            scope.select(**tokens(count=5000), spec={"recipe": "scope", "budget": 1, "optimizer": LOOP})


def test_a_budget_that_suffices_changes_nothing() -> None:
    free = scope.select(**tokens(), spec="scope@8")
    bound = scope.select(**tokens(), spec={"recipe": "scope", "budget": 8, "memory": SMALL})
    assert torch.equal(free.picks, bound.picks)


@pytest.mark.parametrize("wrong", [0, -1, "lots", True])
def test_the_option_is_checked(wrong: Any) -> None:
    with pytest.raises(scope.SpecError, match="memory"):
        scope.Pruner({"recipe": "scope", "budget": 8, "memory": wrong})


def test_what_is_free_is_read_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:   7 kB\n")
    assert memory._available(str(tmp_path / "meminfo")) == 7 * 1024
    assert memory._available(str(tmp_path / "nowhere")) is None
    assert memory._control_group(str(tmp_path)) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900\n")
    assert memory._control_group(str(tmp_path)) is None  # no limit
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._control_group(str(tmp_path)) == 100
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 250\n")
    assert memory._control_group(str(tmp_path)) == 350
    (tmp_path / "memory.current").write_text("2000\n")
    assert memory._control_group(str(tmp_path)) == 0
    assert (memory.free_memory("cpu") or 1) > 0
    assert memory.free_memory("meta") is None


@pytest.mark.parametrize("size", [(1.6e9, "1.6 GB"), (33.2e6, "33 MB")])
def test_sizes_in_words(size: tuple[float, str]) -> None:
    assert memory.readable_size(size[0]) == size[1]


SPECS: tuple[Any, ...] = (
    "scope",
    {"recipe": "scope", "optimizer": {"name": "greedy", "path": "loop"}},
    {"recipe": "scope", "optimizer": "stochastic"},
    {"recipe": "scope", "optimizer": {"name": "k_per_step", "step": 3}},
    {"recipe": "scope", "optimizer": "top_k"},
    {"recipe": "scope", "similarity": {"name": "row_softmax", "of": "cosine"}},
    {"recipe": "scope", "coverage": "log_det", "combiner": "kernel"},
    {"recipe": "scope", "saliency": {"name": "scaled", "of": "feature_norm", "over": "call"}},
    "divprune",
)


class TestOneGroupAtATime:
    @pytest.fixture(autouse=True)
    def _every_group_is_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("scope_core.engine.scheduling.TOGETHER", 0)

    @pytest.mark.parametrize("spec", SPECS)
    def test_gives_what_all_together_give(self, spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        given = tokens(3)
        given["valid"] = torch.arange(40)[None] < torch.tensor([40, 11, 25])[:, None]
        given["saliency"][~given["valid"]] = torch.nan
        budget = {"name": "ratio", "keep_ratio": 0.4}  # unequal counts
        if not isinstance(spec, str) and spec.get("saliency"):
            given.pop("saliency")
        whole = {"recipe": spec} if isinstance(spec, str) else spec
        alone = scope.select(**given, spec={**whole, "budget": budget})
        monkeypatch.setattr("scope_core.engine.scheduling.TOGETHER", 2**40)
        together = scope.select(**given, spec={**whole, "budget": budget})
        assert alone.counts == together.counts == (16, 4, 10)
        assert torch.equal(alone.picks, together.picks)
        assert alone.gains.dtype == together.gains.dtype
        for mine, theirs in ((alone.gains, together.gains), (alone.scores, together.scores)):
            torch.testing.assert_close(mine, theirs, equal_nan=True, rtol=1e-5, atol=1e-5)

    def test_signals_tiles_and_required_tokens_go_with_their_group(self) -> None:
        given = tokens(2)
        signals = {"vision.keys[-2]": torch.randn(2, 3, 40, 4, generator=torch.Generator().manual_seed(2))}
        cells = {"name": "cells", "keep": [[0, 4]]}
        spec = {"recipe": "scope", "similarity": "keys_cosine", "budget": 6, "constraints": [cells]}
        alone = scope.select(**given, signals=signals, grid=(5, 8), spec=spec)
        for row in range(2):
            one = {name: tensor[row : row + 1] for name, tensor in given.items()}
            mine = {name: tensor[row : row + 1] for name, tensor in signals.items()}
            assert torch.equal(scope.select(**one, signals=mine, grid=(5, 8), spec=spec).picks[0], alone.picks[row])
        assert alone.picks[:, 0].tolist() == [4, 4]

    def test_no_matrix_of_all_groups_is_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shapes = []
        real = problem_file._without_padding

        def looked_at(matrix: torch.Tensor, what: str, tokens: scope.VisualTokens) -> torch.Tensor:
            shapes.append(tuple(matrix.shape))
            return real(matrix, what, tokens)

        monkeypatch.setattr(problem_file, "_without_padding", looked_at)
        valid = torch.arange(40)[None] < torch.tensor([40, 11, 0])[:, None]
        budget = {"name": "ratio", "keep_ratio": 0.5}
        scope.select(**tokens(3), valid=valid, spec={"recipe": "scope", "budget": budget})
        assert shapes == [(1, 40, 40), (1, 11, 11), (1, 1, 1)]

    def test_a_few_small_groups_of_one_size_are_selected_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("scope_core.engine.scheduling.TOGETHER", 2 * 40 * 40 * 4)
        shapes = []
        real = problem_file._without_padding

        def looked_at(matrix: torch.Tensor, what: str, tokens: scope.VisualTokens) -> torch.Tensor:
            shapes.append(tuple(matrix.shape))
            return real(matrix, what, tokens)

        monkeypatch.setattr(problem_file, "_without_padding", looked_at)
        sizes, given = [40, 40, 40, 11, 11, 40], tokens(6)
        given["valid"] = torch.arange(40)[None] < torch.tensor(sizes)[:, None]
        spec = {"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 0.4}}
        few = scope.select(**given, spec=spec)
        assert shapes == [(2, 40, 40), (1, 40, 40), (2, 11, 11), (1, 40, 40)]
        monkeypatch.setattr("scope_core.engine.scheduling.TOGETHER", 0)
        alone = scope.select(**given, spec=spec)
        assert torch.equal(few.picks, alone.picks)
        assert torch.equal(few.scores.nan_to_num(), alone.scores.nan_to_num())

    @pytest.mark.parametrize(
        ("returned", "said"), [(None, "NoneType"), (Picks(*[torch.zeros(2, 3)] * 3), "picks of shape (2, 3)")]
    )
    def test_an_optimizer_that_returns_something_else_is_named(self, returned: Any, said: str) -> None:
        odd = made(Optimizer, optimize=lambda self, problem, keep: returned)
        with pytest.raises(scope.PluginOutputError, match=re.escape(said)):
            by_group(problem(torch.ones(3, 4, 4)), odd, [1, 1, 1])


@example(100.0, 3)
@given(st.floats(1e-9, 1e4), st.integers(1, 6))
def test_a_limit_is_said_as_it_was_written(number: float, digits: int) -> None:
    written = f"{number:.{digits}g}"
    bound = int(float(written) * 2**30)
    assert int(float(memory.gibibytes(bound)) * 2**30) == bound
    assert len(memory.gibibytes(bound)) <= len(written)


@pytest.mark.parametrize(
    ("size", "said"), [(1, "1 byte"), (999, "999 bytes"), (107_374, "107 kB"), (1_327_104, "1.3 MB"), (16e8, "1.6 GB")]
)
def test_sizes_are_said_with_digits_enough(size: float, said: str) -> None:
    assert memory.readable_size(size) == said
