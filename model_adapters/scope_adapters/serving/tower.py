"""Signals from vLLM's own vision tower, by a hook on each layer that a part reads.

vLLM does not return attention weights. In CLIP and SigLIP, query, key and value come from one fused projection, whose
output the hook reads; in InternVL they are arguments of the attention itself, after their norms. So any attention
backend works. With tensor parallelism every rank has some of the heads of a fused projection, and all of InternVL's;
signals hold all heads, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Paths:
    """The places of a tower's parts in vLLM's model.

    Attributes:
        layers: Dotted path of the list of layers; the tower is what it is in before ".encoder".
        attention: Name of the attention inside a layer.
        read: Name of the module inside it that the hook reads.
        heads: Name of the number of a rank's heads inside it.
        fused: True if the hook reads query, key and value from the output of ``read``, False if from its arguments.
        others: Further names inside the attention that are used.
    """

    layers: str
    attention: str
    read: str
    heads: str
    fused: bool
    others: tuple[str, ...]


CLIP = Paths(
    "vision_tower.vision_model.encoder.layers", "self_attn", "qkv_proj", "num_heads_per_partition", True,
    ("head_dim", "scale", "tp_size"),
)  # fmt: skip
"""CLIP and SigLIP."""
INTERNVL = Paths("vision_tower.encoder.layer", "attention", "attn", "num_heads", False, ("head_dim", "scale"))


def resolved(model: Any, tower: ResolvedTower, paths: Paths = CLIP) -> ResolvedTower:
    """The tower with vLLM's modules; layers that vLLM does not build are None.

    Raises:
        AdapterError: a module is not where it is in the tested versions.
    """
    name = type(model).__name__
    built = resolve(model, paths.layers, what=name)
    for part in (paths.heads, *paths.others, paths.read):
        resolve(built[0], f"{paths.attention}.{part}", what=f"{name}, {paths.layers}.0")
    module = resolve(model, paths.layers.rpartition(".encoder")[0], what=name)
    return replace(tower, module=module, layers=[*built, *[None] * (len(tower.layers) - len(built))])


@contextmanager
def watch(tower: ResolvedTower, needs: frozenset[str], paths: Paths = CLIP) -> Iterator[Capture]:
    """The capture of passes of ``tower`` inside; hooks are removed afterwards.

    Args:
        tower: Result of `resolved`.
        needs: Signals to capture; other families are ignored.
        paths: The places of its parts.
    """
    capture = Capture(tower, None)
    with ExitStack() as undo:
        for index in sorted({i for family, i in _wanted(tower, needs) if family in (*_BY_HEAD, *_ALL_HEADS)}):
            attention = getattr(tower.layers[index], paths.attention)
            read, heads = getattr(attention, paths.read), int(getattr(attention, paths.heads))
            if paths.fused:
                added = read.register_forward_hook(_split(capture, index, heads, int(attention.head_dim)))
            else:
                added = read.register_forward_pre_hook(_given(capture, index, heads))
            undo.callback(added.remove)
        for index in sorted({i for family, i in _wanted(tower, needs) if family in _HIDDEN}):
            undo.callback(tower.layers[index].register_forward_hook(_keep(capture, index)).remove)
        yield capture


def signals(capture: Capture, needs: frozenset[str], tokens: int, paths: Paths = CLIP) -> dict[str, Tensor]:
    """The captured signals with all heads, one entry for each of the ``tokens`` last rows of a tile.

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
        ranks = int(getattr(capture.tower.layers[index], paths.attention).tp_size) if paths.fused else 1
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


def _split(capture: Capture, index: int, heads: int, width: int) -> Any:
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


def _given(capture: Capture, index: int, heads: int) -> Any:
    def hook(_module: Any, args: Any) -> None:
        for part, rows in zip(("query", "key"), args, strict=False):
            capture.seen[(part, index)] = rows.detach().view(*rows.shape[:2], heads, -1).transpose(1, 2)

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
