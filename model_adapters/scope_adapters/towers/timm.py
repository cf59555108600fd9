"""timm towers: alone, or inside somebody else's model.

`timm_probe` watches a ``VisionTransformer`` wherever it runs; `TimmTower` is one with its preprocessing. Served are
blocks whose attention is timm's own ``Attention`` (fused qkv, optional q and k norms): ViT, CLIP, SigLIP, DeiT,
DINOv2. Rotary, relative-position, parallel and differential attention are refused: query and key are not the whole
story there, and attention computed from them would be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat import timm
from scope_adapters.towers.layouts import ResolvedTower, TowerLayout, has_path
from scope_adapters.towers.pictures import PictureTower
from scope_adapters.towers.probe import Capture, layer_index, offers, probe, reasons
from scope_core import AdapterError, AttachError, SignalError, VisualTokens
from scope_core.parts import parse_signal

_BY_FEATURES = "Selecting by features alone works with any tower: scope_core.select(features, spec='divprune@64')"


@dataclass(frozen=True)
class TimmVit(ResolvedTower):
    """A timm ``VisionTransformer`` whose every path was found."""

    def grid(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """(rows, columns) of patches of an image in pixels; the configured size if left out."""
        return timm.grid_of(self.module.patch_embed, height, width)


def resolve_timm(vit: Any, where: str) -> TimmVit:
    """Find a timm tower's blocks and attention, before anything is hooked.

    Raises:
        AdapterError: it is no timm ``VisionTransformer``, or its attention is of a kind that is not served.
    """
    kind = type(vit).__name__
    missing = [path for path in timm.NEEDED if not has_path(vit, path)]
    if missing and timm.is_vision_transformer(vit):
        raise AdapterError(
            f"{where}: this {kind} of timm has no '{missing[0]}', which towers have from timm 0.9.10 on. {_BY_FEATURES}"
        )
    if missing:
        raise AdapterError(
            f"{where}: this {kind} is no timm VisionTransformer: it has no '{missing[0]}'. Give the tower itself, e.g. "
            f"vision_backbone.featurizer or open_clip's model.visual.trunk. {_BY_FEATURES}"
        )
    for number, block in enumerate(vit.blocks):
        attention = getattr(block, "attn", None)
        found = f"{type(attention).__module__}.{type(attention).__name__}"
        if found not in timm.ATTENTION:
            what = f"its attention is {found}" if attention is not None else f"a {type(block).__name__} has no '.attn'"
            raise AdapterError(
                f"{where}: block {number} of this {kind} is not served: {what}, and signals are exact only for "
                f"{timm.ATTENTION[0]}, as in vit_large_patch14_clip_336. {_BY_FEATURES}"
            )
        lacking = [name for name in timm.NEEDED_OF_ATTENTION if not hasattr(attention, name)]
        if lacking:
            raise AdapterError(
                f"{where}: the attention of block {number} has no '{lacking[0]}', which it has from timm 0.9.10 on. "
                f"{_BY_FEATURES}"
            )
    cls = getattr(vit, "cls_token", None) is not None
    layout = TowerLayout(
        ("blocks",), "attn", "q_norm", "k_norm", cls=cls, registers=int(vit.num_prefix_tokens) - cls, any_size=True
    )
    return TimmVit(vit, layout, vit.blocks, {"tower": where, "layers": f"{where}.blocks"})


@dataclass
class Watched:
    """What `timm_probe` saw of the latest pass of a tower.

    Attributes:
        tower: The tower.
        layer: Whose output the features are.
        names: Signals that were captured.
        capture: What the pass left behind.
        pixels: (height, width) of its pictures; None before there was a pass.
    """

    tower: TimmVit
    layer: int
    names: frozenset[str]
    capture: Capture
    pixels: tuple[int, int] | None = None

    @property
    def tokens(self) -> VisualTokens:
        """(B, N, D) patch tokens of the layer, prefix removed, one group per picture, with their signals.

        Raises:
            AttachError: the tower did not run under the probe, or dropped patches by itself.
        """
        if self.pixels is None:
            raise AttachError("the tower did not run while the probe was on; call the model inside the `with` block")
        grid, prefix = self.tower.grid(*self.pixels), self.tower.layout.prefix
        count = grid[0] * grid[1]
        features = self.capture.hidden(self.layer, prefix + count)
        if features.shape[1] != prefix + count:
            raise AttachError(
                f"the tower ran with {features.shape[1]} tokens, not {prefix} + {grid[0]} x {grid[1]}: while it trains "
                f"it drops patches by itself; call eval() first"
            )
        capture = replace(self.capture, seen=dict(self.capture.seen))  # a later pass must not change these tokens
        return VisualTokens.of(features[:, prefix:], grid=grid, signals=capture.signals(self.names, count))


@contextmanager
def timm_probe(
    vit: Any, layer: int = -2, *, needs: frozenset[str] = frozenset(), skip_rest: bool = False
) -> Iterator[Watched]:
    """Watch a timm tower inside a model of your own; every hook is removed on exit.

    Args:
        vit: A timm ``VisionTransformer``, e.g. Prismatic's ``vision_backbone.featurizer``.
        layer: Whose output the features are and whose attention is read: -1 is the last block's, -2 the one before.
        needs: Further signals, e.g. ``pruner.needs`` where a recipe reads another layer.
        skip_rest: Do not compute blocks above those read. Only where the model reads nothing above ``layer`` either.

    Yields:
        A `Watched`, whose ``tokens`` are there once the tower ran.

    Raises:
        AdapterError: the tower's attention is of a kind that is not served.
        SignalError: there is no such layer, or the tower cannot give a signal; says why.
    """
    tower = resolve_timm(vit, type(vit).__name__)
    index = layer_index(layer, len(tower.layers), f"layer {layer}")
    given = offers(tower)
    for name in sorted(needs):
        if not any(offer.covers(name) for offer in given):
            why = reasons(tower).get(parse_signal(name)[0], "no probe of a tower does")
            raise SignalError(
                f"'{name}' is needed, which this {type(vit).__name__} cannot give: {why}. It gives "
                f"{', '.join(map(str, given))}: use a part that reads one of these"
            )
    names = {f"{offer.family}[{i}]" for offer in given for i in (index + 1, index - len(tower.layers))} | needs
    with ExitStack() as undo:
        capture = undo.enter_context(
            probe(tower, frozenset(names), dtype=torch.float32, last=layer if skip_rest else None)
        )
        watched = Watched(tower, layer, frozenset(names), capture)

        def note(_module: Any, args: Any) -> None:
            watched.pixels = tuple(args[0].shape[-2:])

        undo.callback(vit.patch_embed.register_forward_pre_hook(note).remove)
        yield watched


class TimmTower(PictureTower):
    """A timm ``VisionTransformer`` in eval mode, with the preprocessing of its ``pretrained_cfg``.

    Pictures are cropped to the whole shorter side; ``crop_pct``, a habit of classification, is not applied.

    Args:
        module: The model.
        name: What to call it.
        size: Side of the square picture in pixels; the size the model was built for if left out.
        layer: Whose output the features are, counted as in ``hidden_states``.
    """

    def __init__(self, module: Any, *, name: str, size: int | None = None, layer: int = -2) -> None:
        tower, config = resolve_timm(module, name), module.pretrained_cfg
        built = getattr(module.patch_embed, "img_size", None) or config["input_size"][1:]
        mean, std = tuple(config["mean"]), tuple(config["std"])
        super().__init__(tower, name=name, size=size or int(built[0]), mean=mean, std=std, layer=layer)

    def run(self, pixels: Tensor, needs: frozenset[str]) -> None:
        """Blocks above the highest layer that is read are skipped by the probe."""
        self.module.forward_features(pixels)
