"""`debiased`: divided by the prior of each place, interpolated by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.saliency.cases import in_a_grid
from scope_core import VisualTokens

PRIOR = [[1.0, 2.0], [3.0, 6.0]]


def test_it_divides_by_the_prior_of_each_place(registry: scope.Registry) -> None:
    part = built(registry, "saliency", {"name": "debiased", "of": "feature_norm", "prior": PRIOR})
    tokens = in_a_grid()
    for token, got in enumerate(part.score(tokens)[0].tolist()):
        down, right = (min(max((at + 0.5) / 3 - 0.5, 0), 1) for at in divmod(token, 6))  # six cells over two
        top, low = (row[0] * (1 - right) + row[1] * right for row in PRIOR)
        expected = float(tokens.features[0, token].norm()) / (top * (1 - down) + low * down)
        assert got == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("prior", "message"), [([[1.0], [1.0, 2.0]], "one length"), ([[0.0]], "greater than 0"), ([], "at least 1")]
)
def test_a_prior_that_cannot_divide_is_refused(prior: Any, message: str) -> None:
    with pytest.raises(scope.SpecError, match=message):
        scope.Pruner({"recipe": "scope", "saliency": {"name": "debiased", "of": "uniform", "prior": prior}})


def test_tokens_without_a_place_are_refused(registry: scope.Registry) -> None:
    part = built(registry, "saliency", {"name": "debiased", "of": "uniform", "prior": PRIOR})
    with pytest.raises(scope.TokensError, match="places in a grid"):
        part.score(VisualTokens.of(torch.ones(1, 4, 2)))
