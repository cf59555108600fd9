"""Signals from vLLM's own vision tower, by a hook on each layer that a part reads.

vLLM does not return attention weights; query, key and value come from one fused projection. The hook reads the output
of that projection, so any attention backend works. With tensor parallelism every rank has some of the heads; signals
hold all of them, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor

from scope_adapters.towers.layouts import ResolvedTower
from scope_adapters.towers.probe import Capture, layer_index
from scope_core import AttachError
from scope_core.adapters import resolve
from scope_core.parts import parse_signal

_BY_HEAD = ("vision.cls_attention", "vision.received_attention", "vision.keys")
_ALL_HEADS = ("vision.joint_attention", "vision.mean_attention")
_HIDDEN = ("vision.hidden", "vision.cls")
LAYERS, ATTENTION, PROJECTION = "vision_tower.vision_model.encoder.layers", "self_attn", "qkv_proj"


def resolved(model: Any, tower: ResolvedTower) -> ResolvedTower:
    """The tower with vLLM's modules; layers that vLLM does not build are None.

    Raises:
        AdapterError: a module is not where it is in the tested versions.
    """
    name = type(model).__name__
    built = resolve(model, LAYERS, what=name)
    for part in ("num_heads_per_partition", "head_dim", "scale", "tp_size", PROJECTION):
        resolve(built[0], f"{ATTENTION}.{part}", what=f"{name}, {LAYERS}.0")
    module = resolve(model, LAYERS.rpartition(".encoder")[0], what=name)
    return replace(tower, module=module, layers=[*built, *[None] * (len(tower.layers) - len(built))])


@contextmanager
def watch(tower: ResolvedTower, needs: frozenset[str]) -> Iterator[Capture]:
    """The capture of passes of ``tower`` inside; hooks are removed afterwards.

    Args:
        tower: Result of `resolved`.
        needs: Signals to capture; other families are ignored.
    """
    capture = Capture(tower, None)
    with ExitStack() as undo:
        for index in sorted({i for family, i in _wanted(tower, needs) if family in (*_BY_HEAD, *_ALL_HEADS)}):
            attention = getattr(tower.layers[index], ATTENTION)
            hook = _split(capture, index, attention)
            undo.callback(getattr(attention, PROJECTION).register_forward_hook(hook).remove)
        for index in sorted({i for family, i in _wanted(tower, needs) if family in _HIDDEN}):
            undo.callback(tower.layers[index].register_forward_hook(_keep(capture, index)).remove)
        yield capture


def signals(capture: Capture, needs: frozenset[str], tokens: int) -> dict[str, Tensor]:
    """The captured signals with all heads, one entry for each of the ``tokens`` rows of a tile.

    Computed at once, since with tensor parallelism every rank takes part, even if it does not select.

    Raises:
        AttachError: a layer did not pass through its projection.
    """
    found, gathered = {}, set()
    lazy = capture.signals(needs, tokens)
    for name in sorted(lazy, key=lambda name: (parse_signal(name)[0] in _ALL_HEADS, name)):
        family, layer = parse_signal(name)
        if family in _HIDDEN:
            found[name] = lazy[name]()
            continue
        index = layer_index(layer or 0, len(capture.tower.layers), name)
        ranks = int(getattr(capture.tower.layers[index], ATTENTION).tp_size)
        if family in _ALL_HEADS and index not in gathered:  # after the signals that are gathered themselves
            for key in {("query", index), ("key", index)} & capture.seen.keys():
                capture.seen[key] = _all_heads(capture.seen[key], ranks)
            gathered.add(index)
        found[name] = _all_heads(lazy[name](), ranks) if family in _BY_HEAD else lazy[name]()
    return found


def _wanted(tower: ResolvedTower, needs: frozenset[str]) -> set[tuple[str, int]]:
    found = set()
    for name in needs:
        family, layer = parse_signal(name)
        if family in (*_BY_HEAD, *_ALL_HEADS, *_HIDDEN) and layer is not None:
            found.add((family, layer_index(layer, len(tower.layers), name)))
    return found


def _split(capture: Capture, index: int, attention: Any) -> Any:
    heads, width = int(attention.num_heads_per_partition), int(attention.head_dim)

    def hook(_module: Any, _args: Any, output: Any) -> None:
        fused = (output[0] if isinstance(output, tuple) else output).detach()
        if fused.dim() != 3 or fused.shape[-1] != 3 * heads * width:
            raise AttachError(
                f"layer {index} of the vision tower returns query, key and value as {tuple(fused.shape)}; expected "
                f"(B, M, {3 * heads * width}), which is 3 x {heads} heads x {width}. This version of vLLM has another "
                f"layout; see the tested versions in docs/serving.md"
            )
        for part, rows in zip(("query", "key"), fused.chunk(3, dim=-1), strict=False):
            capture.seen[(part, index)] = rows.view(*rows.shape[:2], heads, width).transpose(1, 2)

    return hook


def _keep(capture: Capture, index: int) -> Any:
    def hook(_module: Any, _args: Any, output: Any) -> None:
        capture.seen[("hidden", index)] = (output[0] if isinstance(output, tuple) else output).detach()

    return hook


def _all_heads(tensor: Tensor, ranks: int) -> Tensor:
    """(B, H, ...) with all heads, from each rank's share."""
    if ranks == 1:
        return tensor
    from vllm.distributed import tensor_model_parallel_all_gather

    gathered: Tensor = tensor_model_parallel_all_gather(tensor.contiguous(), dim=1)
    return gathered
