"""A proof of a model's geometry: one blank image up to the entry of the language model, with rows passed in both ways.

It proves before anything is pruned that the model has one row for each placeholder, and that rows that are passed on
enter the prompt where the model's own would, all of them or all but one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.blank import blank_images
from scope_adapters.compat.features import image_features, parts_that_run
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.places import Grid, grid_of, separate
from scope_adapters.hosts.huggingface.trial_prompt import (
    FORMS,
    PAGE,
    Pooler,
    TrialPrompt,
    axes_of,
    check_one_less,
    items,
    same,
)
from scope_adapters.hosts.methods import within
from scope_adapters.towers.trial import mute, untouched
from scope_core import AdapterError


@dataclass(frozen=True)
class Moving:
    """How the rows of a model's videos enter its prompt, as one blank video showed.

    Attributes:
        inputs: Names of its arguments, pixels first.
        placeholder: Id of the placeholders.
        pooler: The form of features that ``forward`` takes.
        merged: Number of frames of the grid that the tower merges in time.
        placed: True if the tokens of a frame are in the grid of an image's, row by row.
    """

    inputs: tuple[str, ...]
    placeholder: int
    pooler: Pooler
    merged: int
    placed: bool


@dataclass(frozen=True)
class Geometry:
    """How the rows of a model's images enter its prompt, as one blank image showed.

    Attributes:
        rows: Number of rows of the blank image.
        images: Its arguments.
        pooler: The form of features that ``forward`` takes.
        layered: True if features of further layers go with each row (DeepStack).
        grid: The grid of the blank image's tokens, if tokens were seen to show their own places; None if not.
        ran: Names of the base model's children that an image passes through.
        video: How its videos enter the prompt, or the reason why that is not proven.
    """

    rows: int
    images: Mapping[str, Any]
    pooler: Pooler
    layered: bool
    grid: Grid | None
    ran: frozenset[str] = frozenset()
    video: Moving | str = "its weights are not loaded"

    @property
    def side(self) -> int:
        """Number of patches on one side of a token, where the arguments count patches (``image_grid_thw``)."""
        return math.isqrt(int(self.images["image_grid_thw"][0].prod()) // self.rows)


def unproven() -> Geometry:
    """The geometry of a model without weights, through which no image passes."""
    return Geometry(0, {}, "list", False, None)


def prove(model: Any, placeholder: int) -> Geometry:
    """The geometry of a model.

    Args:
        model: The model, unwrapped.
        placeholder: Id of image placeholders.

    Raises:
        AdapterError: something is not as said above; says what.
    """
    name, failed = type(model).__name__, ""
    with within(), untouched(model), torch.no_grad():
        mute(model)
        for made in blank_images(model):
            try:
                return _proven(model, placeholder, made())
            except AdapterError:
                raise
            except Exception as error:  # the model's and the processor's own code may raise anything
                failed = failed or f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    raise AdapterError(
        f"{name}: its geometry cannot be proven, since one blank image of its own image processor does not pass "
        f"through it ({failed}). Write an adapter: {PAGE}"
    )


def _proven(model: Any, placeholder: int, images: Mapping[str, Any]) -> Geometry:
    name, base = type(model).__name__, base_of(model)
    output, ran = parts_that_run(base, lambda: image_features(base, images, _whole))
    if getattr(output, "pooler_output", None) is None:
        why = (
            "only features that are added inside the language model (deepstack_features), and no rows of the prompt"
            if getattr(output, "deepstack_features", None)
            else "its forward() makes the rows of the prompt itself, so they cannot be selected before"
        )
        raise AdapterError(f"{name}.get_image_features() returns no pooler_output: {why}. Write an adapter: {PAGE}")
    rows = items(output.pooler_output)
    total = sum(map(len, rows))
    prompt = TrialPrompt(model, placeholder, [total], images)
    own = prompt.entry(**images)
    axes = axes_of(own)
    pooler = next((form for form in FORMS if same(own, prompt.entry_of(output, rows, form, axes))), None)
    if pooler is None:
        raise AdapterError(
            f"{name}: rows that are passed on do not enter the prompt as the model's own do; a "
            f"blank image has {total} rows ({_shapes(output.pooler_output)}). Write an adapter: {PAGE}"
        )
    check_one_less(name, prompt, output, rows, pooler, own, axes)
    with separate(base):
        grid = grid_of(images, lambda given: items(image_features(base, given, _whole).pooler_output))
    return Geometry(total, images, pooler, "deepstack_features" in output, grid, ran)


def _whole(rows: Tensor) -> list[Tensor]:
    """Rows of all images, not split."""
    return [rows]


def _shapes(features: Any) -> str:
    return ", ".join(str(tuple(item.shape)) for item in items(features))
