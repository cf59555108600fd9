"""Layouts of vision towers: paths of their layers and of their attention. Data, checked before any hook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scope_core import AdapterError
from scope_core.adapters import resolve


@dataclass(frozen=True)
class TowerLayout:
    """The paths of a tower's modules, and its tokens before the patches.

    Attributes:
        layers: Dotted paths of the list of layers, newest release first; the first that exists is used.
        attention: Path of the attention module inside a layer.
        query: Name of the query projection inside it.
        key: Name of the key projection inside it.
        cls: True if token 0 is a CLS token.
        registers: Number of register tokens after CLS; they are neither patches nor candidates.
        any_size: True if the tower takes images of other sizes than the configured one.
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
        """The number of tokens before the patches."""
        return int(self.cls) + self.registers


_CLIP_LAYERS = ("encoder.layers", "vision_model.encoder.layers")

LAYOUTS: dict[str, TowerLayout] = {
    "clip_vision_model": TowerLayout(_CLIP_LAYERS, "self_attn"),
    "siglip_vision_model": TowerLayout(_CLIP_LAYERS, "self_attn", cls=False),
    "idefics3_vision": TowerLayout(("encoder.layers",), "self_attn", cls=False),
    "smolvlm_vision": TowerLayout(("encoder.layers",), "self_attn", cls=False),
    # query and key after their norms, which are identities in checkpoints without norms
    "internvl_vision": TowerLayout(("encoder.layer",), "attention", "q_norm", "k_norm", any_size=True),
    "dinov2": TowerLayout(("encoder.layer",), "attention", any_size=True),
}
"""Layouts in the newest release, by ``config.model_type``."""

EARLIER: dict[str, TowerLayout] = {
    "dinov2": TowerLayout(("encoder.layer",), "attention.attention", "query", "key", any_size=True),
}
"""Layouts in earlier releases, used if their query projection exists."""


@dataclass(frozen=True)
class ResolvedTower:
    """A tower whose paths were all found.

    Attributes:
        module: The tower.
        layout: Its layout.
        layers: Its layers, in order.
        paths: Dotted paths, for declarations.
    """

    module: Any
    layout: TowerLayout
    layers: Any
    paths: dict[str, str]

    def grid(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """(rows, columns) of patches of an image of this size in pixels; by default of the configured size."""
        size, patch = image_size(self.module), _pair(self.module.config.patch_size)
        return (height or size[0]) // patch[0], (width or size[1]) // patch[1]

    @property
    def architecture(self) -> str:
        """The numbers by which a tower is told from others; empty if it does not state them."""
        config = self.module.config
        return numbers_of(self.layers, getattr(config, "num_attention_heads", 0), getattr(config, "hidden_size", 0))


def numbers_of(layers: Any, heads: Any, width: Any) -> str:
    """A tower's numbers in words; empty if one is unknown."""
    return f"a tower of {len(layers)} layers, {heads} heads, width {width}" if heads and width else ""


def image_size(module: Any) -> tuple[int, int]:
    """(height, width) of the images that a tower is configured for."""
    return _pair(module.config.image_size)


def resolve_tower(module: Any, where: str, layout: TowerLayout | None = None) -> ResolvedTower:
    """A tower with its layout, checked before any hook.

    Args:
        module: The tower.
        where: Its dotted path, for messages.
        layout: Its layout, if it is not a known one.

    Raises:
        AdapterError: the family is not known, or a path is missing.
    """
    family = str(getattr(getattr(module, "config", None), "model_type", "")) or type(module).__name__
    if layout is None and family not in LAYOUTS:
        raise AdapterError(
            f"{where}: no layout is known for vision towers of type '{family}'. Known: {', '.join(sorted(LAYOUTS))}. "
            f"In an adapter of yours, write `tower_layout = TowerLayout(...)`: see docs/write-an-adapter.md, 'Towers'"
        )
    declared, layout = layout is not None, layout or LAYOUTS[family]
    path = next((p for p in layout.layers if has_path(module, p)), layout.layers[0])
    layers = resolve(module, path, what=f"{where} ({family})")
    earlier = None if declared else EARLIER.get(family)
    if earlier is not None and has_path(layers[0], f"{earlier.attention}.{earlier.query}"):
        layout = earlier
    for name in (layout.attention, f"{layout.attention}.{layout.query}", f"{layout.attention}.{layout.key}"):
        resolve(layers[0], name, what=f"{where} ({family}), {path}.0")
    return ResolvedTower(module, layout, layers, {"tower": where, "layers": f"{where}.{path}"})


def has_path(module: Any, path: str) -> bool:
    """True if ``module`` has the dotted ``path``."""
    for step in path.split("."):
        if not hasattr(module, step):
            return False
        module = getattr(module, step)
    return True


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))
