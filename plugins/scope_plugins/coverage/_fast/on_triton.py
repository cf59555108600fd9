"""Greedy facility location on an accelerator, in two kernel launches, without copies to the host between picks."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Picks

NARROW, WIDE, WIDEST = 256, 1024, 2048  # columns per program


@dataclass(frozen=True)
class Plan:
    """The division of a group's columns among programs.

    Attributes:
        width: Columns per program.
        blocks: Programs per group.
        together: True if one launch makes all picks, with programs of a group waiting for each other; otherwise each
            launch makes one pick.
        height: Rows that a pick is compared with at once.
    """

    width: int
    blocks: int
    together: bool
    height: int = WIDE


def plan(batch: int, count: int, processors: int, *, meet: bool = False) -> Plan:
    """One program per group of up to 1024 tokens, else several, as narrow as the device can run at once.

    Args:
        batch: Number of groups.
        count: Tokens per group.
        processors: Programs that are certain to run at the same time.
        meet: True if several programs of a group may wait for each other, so that one launch makes all picks. Off by
            default, because this has not yet run on a GPU and a program could wait forever: programs that wait for
            each other must all be running, so there are never more of them than processors.
    """
    if count <= WIDE:
        return Plan(NARROW if count <= NARROW else WIDE, 1, True)
    width = NARROW
    while batch * -(-count // width) > processors and width < WIDEST:
        width *= 2
    blocks = -(-count // width)
    return Plan(width, blocks, blocks == 1 or (meet and batch * blocks <= processors), 2 * WIDE)


def why_not(device: torch.device) -> str:
    """The reason why the kernels cannot run on ``device``; empty if they can."""
    if device.type != "cuda":
        return f"there are kernels for cuda devices, but not for {device.type}"
    if find_spec("triton") is None:
        return "triton is not installed; torch's CUDA builds for Linux include it"
    return _trial(device.index or 0)


@functools.cache
def _trial(index: int) -> str:
    """The reason why a tiny problem fails on a CUDA device, or empty; tried once per process, and warned of once."""
    try:
        similarity = torch.ones(1, 2, 2, device=f"cuda:{index}")
        column = similarity[:, 0].double()
        run(similarity, torch.ones(1, 2, dtype=torch.int8, device=similarity.device), column, column, [1])
        torch.cuda.synchronize(index)
    except Exception as error:  # no compiler, a GPU that is too old, ...: any error means that kernels cannot run here
        reason = f"triton failed on cuda:{index}: {type(error).__name__}: {error}"
        warnings.warn(f"{reason}; the same picks are made step by step instead, which is slower", stacklevel=2)
        return reason
    return ""


def picks(similarity: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: Sequence[int]) -> Picks | None:
    """All picks of facility location, as `Kernel.picks`; None if the kernels cannot run."""
    if why_not(similarity.device):
        return None
    level = tokens.valid.to(torch.int8) + (tokens.valid & tokens.required)
    return run(similarity, level, scale, offset, keep)


def run(
    similarity: Tensor, level: Tensor, scale: Tensor, offset: Tensor, keep: Sequence[int], shared: Plan | None = None
) -> Picks:
    """Launch the kernels.

    Args:
        similarity: (B, N, N) float32 or float64.
        level: (B, N) int8: 2 for tokens that must be picked first, 1 for other candidates, 0 for the rest.
        scale: (B, N) float64 of a score ``gain * scale + offset``.
        offset: (B, N) float64.
        keep: Number of picks in each group, at most the number of its candidates.
        shared: Division of the work; by default that of `plan`.
    """
    from scope_plugins.coverage._fast import triton_kernel as kernels
    from scope_plugins.coverage._fast.arithmetic import rounding_constant

    device = similarity.device
    batch, count, _ = similarity.shape
    most = max(keep, default=0)
    chosen = torch.full((batch, most), -1, dtype=torch.int64, device=device)
    gains = torch.full((batch, most), torch.nan, dtype=torch.float64, device=device)
    scores = gains.clone()
    if not most:
        return Picks(chosen, gains, scores)
    matrix = similarity.detach()
    matrix = matrix if matrix.stride(2) == 1 else matrix.contiguous()
    shared = shared or plan(batch, count, _processors(device))
    blocks = shared.blocks

    def new(*shape: int, dtype: torch.dtype = torch.float64, fill: bool = False) -> Tensor:
        return (torch.zeros if fill else torch.empty)(shape, dtype=dtype, device=device)

    rounder, left = rounding_constant(matrix), level.clone()
    wanted = torch.tensor(keep, dtype=torch.int32, device=device)
    required, gain = (left == 2).sum(1, dtype=torch.int32), new(batch, count, fill=True)
    inputs = (rounder, left.contiguous(), scale.contiguous(), offset.contiguous(), wanted, required)
    risen = (new(batch, blocks, count, dtype=torch.int32), new(batch, blocks, count), new(batch, blocks, count))
    heads = (new(batch, 2, blocks), new(batch, 2, blocks, dtype=torch.int32))
    best, arrived = new(batch, blocks, count, fill=True), new(batch, dtype=torch.int32, fill=True)
    tensors = (*inputs, gain, best, *risen, *heads, arrived, chosen, gains, scores)
    shape: dict[str, Any] = {
        "WIDTH": shared.width,
        "HEIGHT": shared.height,
        "ROWS": max(4, min(16, 8 * WIDE // shared.width)),  # with these, no register spills on sm_80 and sm_90
        "HEADS": 1 << (blocks - 1).bit_length(),
        "MANY": blocks > 1,
        "TOGETHER": shared.together,
        "num_warps": 8,
        "enable_fp_fusion": False,  # so that gain * scale + offset rounds twice, as on the CPU
    }
    if shared.together and blocks > 1:
        shape["launch_cooperative_grid"] = True  # an error, not a deadlock, if the programs cannot all run at once
    strides = (matrix.stride(0), matrix.stride(1), count)
    with _on(device):
        tall, wide = 64, 128
        grid = (batch, -(-count // tall), -(-count // wide))
        kernels.first_gains[grid](matrix, *strides, rounder, gain, HEIGHT=tall, WIDTH=wide, enable_fp_fusion=False)
        spans = [(0, most)] if shared.together else [(0, 0), *((step, step + 1) for step in range(most))]
        for first, last in spans:
            kernels.greedy[(batch, blocks)](matrix, *strides, *tensors, most, first, last, blocks, **shape)
    return Picks(chosen, gains, scores)


def _processors(device: torch.device) -> int:
    """The number of programs certain to run at the same time; 0 if Triton cannot launch a cooperative grid."""
    from triton.backends.nvidia.compiler import CUDAOptions

    if not hasattr(CUDAOptions, "launch_cooperative_grid"):
        return 0
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which Triton launches on ``device``: it always uses the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
