"""`keep_cls`: one more row in front, the CLS token."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from plugins.merger.cases import FEATURES, merged


def test_around_residual_around_average() -> None:
    inner = {"name": "residual", "merger": {"name": "average"}}
    signals = {"vision.cls[-2]": torch.zeros_like(FEATURES)}
    got, rows = merged({"name": "keep_cls", "merger": inner}, keep=6, signals=signals)
    assert got.rows[0].tolist() == [-1, *got.kept[0].tolist(), -1]
    torch.testing.assert_close(rows[0], torch.full((5,), 7.0))
    torch.testing.assert_close(rows[1:5], merged({"name": "average"})[1])
    torch.testing.assert_close(rows[5], merged({"name": "residual"}, keep=5)[1][4])


def test_cls_tokens_of_two_layers_are_refused_as_the_specs_mistake() -> None:
    signals = {f"vision.cls[{layer}]": torch.zeros_like(FEATURES) for layer in (-2, -1)}
    nested = {"name": "keep_cls", "layer": -1, "merger": {"name": "keep_cls"}}
    with pytest.raises(scope.SpecError, match=r"several layers: vision.cls\[-1\], vision.cls\[-2\]; give all of them"):
        merged(nested, keep=6, signals=signals)
    assert merged({**nested, "layer": -2}, keep=6, signals=signals)[0].row_counts == (6,)
