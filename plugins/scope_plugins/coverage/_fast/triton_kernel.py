# ruff: noqa: ANN001, ANN202, N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (functions that Triton compiles may have no annotations except its own)
"""Greedy facility location as Triton kernels, with picks, gains and scores equal to the CPU's to the last bit.

Imported only for tokens on an accelerator. One program has ``WIDTH`` columns (candidates) of one group and keeps their
gains in registers; several programs share a group of many tokens and agree on each pick. As on the CPU, only rows whose
running maximum rises are read again, so a pick reads one column and a few rows of the matrix.
"""

from __future__ import annotations

import triton
import triton.language as tl

UNSPECIALISED = [
    "group_stride",
    "count",
    "blocks",
    "most",
    "first",
    "last",
]  # one compiled kernel serves all of their values


@triton.jit
def first_gains(
    similarity,
    group_stride,
    row_stride,
    count,
    rounding_constant,
    gain,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Add to ``gain`` (B, N) the column sums of max(0, S) over ``HEIGHT`` rows; exact, so in any order."""
    group = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * HEIGHT + tl.arange(0, HEIGHT)
    cols = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    inside = (rows[:, None] < count) & (cols[None, :] < count)
    at = similarity + group * group_stride + rows[:, None].to(tl.int64) * row_stride + cols[None, :]
    value = _on_grid(tl.load(at, mask=inside, other=0.0), tl.load(rounding_constant))
    tl.atomic_add(gain + group * count + cols, tl.sum(tl.maximum(value, 0.0), 0), mask=cols < count)


@triton.jit(do_not_specialize=UNSPECIALISED)
def greedy(
    similarity,
    group_stride,
    row_stride,
    count,
    rounding_constant,
    level,
    scale,
    offset,
    keep,
    required,
    gain,
    best,
    risen_row,
    risen_from,
    risen_to,
    head_key,
    head_pick,
    arrived,
    picks,
    gains,
    scores,
    most,
    first,
    last,
    blocks,
    WIDTH: tl.constexpr,
    HEIGHT: tl.constexpr,
    ROWS: tl.constexpr,
    HEADS: tl.constexpr,
    MANY: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """Make picks ``first`` to ``last - 1`` of each group; program (g, b) has the b-th ``WIDTH`` columns of group g.

    Args:
        similarity: (B, N, N) float32 or float64, columns next to each other.
        group_stride: Elements from one group to the next.
        row_stride: Elements from one row to the next.
        count: N.
        rounding_constant: (1,) float64; see `_on_grid`.
        level: (B, N) int8: 2 for tokens that must be picked first, 1 for other candidates, 0 for the rest. Changed.
        scale: (B, N) float64 of a score ``gain * scale + offset``.
        offset: (B, N) float64.
        keep: (B,) int32.
        required: (B,) int32: number of tokens of level 2.
        gain: (B, N) float64 from `first_gains`. Changed.
        best: (B, blocks, N) float64, zeros: the running maximum, a copy for each program.
        risen_row: (B, blocks, N) int32, scratch: list of the rows whose maximum rises.
        risen_from: (B, blocks, N) float64, scratch: their maximum before the pick.
        risen_to: (B, blocks, N) float64, scratch: their maximum after the pick.
        head_key: (B, 2, blocks) float64, scratch: the best score in each program, for even and odd picks.
        head_pick: (B, 2, blocks) int32, scratch: the token that has it.
        arrived: (B,) int32, zeros: number of arrivals at a synchronisation so far.
        picks: (B, most) int64, out.
        gains: (B, most) float64, out.
        scores: (B, most) float64, out.
        most: K.
        first: Index of the first pick.
        last: Index after the last pick.
        blocks: Programs per group.
        WIDTH: Columns per program.
        HEIGHT: Rows read together when a pick's column is compared with the running maximum.
        ROWS: Rows of the matrix read together when gains are updated.
        HEADS: A power of two, at least ``blocks``.
        MANY: True if ``blocks`` is more than 1.
        TOGETHER: True if one launch makes all picks. Otherwise the first launch has ``first == last``, and each further
            launch makes one pick: programs synchronise at the end of a launch.
    """
    group = tl.program_id(0)
    block = tl.program_id(1)
    matrix = similarity + group.to(tl.int64) * group_stride
    base = (group * blocks + block).to(tl.int64) * count
    cols = block * WIDTH + tl.arange(0, WIDTH)
    inside = cols < count
    place = group.to(tl.int64) * count + cols
    value_of = tl.load(gain + place, mask=inside, other=0.0)
    left = tl.load(level + place, mask=inside, other=0)
    factor = tl.load(scale + place, mask=inside, other=0.0)
    added = tl.load(offset + place, mask=inside, other=0.0)
    step_of_grid = tl.load(rounding_constant)
    needed = tl.load(required + group)
    end = tl.minimum(last, tl.load(keep + group))

    key, pick = _head(value_of * factor + added, left, first < needed, cols)
    if MANY:
        if TOGETHER or first == last:
            tl.store(head_key + (group * 2 + first % 2) * blocks + block, key)
            tl.store(head_pick + (group * 2 + first % 2) * blocks + block, pick)
        if TOGETHER:
            _meet(arrived + group, blocks)
    for step in range(first, end):
        if MANY:
            heads = tl.arange(0, HEADS)
            at = (group * 2 + step % 2) * blocks + heads
            # written by other programs: bypass the cache of this processor
            keys = tl.load(head_key + at, mask=heads < blocks, other=float("-inf"), cache_modifier=".cg")
            theirs = tl.load(head_pick + at, mask=heads < blocks, other=2147483647, cache_modifier=".cg")
            pick = tl.min(tl.where(keys == tl.max(keys, 0), theirs, 2147483647), 0)
        here = cols == pick
        out = group * most + step + cols * 0
        tl.store(picks + out, cols, mask=here)
        tl.store(gains + out, value_of, mask=here)
        tl.store(scores + out, value_of * factor + added, mask=here)
        left = tl.where(here, 0, left)

        total = 0
        for start in range(0, count, HEIGHT):
            rows = start + tl.arange(0, HEIGHT)
            real = rows < count
            new = _on_grid(tl.load(matrix + rows.to(tl.int64) * row_stride + pick, mask=real, other=0.0), step_of_grid)
            old = tl.load(best + base + rows, mask=real, other=0.0)
            rises = (new > old) & real
            line = base + total + tl.cumsum(rises.to(tl.int32), 0) - 1
            tl.store(risen_row + line, rows, mask=rises)
            tl.store(risen_from + line, old, mask=rises)
            tl.store(risen_to + line, new, mask=rises)
            tl.store(best + base + rows, new, mask=rises)
            total += tl.sum(rises.to(tl.int32), 0)
        tl.debug_barrier()  # the whole list is written before any thread reads it
        for start in range(0, total, ROWS):
            line = start + tl.arange(0, ROWS)
            real = line < total
            row = tl.load(risen_row + base + line, mask=real, other=0).to(tl.int64)
            low = tl.load(risen_from + base + line, mask=real, other=0.0)
            high = tl.load(risen_to + base + line, mask=real, other=0.0)
            read = real[:, None] & inside[None, :]
            raw = tl.load(matrix + row[:, None] * row_stride + cols[None, :], mask=read, other=0.0)
            lost = tl.minimum(_on_grid(raw, step_of_grid), high[:, None]) - low[:, None]
            value_of -= tl.sum(tl.maximum(lost, 0.0), 0)
        tl.debug_barrier()  # the whole list is read before any thread writes it again

        key, pick = _head(value_of * factor + added, left, step + 1 < needed, cols)
        if MANY:
            tl.store(head_key + (group * 2 + (step + 1) % 2) * blocks + block, key)
            tl.store(head_pick + (group * 2 + (step + 1) % 2) * blocks + block, pick)
            if TOGETHER:
                _meet(arrived + group, blocks * (step - first + 2))
    if not TOGETHER:
        tl.store(gain + place, value_of, mask=inside)
        tl.store(level + place, left, mask=inside)


@triton.jit
def _on_grid(value, constant):
    """The value rounded to a multiple of the grid's step: near ``constant``, float64 has no finer numbers."""
    return (value.to(tl.float64) + constant) - constant


@triton.jit
def _head(score, left, forced, cols):
    """The highest score and the lowest column that has it; NaN counts as the highest, as in argmax."""
    score = tl.where(score != score, float("inf"), score)
    key = tl.where(left == tl.where(forced, 2, 1), score, float("-inf"))
    top = tl.max(key, 0)
    return top, tl.min(tl.where(key == top, cols, 2147483647), 0)


@triton.jit
def _meet(arrived, wanted):
    """Wait until ``wanted`` arrivals are counted; afterwards all programs see what each wrote before."""
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release")
    while tl.atomic_add(arrived, 0, sem="acquire") < wanted:
        pass
    tl.debug_barrier()
