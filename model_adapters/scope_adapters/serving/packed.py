"""Signals from vLLM's own Qwen-VL towers, by a hook on the fused projection of each layer that a part reads.

The towers take the patches of all images as one sequence, without a padding. Queries and keys are rotated by the
layer's own function. With tensor parallelism every rank has a part of the projection's output; the capture holds all
heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from scope_adapters.serving.grids import GridGeometry
from scope_adapters.towers.packed import PackedCapture, PackedTower
from scope_adapters.towers.probe import layer_index
from scope_core import AttachError
from scope_core.adapters import resolve
from scope_core.parts import parse_signal

FAMILIES = ("vision.received_attention", "vision.mean_attention", "vision.keys", "vision.hidden")
MERGER = ("merger", -1)
"""The key of what the merger is given."""
_BY_HEAD = ("vision.received_attention", "vision.keys")
"""Signals whose second axis is the heads; that of the others is the tokens."""
_ATTENTION = ("vision.received_attention", "vision.mean_attention")


def check(visual: Any, what: str) -> None:
    """Refuse a tower whose modules are not where they are in the tested versions.

    Raises:
        AdapterError: names the module.
    """
    for path in ("merger", "prepare_encoder_metadata", "blocks"):
        resolve(visual, path, what=what)
    for path in ("norm1", "attn.qkv", "attn.tp_size", "attn.apply_rotary_emb"):
        resolve(visual.blocks[0], path, what=f"{what}, blocks.0")
    _norm(visual)


@contextmanager
def watch(
    visual: Any,
    tower: PackedTower,
    needs: frozenset[str],
    grids: Sequence[Sequence[int]],
    metadata: Mapping[str, Any],
    heads: int,
) -> Iterator[PackedCapture]:
    """The capture of one pass of ``visual`` inside; hooks are removed afterwards.

    What the merger is given is always captured: ``capture.seen[MERGER]``, (P, D).

    Args:
        visual: vLLM's tower.
        tower: The tower without weights, of the geometry.
        needs: Signals to capture; other families are ignored.
        grids: ``image_grid_thw``, one row for each image.
        metadata: Result of ``visual.prepare_encoder_metadata``.
        heads: Number of heads, of all ranks together.
    """
    check(visual, type(visual).__name__)
    stand_in = SimpleNamespace(attn=SimpleNamespace(num_heads=heads))
    whole = replace(
        tower,
        module=visual,
        layers=[stand_in] * len(visual.blocks),
        rotate=_Rotation(visual.blocks[0].attn.apply_rotary_emb),
        reorder="prepare_encoder_metadata" if "window_index" in metadata else "",
    )
    capture = PackedCapture(whole, None, order=metadata.get("window_index"))
    ends = list(accumulate((rows * cols for _, rows, cols in grids), initial=0))
    rotation = (metadata["rotary_pos_emb_cos"], metadata["rotary_pos_emb_sin"])

    def projected(index: int) -> Any:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            fused = (output[0] if isinstance(output, tuple) else output).detach()
            capture.seen[("qkv", index)] = _all_heads(fused.flatten(0, -2), visual.blocks[index].attn)
            capture.seen[("call", index)] = (torch.tensor(ends), rotation)

        return hook

    def given(key: tuple[str, int]) -> Any:
        def hook(_module: Any, args: Any) -> None:
            capture.seen[key] = args[0].detach().flatten(0, -2).clone()  # vLLM's norms may write to their input

        return hook

    norm = _norm(visual)
    with ExitStack() as undo:
        undo.callback(norm.register_forward_pre_hook(given(MERGER)).remove)
        for family, layer in sorted(_wanted(needs)):
            number = whole.received.layer_of(layer) if family in _ATTENTION else layer
            index = layer_index(layer if number is None else number, len(visual.blocks), f"{family}[{layer}]")
            if family == "vision.hidden":  # the next layer's input: blocks themselves run past hooks
                after = norm if index + 1 == len(visual.blocks) else visual.blocks[index + 1].norm1
                undo.callback(after.register_forward_pre_hook(given(("hidden", index))).remove)
            else:
                undo.callback(visual.blocks[index].attn.qkv.register_forward_hook(projected(index)).remove)
        yield capture
    if MERGER not in capture.seen:
        raise AttachError("the merger's input was not seen; the encoder must not be compiled (compile_mm_encoder)")


@dataclass(frozen=True)
class Seen:
    """Images, or frames of videos, that went through the tower.

    Attributes:
        before: (n, D) for each: what the merger is given, mean of each token's block.
        after: (n, D') for each: what the merger gives.
        passes: The capture of each pass, and the numbers of tokens of its images, in order.
    """

    before: list[Tensor]
    after: list[Tensor]
    passes: list[tuple[PackedCapture, list[int]]]

    def signals(self, dtype: torch.dtype | None, needs: frozenset[str], numbers: Sequence[int]) -> dict[str, Tensor]:
        """The captured signals of some images, in ascending order, which all have the same number of tokens.

        Args:
            dtype: The dtype to compute in.
            needs: Names of signals; other families are ignored.
            numbers: Numbers of the images.
        """
        parts, first = [], 0
        for capture, counts in self.passes:
            mine = [number - first for number in numbers if first <= number < first + len(counts)]
            if mine:
                parts.append(signals(replace(capture, dtype=dtype), needs, counts, mine))
            first += len(counts)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def encode(
    visual: Any,
    geometry: GridGeometry,
    patches: Tensor,
    grids: Sequence[Sequence[int]],
    needs: frozenset[str],
    at_once: int,
) -> Seen:
    """Images, or frames of videos, encoded in passes of at most ``at_once`` patches, or of one image.

    Args:
        visual: vLLM's tower.
        geometry: Geometry of the candidates.
        patches: (P, C) the patches of all images.
        grids: Frames (1), rows and columns of patches of each image.
        needs: Signals to capture.
        at_once: Number of patches.
    """
    seen = Seen([], [], [])
    sizes = [rows * cols for _, rows, cols in grids]
    first = 0
    while first < len(grids):
        last = first + 1
        while last < len(grids) and sum(sizes[first : last + 1]) <= at_once:
            last += 1
        part, begin = list(grids[first:last]), sum(sizes[:first])
        metadata = visual.prepare_encoder_metadata(part)
        with watch(visual, geometry.packed, needs, part, metadata, geometry.heads) as capture:
            out = visual(patches[begin : begin + sum(sizes[first:last])], grid_thw=part, encoder_metadata=metadata)
        vision = capture.seen[MERGER].view(len(out), geometry.block**2, -1).float().mean(1).to(out.dtype)
        if "reverse_indices" in metadata:  # the tower orders tokens by windows, up to its merger
            vision = vision[metadata["reverse_indices"].to(vision.device)]
        counts = [size // geometry.block**2 for size in sizes[first:last]]
        seen.before.extend(torch.split(vision, counts))
        seen.after.extend(torch.split(out, counts))
        seen.passes.append((capture, counts))
        first = last
    return seen


def signals(
    capture: PackedCapture, needs: frozenset[str], counts: Sequence[int], images: Sequence[int]
) -> dict[str, Tensor]:
    """The captured signals of ``images``, which all have the same number of tokens.

    Args:
        capture: Result of `watch`.
        needs: Names of signals; other families are ignored.
        counts: Number of tokens of each image of the pass.
        images: Numbers of the images.
    """
    found = {}
    for name, signal in capture.signals(needs, counts).items():
        axis = 2 if parse_signal(name)[0] in _BY_HEAD else 1
        found[name] = signal()[list(images)].narrow(axis, 0, counts[images[0]])
    return found


class _Rotation:
    """vLLM's own rotation of queries and keys, in the form that `PackedTower` calls."""

    def __init__(self, apply: Any) -> None:
        self.apply = apply

    def __call__(self, query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """(P, H, C) query and key, rotated."""
        both = self.apply(torch.stack([query, key]), cos, sin)
        return both[0], both[1]


def _wanted(needs: frozenset[str]) -> set[tuple[str, int]]:
    parsed = (parse_signal(name) for name in needs)
    return {(family, layer) for family, layer in parsed if family in FAMILIES and layer is not None}


def _norm(visual: Any) -> Any:
    """The norm at the start of the merger, which itself runs past hooks."""
    name = "ln_q" if hasattr(visual.merger, "ln_q") else "norm"
    return resolve(visual.merger, name, what=f"{type(visual).__name__}, merger")


def _all_heads(fused: Tensor, attention: Any) -> Tensor:
    """(P, 3 * H * C) queries, keys and values with all heads, from each rank's share."""
    ranks = int(attention.tp_size)
    if ranks == 1:
        return fused
    from vllm.distributed import tensor_model_parallel_all_gather
    from vllm.model_executor.layers.linear import QKVParallelLinear

    gathered: Tensor = tensor_model_parallel_all_gather(fused.contiguous(), dim=-1)
    if isinstance(attention.qkv, QKVParallelLinear):  # each rank has some heads of all three
        gathered = gathered.view(len(fused), ranks, 3, -1).transpose(1, 2).flatten(1)
    return gathered
