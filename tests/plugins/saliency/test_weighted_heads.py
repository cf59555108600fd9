"""`weighted_heads`: the weighted mean of heads, and weights that do not go with the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens
from scope_core.parts import Calibration

SIGNAL = "vision.cls_attention[-2]"


def tokens(heads: int = 3) -> VisualTokens:
    values = torch.rand(2, heads, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return VisualTokens.of(torch.ones(2, 9, 2).double(), grid=(3, 3), signals={SIGNAL: values})


def test_it_is_the_weighted_mean(registry: scope.Registry) -> None:
    given = tokens()
    maps = given.signal(SIGNAL)
    for options, weights in (({}, (1, 1, 1)), ({"weights": [1, 0, 3]}, (1, 0, 3))):
        part = built(registry, "saliency", {"name": "weighted_heads", **options})
        wanted = sum(weight * maps[:, head] for head, weight in enumerate(weights)) / sum(weights)
        torch.testing.assert_close(part.score(given), wanted)


def test_files_of_another_model_are_refused(registry: scope.Registry, tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    options = {"name": "weighted_heads", "weights": None, "file": None, "signal": SIGNAL}
    path.write_text(Calibration("heads", options, "a-tower", "", 5, (0.5, 0.25, 0.25)).to_text())
    table = {"name": "weighted_heads", "file": str(path)}
    given = tokens()
    wanted = (given.signal(SIGNAL) * torch.tensor([0.5, 0.25, 0.25])[:, None]).sum(1)
    torch.testing.assert_close(built(registry, "saliency", table).score(given), wanted)
    with pytest.raises(scope.TokensError, match="has 3 head weights, measured on 'a-tower', but the model has 4 heads"):
        built(registry, "saliency", table).score(tokens(4))
    with pytest.raises(scope.SpecError, match=r"measured on the saliency 'weighted_heads' with signal: .*\[-2\]"):
        built(registry, "saliency", {**table, "signal": "vision.cls_attention[-1]"})
    with pytest.raises(scope.SpecError, match="not a position prior"):
        built(registry, "saliency", {"name": "debiased", "of": "cls_attention", "file": str(path)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1.0], "file": "a.json"}, "not both"),
        ({"weights": [0.0, 0.0]}, "all weights are 0"),
        ({"weights": [-1.0]}, "greater than or equal to 0"),
        ({"weights": []}, "at least 1"),
        ({"signal": "vision.keys[-2]"}, "has no value for each head and token"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, object], message: str) -> None:
    with pytest.raises(scope.SpecError, match=message):
        scope.Pruner({"recipe": "scope", "saliency": {"name": "weighted_heads", **options}})
