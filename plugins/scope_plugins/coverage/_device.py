"""Arithmetic away from the CPU: the same numbers, and the host never looks at one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 2**21  # numbers looked at together: 16 MB in float64


def on_host(tensor: Tensor) -> bool:
    """Whether looking at a number is free: on an accelerator it waits for all that was asked before."""
    return tensor.device.type == "cpu"


def magic(similarity: Tensor) -> Tensor:
    """(1,) float64: 1.5 * 2^52 steps of the grid of `facility_location.grid`; 0 where numbers stay as they are.

    A number that is added to it and taken away again is rounded to a multiple of the step, half to even.
    """
    import torch

    if similarity.dtype.itemsize < 4 or not similarity.numel():
        return torch.zeros(1, dtype=torch.float64, device=similarity.device)
    low, high = torch.aminmax(similarity)
    largest = torch.maximum(high, -low).reshape(1)
    exponent = torch.frexp(largest).exponent.to(torch.int64) + similarity.shape[-1].bit_length() - 52
    step = ((exponent + 1023).clamp(min=0) << 52).view(torch.float64)  # two to that, exactly
    return torch.where((largest == 0) | (step < torch.finfo(similarity.dtype).tiny), 0.0, step * (1.5 * 2.0**52))


def on_grid(similarity: Tensor) -> Tensor:
    """`facility_location.on_grid`, bit for bit; rows are done a few at a time, so that float64 is never whole."""
    if similarity.dtype.itemsize < 4:
        return similarity
    rounder, made = magic(similarity), similarity.clone()
    for rows in _blocks(made):
        rows.copy_((rows.double() + rounder) - rounder)
    return made


def full_gains(similarity: Tensor, best: Tensor) -> Tensor:
    """(B, N) float64 ``sum_i max(0, S_ij - c_i)``, exact on the grid, so summed anew it is what an update would give.

    Args:
        similarity: (B, N, N) on the grid.
        best: (B, N) running maximum ``c_i``.
    """
    import torch

    gains = torch.zeros(best.shape, dtype=torch.float64, device=best.device)
    for rows, had in zip(_blocks(similarity), _blocks(best), strict=True):
        gains += (rows.double() - had[..., None]).clamp_(min=0).sum(1)
    return gains


def joined(columns: list[Tensor]) -> Tensor:
    """(B, N) of its columns, a few at a time."""
    import torch

    return torch.cat(columns, 1) if len(columns) > 1 else columns[0]


def _blocks(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of (B, N, ...) along N; as many rows each as `BLOCK` allows of a (B, N, N) matrix."""
    import torch

    batch, count = tensor.shape[:2]
    return torch.split(tensor, max(1, BLOCK // max(1, batch * count)), dim=1)
