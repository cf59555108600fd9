"""Run with the plugin installed: ``pip install -e '.[test]' && pytest``."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from scope_core.testing import parametrize

ROWS, COLS = 6, 8


@pytest.fixture
def features() -> torch.Tensor:
    """(2, N, D), equal everywhere but at row 2, column 3 of the first image."""
    features = torch.ones(2, ROWS * COLS, 5)
    features[0, 2 * COLS + 3] = -1.0
    return features


@parametrize("example.local_contrast")
def test_saliency_contract(check) -> None:
    check()


@parametrize("example.saturated")
def test_coverage_contract(check) -> None:
    check()


def test_installed_under_its_names() -> None:
    registry = scope.default_registry()
    assert registry.get("saliency", "example.local_contrast").origin.distribution == "scope-example-plugin"
    assert registry.get("coverage", "example.saturated").origin.distribution == "scope-example-plugin"


def test_the_odd_token_out_is_picked_first(features: torch.Tensor) -> None:
    spec = {"recipe": "scope", "saliency": "example.local_contrast", "combiner": "saliency_only", "budget": 9}
    selection = scope.select(features, grid=(ROWS, COLS), spec=spec)
    assert selection.picks[0, 0] == 2 * COLS + 3
    around = {(2 + down) * COLS + 3 + right for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert set(selection.picks[0].tolist()) == around
    assert selection.scores[1].eq(0).all()  # nothing stands out in the second image


def test_no_grid_is_an_error_that_says_what_to_do(features: torch.Tensor) -> None:
    with pytest.raises(scope.TokensError, match="grid"):
        scope.select(features, spec={"recipe": "scope", "saliency": "example.local_contrast", "budget": 4})


@pytest.mark.parametrize("cap", [0.2, 0.8, 1.0])
def test_gains_are_differences_of_the_set_function(cap: float) -> None:
    features = torch.randn(1, 20, 4, generator=torch.Generator().manual_seed(0))
    spec = {"recipe": "coverage_only", "coverage": {"name": "example.saturated", "cap": cap}, "budget": 8}
    selection = scope.select(features, spec=spec)
    unit = torch.nn.functional.normalize(features[0].double(), dim=-1)
    similarity = (unit @ unit.T).clamp(min=0)

    def value(chosen: list[int]) -> float:
        return float(similarity[:, chosen].amax(1).clamp(max=cap).sum()) if chosen else 0.0

    picks = selection.picks[0].tolist()
    wanted = [value(picks[: i + 1]) - value(picks[:i]) for i in range(8)]
    assert selection.gains[0].tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    best = max(value([token]) for token in range(20))
    assert value(picks[:1]) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("options", [{"cap": 0}, {"cap": 1.5}, {"radius": 0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    slot, part = ("coverage", "example.saturated") if "cap" in options else ("saliency", "example.local_contrast")
    with pytest.raises(scope.SpecError, match=next(iter(options))):
        scope.Pruner({"recipe": "scope", slot: {"name": part, **options}})
