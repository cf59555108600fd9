"""Greedy facility location on an accelerator: two kernel launches, and nothing copied to the host between picks."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from scope_core import VisualTokens
    from scope_core.parts import Picks

NARROW, WIDE, WIDEST = 256, 1024, 2048  # columns of a program


@dataclass(frozen=True)
class Plan:
    """How the columns of a group are shared out.

    Attributes:
        width: Columns of a program.
        blocks: Programs of a group.
        together: Whether all picks are made in one launch, programs of a group waiting for each other; else one each.
        height: Rows that a pick is compared with at once.
    """

    width: int
    blocks: int
    together: bool
    height: int = WIDE


def plan(batch: int, count: int, processors: int, *, meet: bool = False) -> Plan:
    """One program for up to 1024 tokens; several where there are more, narrow ones if the device holds them at once.

    Args:
        batch: Groups.
        count: Tokens of each.
        processors: Programs that surely run at the same time.
        meet: Whether several programs of a group may wait for each other, all picks in one launch. Not by default:
            that has not yet run on a GPU, and what waits in vain waits for ever. Programs that wait for each other
            must all be running: never more of them than processors.
    """
    if count <= WIDE:
        return Plan(NARROW if count <= NARROW else WIDE, 1, True)
    width = NARROW
    while batch * -(-count // width) > processors and width < WIDEST:
        width *= 2
    blocks = -(-count // width)
    return Plan(width, blocks, blocks == 1 or (meet and batch * blocks <= processors), 2 * WIDE)


def why_not(device: torch.device) -> str:
    """Why the kernels cannot run on ``device``, in words; empty where they can."""
    from importlib.util import find_spec

    if device.type != "cuda":
        return f"there are kernels for cuda devices and none for {device.type}"
    if find_spec("triton") is None:
        return "triton is not installed; torch's CUDA builds for Linux bring it"
    return _trial(device.index or 0)


@functools.cache
def _trial(index: int) -> str:
    """Why a tiny problem failed on a CUDA device; empty if it did not. Asked once, and warned of once."""
    import torch

    try:
        one = torch.ones(1, 2, 2, device=f"cuda:{index}")
        zero = one[:, 0].double()
        run(one, torch.ones(1, 2, dtype=torch.int8, device=one.device), zero, zero, [1])
        torch.cuda.synchronize(index)
    except Exception as error:  # no compiler, a processor that is too old, ...: many libraries', all mean "not here"
        reason = f"triton failed on cuda:{index}: {type(error).__name__}: {error}"
        warnings.warn(f"{reason}; picks are made step by step instead, the same but slower", stacklevel=2)
        return reason
    return ""


def picks(similarity: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: Sequence[int]) -> Picks | None:
    """All picks of facility location, as ``CoverageFunction.picks``; None where the kernels cannot run."""
    import torch

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
        level: (B, N) int8: 2 for tokens that must be picked first, 1 for candidates, 0 for none.
        scale: (B, N) float64 of a score ``gain * scale + offset``.
        offset: (B, N) float64.
        keep: How many to pick of each group; no more than it has candidates.
        shared: How the work is shared out; `plan`'s if left out.
    """
    import torch

    from scope_core.parts import Picks
    from scope_plugins.coverage._fast import triton_kernel as kernels
    from scope_plugins.coverage._fast.arithmetic import magic

    device = similarity.device
    batch, count, _ = similarity.shape
    most = max(keep, default=0)
    made = torch.full((batch, most), -1, dtype=torch.int64, device=device)
    gains = torch.full((batch, most), torch.nan, dtype=torch.float64, device=device)
    scores = gains.clone()
    if not most:
        return Picks(made, gains, scores)
    matrix = similarity.detach()
    matrix = matrix if matrix.stride(2) == 1 else matrix.contiguous()
    shared = shared or plan(batch, count, _processors(device))
    blocks = shared.blocks

    def new(*shape: int, dtype: torch.dtype = torch.float64, fill: bool = False) -> Tensor:
        return (torch.zeros if fill else torch.empty)(shape, dtype=dtype, device=device)

    rounder, left, wanted = magic(matrix), level.clone(), torch.tensor(keep, dtype=torch.int32, device=device)
    required, gain = (left == 2).sum(1, dtype=torch.int32), new(batch, count, fill=True)
    inputs = (rounder, left.contiguous(), scale.contiguous(), offset.contiguous(), wanted, required)
    risen = (new(batch, blocks, count, dtype=torch.int32), new(batch, blocks, count), new(batch, blocks, count))
    heads = (new(batch, 2, blocks), new(batch, 2, blocks, dtype=torch.int32))
    best, arrived = new(batch, blocks, count, fill=True), new(batch, dtype=torch.int32, fill=True)
    tensors = (*inputs, gain, best, *risen, *heads, arrived, made, gains, scores)
    shape: dict[str, Any] = {
        "WIDTH": shared.width,
        "HEIGHT": shared.height,
        "ROWS": max(4, min(16, 8 * WIDE // shared.width)),  # with these, no register spills on sm_80 and sm_90
        "HEADS": 1 << (blocks - 1).bit_length(),
        "MANY": blocks > 1,
        "TOGETHER": shared.together,
        "num_warps": 8,
        "enable_fp_fusion": False,  # gain * scale + offset rounds twice, as everywhere else
    }
    if shared.together and blocks > 1:
        shape["launch_cooperative_grid"] = True  # refused, rather than hung, if not all programs can run at once
    strides = (matrix.stride(0), matrix.stride(1), count)
    with _on(device):
        tall, wide = 64, 128
        grid = (batch, -(-count // tall), -(-count // wide))
        kernels.first_gains[grid](matrix, *strides, rounder, gain, HEIGHT=tall, WIDTH=wide, enable_fp_fusion=False)
        spans = [(0, most)] if shared.together else [(0, 0), *((step, step + 1) for step in range(most))]
        for first, last in spans:
            kernels.greedy[(batch, blocks)](matrix, *strides, *tensors, most, first, last, blocks, **shape)
    return Picks(made, gains, scores)


def _processors(device: torch.device) -> int:
    """How many programs surely run at the same time; 0 where Triton is too old to ask for it when it launches."""
    import torch
    from triton.backends.nvidia.compiler import CUDAOptions

    if not hasattr(CUDAOptions, "launch_cooperative_grid"):
        return 0
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be the tensors'."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
