"""What ``get_image_features`` of the installed transformers takes and returns."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from scope_adapters.compat.signatures import parameters


class ImageFeatures(dict[str, Any]):
    """What ``get_image_features`` returned, by the names that releases from 5.0 on give it."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]

    __setattr__ = dict.__setitem__


def image_features(base: Any, images: Mapping[str, Any], split: Callable[[Any], Any]) -> Any:
    """One pass of tower and projector; rows of each image are in ``pooler_output``.

    Args:
        base: The base model.
        images: Arguments of its ``get_image_features``; what it asks for beside them comes from the config.
        split: What makes one entry an image, or whatever the host counts, of (R, D) rows of all of them.
    """
    signature = inspect.signature(type(base).get_image_features)
    missing = {
        name: getattr(base.config, name)
        for name, one in signature.parameters.items()
        if name != "self" and one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD and name not in images
    }
    with own_forwards(base):
        if "Output" in str(signature.return_annotation):
            output = base.get_image_features(**images, **missing, return_dict=True)
            if "pooler_output" in parameters(type(output)):
                return output
            return ImageFeatures({**output, "pooler_output": output.pooler_output})  # no field of some classes (5.0)
        made = base.get_image_features(**images, **missing)
    layers = {}
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], list):  # Qwen3-VL's DeepStack
        made, layers = made[0], {"deepstack_features": [split(layer) for layer in made[1]]}
    if hasattr(made, "dim"):
        made = split(made) if made.dim() == 2 else list(made)
    return ImageFeatures(pooler_output=made, **layers)


@functools.cache
def _records_by_hooks() -> bool:
    """Whether outputs of layers are recorded by hooks, which are taken off again; reads folders, so asked once."""
    return find_spec("transformers.utils.output_capturing") is not None


@contextmanager
def own_forwards(module: Any) -> Iterator[None]:
    """Take off what a failed pass leaves on layers: up to 5.0, wrappers of ``forward`` that record outputs."""
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
