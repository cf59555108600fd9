"""Where each family of vision tower keeps its layers and its attention. Data, checked before any hook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scope_core import AdapterError
from scope_core.adapters import resolve


@dataclass(frozen=True)
class TowerLayout:
    """Where a tower's parts are.

    Attributes:
        layers: Dotted paths of the list of layers, newest release first; the first that exists is used.
        attention: Path of the attention module inside a layer.
        query: Name of the query projection inside it.
        key: Name of the key projection inside it.
        cls: Whether token 0 is a CLS token.
        registers: Register tokens after CLS; they are neither patches nor candidates.
        any_size: Whether the tower takes images of other sizes than its configured one.
    """

    layers: tuple[str, ...]
    attention: str
    query: str = "q_proj"
    key: str = "k_proj"
    cls: bool = True
    registers: int = 0
    any_size: bool = False

    @property
    def prefix(self) -> int:
        """Tokens before the patches."""
        return int(self.cls) + self.registers


_CLIP_LAYERS = ("encoder.layers", "vision_model.encoder.layers")

LAYOUTS: dict[str, TowerLayout] = {
    "clip_vision_model": TowerLayout(_CLIP_LAYERS, "self_attn"),
    "siglip_vision_model": TowerLayout(_CLIP_LAYERS, "self_attn", cls=False),
    "idefics3_vision": TowerLayout(("encoder.layers",), "self_attn", cls=False),
    "smolvlm_vision": TowerLayout(("encoder.layers",), "self_attn", cls=False),
    # query and key after their norms, which are the identity in checkpoints without
    "internvl_vision": TowerLayout(("encoder.layer",), "attention", "q_norm", "k_norm", any_size=True),
    "dinov2": TowerLayout(("encoder.layer",), "attention", any_size=True),
}
"""By ``config.model_type``, in the newest release."""

EARLIER: dict[str, TowerLayout] = {
    "dinov2": TowerLayout(("encoder.layer",), "attention.attention", "query", "key", any_size=True),
}
"""What earlier releases have in its place: taken where the newest one's query projection is not there."""


@dataclass(frozen=True)
class ResolvedTower:
    """A tower whose every path was found.

    Attributes:
        module: The tower.
        layout: Its layout.
        layers: Its layers, in order.
        paths: Dotted paths found, for declarations.
    """

    module: Any
    layout: TowerLayout
    layers: Any
    paths: dict[str, str]

    def grid(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """(rows, columns) of patches of an image in pixels; the configured size if left out."""
        config = self.module.config
        size, patch = _pair(config.image_size), _pair(config.patch_size)
        return (height or size[0]) // patch[0], (width or size[1]) // patch[1]


def resolve_tower(module: Any, where: str) -> ResolvedTower:
    """Find a tower's layers and attention, before anything is hooked.

    Raises:
        AdapterError: the family is not known, or a path is not there.
    """
    family = str(getattr(getattr(module, "config", None), "model_type", ""))
    if family not in LAYOUTS:
        raise AdapterError(
            f"{where}: no layout is known for vision towers of type '{family or type(module).__name__}'. "
            f"Known: {', '.join(sorted(LAYOUTS))}. Declare it in scope_adapters.towers.layouts"
        )
    layout = LAYOUTS[family]
    path = next((p for p in layout.layers if has_path(module, p)), layout.layers[0])
    layers = resolve(module, path, what=f"{where} ({family})")
    earlier = EARLIER.get(family)
    if earlier is not None and has_path(layers[0], f"{earlier.attention}.{earlier.query}"):
        layout = earlier
    for name in (layout.attention, f"{layout.attention}.{layout.query}", f"{layout.attention}.{layout.key}"):
        resolve(layers[0], name, what=f"{where} ({family}), {path}.0")
    return ResolvedTower(module, layout, layers, {"tower": where, "layers": f"{where}.{path}"})


def has_path(module: Any, path: str) -> bool:
    """Whether there is something at the dotted ``path`` below ``module``."""
    for step in path.split("."):
        if not hasattr(module, step):
            return False
        module = getattr(module, step)
    return True


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))
