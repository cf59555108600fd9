"""Images with the signals of an encoder, in a ragged batch."""

from __future__ import annotations

import torch

from scope_core import VisualTokens

SIDE, HEADS, WIDTH = 6, 3, 8


def images(sizes: tuple[int, ...], seed: int = 0, required: tuple[int, ...] = ()) -> VisualTokens:
    """One image per size, padded to the longest with numbers that must not matter."""
    generator = torch.Generator().manual_seed(seed)
    batch, most = len(sizes), max(sizes)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    valid = torch.arange(most) < torch.tensor(sizes)[:, None]
    signals = {"vision.cls[-2]": draw(batch, 1, WIDTH).expand(batch, most, WIDTH).contiguous()}
    for layer in (-1, -2, 9):
        logits = draw(batch, HEADS, most + 1).masked_fill(
            ~torch.nn.functional.pad(valid, (1, 0), value=True)[:, None], -9e9
        )
        signals[f"vision.cls_attention[{layer}]"] = logits.softmax(2)[..., 1:]
        signals[f"vision.received_attention[{layer}]"] = draw(batch, HEADS, most).exp()
        signals[f"vision.mean_attention[{layer}]"] = signals[f"vision.received_attention[{layer}]"].mean(1)
        joint = signals[f"vision.cls_attention[{layer}]"].clamp(min=1e-30).log().sum(1) / HEADS**0.5
        signals[f"vision.joint_attention[{layer}]"] = joint.masked_fill(~valid, -9e9).softmax(1)
        signals[f"vision.keys[{layer}]"] = draw(batch, HEADS, most, 4)
    index = torch.arange(most).expand(batch, -1)
    must = torch.zeros_like(valid)
    must[:, list(required)] = True
    return VisualTokens.of(
        draw(batch, most, WIDTH),
        valid=valid,
        required=must,
        row=index // SIDE,
        col=index % SIDE,
        signals=signals,
    )
