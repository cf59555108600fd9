"""`fitted`: the lowest threshold whose counts meet the average, files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Pruner
from scope_core.parts import Calibration

TOP = {"saliency": "random", "coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"}


def pruner(stages: list[int], **budget: Any) -> Pruner:
    points = [f"decoder[{layer}]" for layer in stages]
    later = [{"at": point} for point in points[1:]]
    budget = {"name": "fitted", "layers": 4, **budget}
    return Pruner({**TOP, "budget": budget, "at": points[0], "then": later})


def counts(plan: Any) -> list[int]:
    return [stage.total for stage in (plan, *plan.later)]


@st.composite
def tables(draw: Any, layers: int = 5) -> list[list[float]]:
    """Shares that fall along both axes."""
    rows = draw(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=layers, max_size=layers))
    shares: list[list[float]] = ((10 - np.minimum(np.cumsum(np.cumsum(np.array(rows), 0), 1), 10)) / 10).tolist()
    return shares


@given(tables(), st.integers(1, 60), st.lists(st.integers(1, 5), min_size=1, max_size=5, unique=True).map(sorted))
def test_the_largest_counts_that_meet_the_average(shares: list[list[float]], keep: int, stages: list[int]) -> None:
    """Against a scan of thresholds: none lower than the one found would do."""
    full, layers = 60, 6
    lengths = np.diff([0, *stages, layers])

    def average(threshold: float) -> tuple[list[int], float]:
        rows = [shares[layer - 1] for layer in stages]
        found = [max(int(full * np.interp(threshold, np.linspace(0, 1, 4), row) + 1e-9), 1) for row in rows]
        found = [1] * len(found) if threshold == 1 else found
        return found, float(lengths @ np.array([full, *found])) / layers

    made = pruner(stages, keep=keep, layers=layers, shares=shares)
    if average(1)[1] > keep:
        with pytest.raises(scope.BudgetError, match="smallest average"):
            made.plan([full])
        return
    got = counts(made.plan([full]))
    assert got == sorted(got, reverse=True)
    assert float(lengths @ np.array([full, *got])) / layers <= keep
    lower = [found for found, mean in map(average, np.linspace(0, 1, 200)) if mean <= keep]
    assert got >= max(lower)


def test_one_row_serves_all_layers() -> None:
    got = counts(pruner([1, 2, 3], keep=30, layers=4).plan([60]))
    assert got == [20, 20, 20]  # 60 + 3 * 20 = 4 * 30


def written(path: Path, **more: Any) -> str:
    facts = {
        "kind": "layers",
        "saliency": {"name": "prompt_attention", "layer": 1},
        "model": "small",
        "architecture": "a tower of 3 layers, a language model of 4 layers",
        "images": 2,
        "values": ((1.0, 0.5, 0.0), (0.9, 0.2, 0.0), (0.8, 0.1, 0.0)),
    }
    path.write_text(Calibration(**{**facts, **more}).to_text())
    return str(path)


def test_a_file_takes_the_place_of_shares_and_layers(tmp_path: Path) -> None:
    file = written(tmp_path / "layers.json")
    rows = [[1.0, 0.5, 0.0], [0.9, 0.2, 0.0], [0.8, 0.1, 0.0]]
    plan = pruner([1, 2, 3], keep=40, file=file).plan([100])
    assert counts(plan) == counts(pruner([1, 2, 3], keep=40, layers=4, shares=rows).plan([100]))
    assert counts(plan)[0] > counts(plan)[2]
    with pytest.raises(scope.SpecError, match=r"'small', a language model of 4 layers, but .* `layers: 5`"):
        pruner([1], keep=40, layers=5, file=file)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"kind": "prior"}, "holds|is 0"),
        ({"values": ((1.0, 0.5), (1.0, 0.6))}, "grow"),
        ({"values": ((0.5, 0.6),)}, "grow"),
        ({"values": ((1.5, 0.5),)}, "0 to 1"),
        ({"values": ((1.0,),)}, "two or more"),
        ({"values": ((1.0, 0.5), (1.0,))}, "rows of one length"),
    ],
)
def test_wrong_files_are_refused(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(scope.SpecError, match=message):
        pruner([1], keep=40, file=written(tmp_path / "layers.json", **more))


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"keep": 40, "layers": 4, "shares": [[0.5, 0.6]]}, "shares of layer 0 grow"),
        ({"keep": 40, "layers": 4, "shares": [[0.5, 0.1], [0.6, 0.1]]}, "exceed those of the layer before"),
    ],
)
def test_wrong_options_are_refused(budget: dict[str, Any], message: str) -> None:
    with pytest.raises(scope.SpecError, match=message):
        pruner([1], **budget)


def test_a_stage_before_the_language_model_keeps_what_layer_0_needs() -> None:
    budget = {"name": "fitted", "keep": 4, "layers": 4, "shares": [[1, 0.5, 0]]}
    assert Pruner({**TOP, "budget": budget, "at": "vision"}).plan([16]).counts == (4,)


def test_stages_and_rows_that_do_not_do_are_refused() -> None:
    with pytest.raises(scope.BudgetError, match="shares of 2 layers for `layers: 9`"):
        pruner([1], keep=9, layers=9, shares=[[1, 0], [1, 0]]).plan([9])
