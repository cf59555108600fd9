"""Exact sums, in the same numbers on every device; on an accelerator the host reads none of them."""

from __future__ import annotations

from math import frexp

import torch
from torch import Tensor

BLOCK = 2**17  # numbers processed together: 1 MB in float64, which fits into caches
COLUMNS = (
    128  # columns of half precision are summed by vectors of up to this width, and those of a rest in another order
)


def on_host(device: torch.device) -> bool:
    """True if reading a number is free; on an accelerator it waits for all earlier work."""
    return device.type == "cpu"


def block_size(tensor: Tensor) -> int:
    """The number of numbers to process together; larger on accelerators."""
    return BLOCK if on_host(tensor.device) else 16 * BLOCK


def rounding_constant(similarity: Tensor, *, halves: bool = False) -> Tensor:
    """(1,) float64 constant that rounds similarities to a grid; 0 if they need no rounding.

    Adding the constant to a number and subtracting it again rounds the number to a multiple of the grid's step, half
    to even: the constant is 1.5 * 2^52 steps, where float64 has no finer numbers. The step is the power of two, see
    `grid`, at which sums of a column are exact in float64. Gains then depend neither on the order of
    summation nor on whether they are updated or summed again, and equal gains are equal to the last bit on every
    device. For N = 576 and similarities up to 1 the step is 2^-41, far below the precision of a float32 cosine; half
    precision is not rounded, unless ``halves``: sums of its numbers alone are exact, but not with a cap.
    """
    if (similarity.element_size() < 4 and not halves) or not similarity.numel():
        return torch.zeros(1, dtype=torch.float64, device=similarity.device)
    low, high = torch.aminmax(similarity)
    largest = torch.maximum(high, -low).reshape(1)
    if halves:
        largest = largest.double()  # the grid may be finer than half precision's numbers
    exponent = torch.frexp(largest).exponent.to(torch.int64) + similarity.shape[-1].bit_length() - 52
    step = ((exponent + 1023).clamp(min=0) << 52).view(torch.float64)  # exactly 2 ** exponent
    rounder = step * (1.5 * 2.0**52)
    no_grid = (largest == 0) | (step < torch.finfo(largest.dtype).tiny) | torch.isinf(rounder)
    return torch.where(no_grid, 0.0, rounder)


def grid(similarity: Tensor) -> tuple[float, float]:
    """The step of the grid of `rounding_constant`, and the largest absolute similarity.

    A step of 0 means no rounding.
    """
    if not similarity.numel():
        return 0.0, 0.0
    similarity = similarity.detach()
    full = similarity.element_size() >= 4  # old torch has no aminmax for half precision
    low, high = similarity.aminmax() if full else (similarity.amin(), similarity.amax())
    largest = max(float(high), -float(low))
    if largest == 0:
        return 0.0, 0.0
    step = 2.0 ** (frexp(largest)[1] + similarity.shape[-1].bit_length() - 52)
    # similarities of at most 1e-25 are too small for a grid
    return (0.0, largest) if step < torch.finfo(similarity.dtype).tiny else (step, largest)


def grid_constant(similarity: Tensor) -> float | None:
    """`rounding_constant` as a number; None for numbers without a grid, whose sums depend on their order."""
    step, largest = grid(similarity)
    return None if largest * similarity.shape[-1] > 1e300 or (largest and not step) else 1.5 * 2.0**52 * step


def on_grid(similarity: Tensor, rounder: Tensor) -> Tensor:
    """A float64 copy of the similarities, rounded to the grid."""
    return similarity.to(torch.float64, copy=True).add_(rounder).sub_(rounder)


def full_gains(similarity: Tensor, rounder: Tensor, best: Tensor) -> Tensor:
    """(B, N) ``sum_i max(0, S_ij - c_i)`` in float64, exact on the grid, so equal to updated gains.

    Half precision is summed in its own precision, without the grid.

    Args:
        similarity: (B, N, N), rounded as it is read.
        rounder: `rounding_constant` of the similarity.
        best: (B, N) running maximum ``c_i``.
    """
    if best.element_size() < 4:  # a few columns at a time, which gives the same sums with less memory
        few = block_size(best) // max(1, best.numel())
        columns = torch.split(similarity, max(COLUMNS, few - few % COLUMNS), dim=2)
        return torch.cat([(some - best[:, :, None]).clamp_(min=0).sum(1) for some in columns], 1)
    gains = torch.zeros(best.shape, dtype=torch.float64, device=best.device)
    for rows, covered in zip(blocks(similarity), blocks(best), strict=True):
        gains += on_grid(rows, rounder).sub_(covered[..., None]).clamp_(min=0).sum(1)
    return gains


def blocks(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of (B, N, ...) along N; as many rows each as `block_size` allows of a (B, N, N) matrix."""
    batch, count = tensor.shape[:2]
    return torch.split(tensor, max(1, block_size(tensor) // max(1, batch * count)), dim=1)
