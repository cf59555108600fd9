"""Calls of ``get_image_features``, whose arguments and results differ between releases of transformers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from scope_adapters.compat.signatures import parameters


class ImageFeatures(dict[str, Any]):
    """The result of ``get_image_features``, with the field names of transformers 5.0 and later."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]

    __setattr__ = dict.__setitem__


def image_features(
    base: Any, images: Mapping[str, Any], split: Callable[[Any], Any], of: str = "get_image_features"
) -> Any:
    """The result of one pass of tower and projector; ``pooler_output`` has the rows of each image.

    Args:
        base: The base model.
        images: Arguments of its ``get_image_features``; other required ones come from the config.
        split: Function that splits (R, D) rows of all images by image.
        of: Name of the method; another one for videos.
    """
    features = getattr(base, of)
    signature = inspect.signature(getattr(type(base), of))
    if of != "get_image_features":  # pixels of videos had another name up to 4.57
        named, first = next(iter(images)), next(name for name in signature.parameters if name != "self")
        images = {first if name == named else name: value for name, value in images.items()}
    missing = {
        name: getattr(base.config, name)
        for name, p in signature.parameters.items()
        if name != "self" and p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and name not in images
    }
    with own_forwards(base):
        if "Output" in str(signature.return_annotation):
            output = features(**images, **missing, return_dict=True)
            if "pooler_output" in parameters(type(output)):
                return output
            return ImageFeatures({**output, "pooler_output": output.pooler_output})  # some classes lack the field (5.0)
        rows = features(**images, **missing)
    layers = {}
    if isinstance(rows, tuple) and len(rows) == 2 and isinstance(rows[1], list):  # Qwen3-VL's DeepStack
        rows, layers = rows[0], {"deepstack_features": [split(layer) for layer in rows[1]]}
    if hasattr(rows, "dim"):
        rows = split(rows) if rows.dim() == 2 else list(rows)
    return ImageFeatures(pooler_output=rows, **layers)


def parts_that_run(base: Any, run: Callable[[], Any]) -> tuple[Any, frozenset[str]]:
    """The result of ``run``, and the names of the base model's children that it passes through."""
    seen: set[str] = set()
    hooks = [
        module.register_forward_pre_hook(partial(_note, seen, name.split(".")[0]))
        for name, module in base.named_modules()
        if name
    ]
    try:
        return run(), frozenset(seen)
    finally:
        for hook in hooks:
            hook.remove()


def _note(seen: set[str], name: str, *_: Any) -> None:
    seen.add(name)


@functools.cache
def _records_by_hooks() -> bool:
    """True if outputs of layers are recorded by hooks, which are removed even after an error. Cached: reads folders."""
    return find_spec("transformers.utils.output_capturing") is not None


@contextmanager
def own_forwards(module: Any) -> Iterator[None]:
    """Restore ``forward`` of all layers after an error: up to 5.0, a failed pass leaves recording wrappers on them."""
    if _records_by_hooks():
        yield
        return
    before = {part: vars(part).get("forward") for part in module.modules()}
    try:
        yield
    except BaseException:
        for part, forward in before.items():
            if forward is not None:
                part.forward = forward
            elif "forward" in vars(part):
                del part.forward
        raise
