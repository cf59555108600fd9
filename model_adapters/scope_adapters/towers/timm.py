"""timm towers: alone, or inside another model.

`timm_probe` records a ``VisionTransformer`` inside any model; `TimmTower` is one with its preprocessing. Supported are
blocks with timm's own ``Attention`` (fused qkv, optional q and k norms): ViT, CLIP, SigLIP, DeiT, DINOv2. Rotary,
relative-position, parallel and differential attention are refused, since it depends on more than query and key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat import timm
from scope_adapters.towers.images import ImageTower
from scope_adapters.towers.layouts import ResolvedTower, TowerLayout, has_path, numbers_of
from scope_adapters.towers.probe import Capture, layer_index, offers, probe, reasons
from scope_core import AdapterError, AttachError, SignalError, VisualTokens
from scope_core.parts import parse_signal

_BY_FEATURES = "Selecting by features alone works with any tower: scope_core.select(features, spec='divprune@64')"


@dataclass(frozen=True)
class TimmVit(ResolvedTower):
    """A timm ``VisionTransformer`` whose paths were all found."""

    def grid(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """(rows, columns) of patches of an image of this size in pixels; by default of the configured size."""
        return timm.grid_of(self.module.patch_embed, height, width)

    @property
    def architecture(self) -> str:
        """The numbers by which a tower is told from others."""
        heads = getattr(getattr(self.layers[0], "attn", None), "num_heads", 0)
        return numbers_of(self.layers, heads, getattr(self.module, "embed_dim", 0))


def resolve_timm(vit: Any, where: str) -> TimmVit:
    """The tower with its blocks and layout, checked before any hook.

    Raises:
        AdapterError: it is not a timm ``VisionTransformer``, or its attention is not supported.
    """
    kind = type(vit).__name__
    missing = [path for path in timm.NEEDED if not has_path(vit, path)]
    if missing and timm.is_vision_transformer(vit):
        raise AdapterError(
            f"{where}: this {kind} of timm has no '{missing[0]}', which towers have from timm 0.9.10 on. {_BY_FEATURES}"
        )
    if missing:
        raise AdapterError(
            f"{where}: this {kind} is not a timm VisionTransformer: it has no '{missing[0]}'. Give the tower itself, "
            f"e.g. vision_backbone.featurizer or open_clip's model.visual.trunk. {_BY_FEATURES}"
        )
    for number, block in enumerate(vit.blocks):
        attention = getattr(block, "attn", None)
        found = f"{type(attention).__module__}.{type(attention).__name__}"
        if found not in timm.ATTENTION:
            what = f"its attention is {found}" if attention is not None else f"a {type(block).__name__} has no '.attn'"
            raise AdapterError(
                f"{where}: block {number} of this {kind} is not supported: {what}, but signals are exact only for "
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
    """The record of the latest pass of a tower under `timm_probe`.

    Attributes:
        tower: The tower.
        layer: Layer whose output the features are.
        names: Names of the captured signals.
        capture: Captured outputs.
        pixels: (height, width) of the images; None before the first pass.
    """

    tower: TimmVit
    layer: int
    names: frozenset[str]
    capture: Capture
    pixels: tuple[int, int] | None = None

    @property
    def tokens(self) -> VisualTokens:
        """(B, N, D) patch tokens of the layer, prefix removed, one group per image, with their signals.

        Raises:
            AttachError: the tower did not run under the probe, or dropped patches in training mode.
        """
        if self.pixels is None:
            raise AttachError("the tower did not run while the probe was on; call the model inside the `with` block")
        grid, prefix = self.tower.grid(*self.pixels), self.tower.layout.prefix
        count = grid[0] * grid[1]
        features = self.capture.hidden(self.layer, prefix + count)
        if features.shape[1] != prefix + count:
            raise AttachError(
                f"the tower ran with {features.shape[1]} tokens, not {prefix} + {grid[0]} x {grid[1]}: in training "
                f"mode it drops patches; call eval() first"
            )
        capture = replace(self.capture, seen=dict(self.capture.seen))  # a later pass must not change these tokens
        return VisualTokens.of(features[:, prefix:], grid=grid, signals=capture.signals(self.names, count))


@contextmanager
def timm_probe(
    vit: Any, layer: int = -2, *, needs: frozenset[str] = frozenset(), skip_rest: bool = False
) -> Iterator[Watched]:
    """Record the passes of a timm tower inside your own model; every hook is removed on exit.

    Args:
        vit: A timm ``VisionTransformer``, e.g. Prismatic's ``vision_backbone.featurizer``.
        layer: Layer whose output and attention are read: -1 is the last block, -2 the one before.
        needs: Further signals, e.g. ``pruner.needs`` if a recipe reads another layer.
        skip_rest: Skip blocks above those that are read. Only if the model reads nothing above ``layer`` either.

    Yields:
        A `Watched`; its ``tokens`` can be read once the tower has run.

    Raises:
        AdapterError: the tower's attention is not supported.
        SignalError: there is no such layer, or the tower does not have a signal; says why.
    """
    tower = resolve_timm(vit, type(vit).__name__)
    index = layer_index(layer, len(tower.layers), f"layer {layer}")
    given = offers(tower)
    for name in sorted(needs):
        if not any(offer.covers(name) for offer in given):
            why = reasons(tower).get(parse_signal(name)[0], "no probe of a tower can")
            raise SignalError(
                f"'{name}' is needed, but this {type(vit).__name__} does not have it: {why}. It has "
                f"{', '.join(map(str, given))}; use a part that reads one of these"
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


class TimmTower(ImageTower):
    """A timm ``VisionTransformer`` in eval mode, with the preprocessing of its ``pretrained_cfg``.

    Images are cropped to the whole shorter side; ``crop_pct``, which is for classification, is not applied.

    Args:
        module: The model.
        name: Name for messages and results.
        size: Side of the square input image in pixels; by default the model's own.
        layer: Layer whose output the features are, counted as in ``hidden_states``.
    """

    def __init__(self, module: Any, *, name: str, size: int | None = None, layer: int = -2) -> None:
        tower, config = resolve_timm(module, name), module.pretrained_cfg
        built = getattr(module.patch_embed, "img_size", None) or config["input_size"][1:]
        mean, std = tuple(config["mean"]), tuple(config["std"])
        super().__init__(tower, name=name, size=size or int(built[0]), mean=mean, std=std, layer=layer)

    def run(self, pixels: Tensor, needs: frozenset[str]) -> None:
        """Run the forward; the probe skips blocks that are not read."""
        self.module.forward_features(pixels)
