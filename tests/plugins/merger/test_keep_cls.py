"""`keep_cls`: one more row in front, the CLS token."""

from __future__ import annotations

import torch

from plugins.merger.cases import FEATURES, merged


def test_around_residual_around_average() -> None:
    inner = {"name": "residual", "merger": {"name": "average"}}
    signals = {"vision.cls[-2]": torch.zeros_like(FEATURES)}
    got, rows = merged({"name": "keep_cls", "merger": inner}, keep=6, signals=signals)
    assert got.rows[0].tolist() == [-1, *got.kept[0].tolist(), -1]
    torch.testing.assert_close(rows[0], torch.full((5,), 7.0))
    torch.testing.assert_close(rows[1:5], merged({"name": "average"})[1])
    torch.testing.assert_close(rows[5], merged({"name": "residual"}, keep=5)[1][4])
