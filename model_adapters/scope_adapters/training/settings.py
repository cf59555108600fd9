"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass

SIZE, PATCH, WIDTH = 336, 14, 384
"""Side of an image and of a patch in pixels, and width of the tower's features (dinov2-small)."""
SIDE = SIZE // PATCH
TOKENS = SIDE * SIDE
"""Number of patches along a side, and in an image."""


@dataclass(frozen=True)
class Settings:
    """Settings of a run; the defaults are close to those of the shipped weights, see the model card.

    Attributes:
        scenes: Number of training scenes.
        seed: Seed of all random numbers.
        width: Width of the decoder.
        layers: Number of its layers.
        heads: Number of its attention heads.
        hidden: Width of its feed-forward layers.
        align_steps: Steps of the first stage, 4,096 patches each.
        lookup_steps: Steps of the second stage, 32 scenes each.
        mixed_steps: Steps of each round of the third stage, 12 (all tokens) to 40 (few) scenes each.
        align_rates: Learning rate of the first stage: peak, end, and steps of warm-up.
        lookup_rates: Learning rate of the second stage.
        mixed_rates: Learning rate of the third stage.
        compile: Compile the forward pass (needs a C++ compiler); about twice as fast on a CPU.
        half: Compute products in bfloat16: twice as fast on processors with instructions for it, slower on others.
    """

    scenes: int = 9200
    seed: int = 0
    width: int = 256
    layers: int = 4
    heads: int = 4
    hidden: int = 768
    align_steps: int = 550
    lookup_steps: int = 2100
    mixed_steps: int = 1000
    align_rates: tuple[float, float, int] = (3e-3, 1e-4, 30)
    lookup_rates: tuple[float, float, int] = (1.5e-3, 7e-4, 150)
    mixed_rates: tuple[float, float, int] = (1e-3, 1e-5, 30)
    compile: bool = True
    half: bool = True
