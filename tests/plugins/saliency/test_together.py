"""Properties that several saliency sources share."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import built

import scope_core as scope
from plugins.saliency.cases import HEADS, PATCHES, tokens_with


@pytest.mark.parametrize("name", ["cls_attention", "received_attention"])
def test_the_layer_is_part_of_the_signal(name: str, registry: scope.Registry) -> None:
    source = built(registry, "saliency", {"name": name, "layer": -1})
    assert source.needs == {f"vision.{name}[-1]"}
    with pytest.raises(scope.SignalError, match=rf"did you mean 'vision.{name}\[-2\]'"):
        source.score(tokens_with(**{name: np.ones((HEADS, PATCHES))}))


@pytest.mark.parametrize("name", ["cls_attention", "received_attention", "feature_norm", "uniform", "random"])
def test_scores_are_never_negative_as_declared(name: str, registry: scope.Registry) -> None:
    attention = np.random.default_rng(0).dirichlet(np.ones(PATCHES), size=HEADS)
    source = built(registry, "saliency", name)
    assert source.nonnegative
    assert (source.score(tokens_with(cls_attention=attention, received_attention=attention)) >= 0).all()
