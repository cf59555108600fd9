"""`gaussian_contrast`: channels of low variance, centres of video and frame."""

from __future__ import annotations

import math

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def score(rows: torch.Tensor, **options: object) -> torch.Tensor:
    part = built(REGISTRY, "saliency", {"name": "gaussian_contrast", **options})
    return part.score(VisualTokens.of(rows[None].double(), grid=(2, 1, 2)))[0]  # type: ignore[no-any-return]


def test_reads_the_channels_that_vary_least_and_no_lengths() -> None:
    rows = torch.tensor([[1.0, 0.0, 9.0, -9.0], [0.0, 1.0, -9.0, 9.0], [1.0, 0.0, 5.0, 3.0], [1.0, 0.0, 0.0, 0.0]])
    quiet = rows.clone()
    quiet[:, 2:] = torch.tensor([[3.0, -8.0], [-8.0, 3.0], [8.0, 3.0], [0.0, 8.0]])
    assert torch.equal(score(rows), score(quiet))
    torch.testing.assert_close(score(1e30 * rows), score(rows))
    assert not torch.equal(score(rows, channels=1.0), score(quiet, channels=1.0))


def test_centres() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    widths = [2.0**power for power in range(-3, 2)]

    def like(far: float) -> float:
        return -sum(math.exp(-far / 2 / width) for width in widths)

    video = [like(0.125), like(1.125), like(0.125), like(0.125)]
    frame = [like(0.5), like(0.5), like(0.0), like(0.0)]
    for centre, wanted in (
        ("video", video),
        ("frame", frame),
        ("both", [a + b for a, b in zip(video, frame, strict=True)]),
    ):
        torch.testing.assert_close(score(rows, centre=centre, channels=1.0), torch.tensor(wanted).double())
