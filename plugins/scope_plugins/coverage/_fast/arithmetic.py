"""Arithmetic away from the CPU: the same numbers, and the host never looks at one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BLOCK = 2**17  # numbers looked at together: 1 MB in float64, which caches hold


def on_host(device: torch.device) -> bool:
    """Whether looking at a number is free: on an accelerator it waits for all that was asked before."""
    return device.type == "cpu"


def together(tensor: Tensor) -> int:
    """How many numbers are looked at together; accelerators want more at once."""
    return BLOCK if on_host(tensor.device) else 16 * BLOCK


def magic(similarity: Tensor) -> Tensor:
    """(1,) float64: 1.5 * 2^52 steps of the grid of `facility_location.grid`; 0 where numbers stay as they are.

    With it similarities are rounded to multiples of a power of two so small that sums of a column are exact in float64.
    Then gains depend neither on the order of summation nor on whether they are kept up to date or summed anew, and
    equal gains are equal to the last bit, whoever computes them. For N = 576 and similarities up to 1 the step is
    2^-41, far below what float32 says of a cosine; half precision stays as it is. A number that this is added to and
    taken away from again is rounded to a multiple of the step, half to even.
    """
    import torch

    if similarity.element_size() < 4 or not similarity.numel():
        return torch.zeros(1, dtype=torch.float64, device=similarity.device)
    low, high = torch.aminmax(similarity)
    largest = torch.maximum(high, -low).reshape(1)
    exponent = torch.frexp(largest).exponent.to(torch.int64) + similarity.shape[-1].bit_length() - 52
    step = ((exponent + 1023).clamp(min=0) << 52).view(torch.float64)  # two to that, exactly
    rounder = step * (1.5 * 2.0**52)
    none = (largest == 0) | (step < torch.finfo(similarity.dtype).tiny) | torch.isinf(rounder)
    return torch.where(none, 0.0, rounder)


def on_grid(similarity: Tensor, rounder: Tensor) -> Tensor:
    """Similarities in float64, rounded to the grid; a new tensor."""
    import torch

    return similarity.to(torch.float64, copy=True).add_(rounder).sub_(rounder)


def full_gains(similarity: Tensor, rounder: Tensor, best: Tensor) -> Tensor:
    """(B, N) ``sum_i max(0, S_ij - c_i)``: float64, exact on the grid, so summed anew it is what an update would give.

    Half precision stays as it is, rounding included.

    Args:
        similarity: (B, N, N), rounded as it is read.
        rounder: What `magic` says.
        best: (B, N) running maximum ``c_i``.
    """
    import torch

    if best.element_size() < 4:  # columns a few at a time: their sums are those of the whole, which is never made
        columns = torch.split(similarity, max(1, together(best) // max(1, best.numel())), dim=2)
        return torch.cat([(some - best[:, :, None]).clamp_(min=0).sum(1) for some in columns], 1)
    gains = torch.zeros(best.shape, dtype=torch.float64, device=best.device)
    for rows, had in zip(blocks(similarity), blocks(best), strict=True):
        gains += on_grid(rows, rounder).sub_(had[..., None]).clamp_(min=0).sum(1)
    return gains


def blocks(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of (B, N, ...) along N; as many rows each as `together` allows of a (B, N, N) matrix."""
    import torch

    batch, count = tensor.shape[:2]
    return torch.split(tensor, max(1, together(tensor) // max(1, batch * count)), dim=1)
