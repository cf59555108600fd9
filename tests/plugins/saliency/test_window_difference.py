"""`window_difference`: which frame each is compared with, and places that it lacks."""

from __future__ import annotations

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_each_frame_is_compared_with_an_earlier_one_of_its_window() -> None:
    """Frame f points in direction f, so the cosine says which frame it was compared with."""
    angle = torch.tensor([0.0, 0.1, 0.3, 0.7, 1.0, 1.2])
    x = torch.stack([angle.cos(), angle.sin()], 1).repeat_interleave(2, 0)[None]
    part = built(REGISTRY, "saliency", "window_difference")
    score = part.score(VisualTokens.of(x, grid=(6, 1, 2)))[0]
    wanted = torch.tensor([2.0, 1 - 0.9950042, 1 - 0.9553365, 1 - 0.9210610, 2.0, 1 - 0.9800666])
    torch.testing.assert_close(score, wanted.repeat_interleave(2), atol=1e-6, rtol=0)
    image = torch.arange(6).repeat_interleave(2)[None]
    torch.testing.assert_close(part.score(VisualTokens.of(x, image=image))[0], score)  # by number, without a grid


def test_places_that_the_earlier_frame_lacks_are_new() -> None:
    planes = {"image": [0, 0, 0], "frame": [0, 1, 1], "tile": [0, 1, 1], "row": [0, 0, 0], "col": [1, 0, 1]}
    tokens = VisualTokens.of(torch.ones(1, 3, 2), **{name: torch.tensor([plane]) for name, plane in planes.items()})
    score = built(REGISTRY, "saliency", "window_difference").score(tokens)[0]
    torch.testing.assert_close(score, torch.tensor([2.0, 2.0, 0.0]))
