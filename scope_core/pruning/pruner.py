"""`Pruner`: plans counts, selects from tokens, and attaches to models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from scope_core.errors import SpecError, TokensError, quoted
from scope_core.pruning.adapter import ModelAdapter
from scope_core.pruning.attachment import Attachment
from scope_core.pruning.compatibility import find_adapter
from scope_core.pruning.recipe_fit import check_model
from scope_core.pruning.schedule import Schedule
from scope_core.pruning.session import GivenSignal
from scope_core.pruning.spec import PrunerSpec
from scope_core.pruning.stream import Stream
from scope_core.registry.registry import Registry
from scope_core.structures.declaration import Declaration
from scope_core.structures.layout import Layout, Plan
from scope_core.structures.selection import Selection


class Pruner(Schedule):
    """A pruner, built from a spec: plans counts, selects from tokens, and attaches to models.

    Args:
        spec: ``"scope@64"``, the path of a YAML or JSON file, a mapping, or a `PrunerSpec`.
        registry: The registry that names are looked up in; the process' default registry if left out.
        overrides: Top-level options that take precedence, e.g. ``budget=128``.

    Attributes:
        spec: The validated spec.
        registry: The registry that names were looked up in.
        stages: The stages of the schedule; one unless the spec has ``then``.

    Raises:
        SpecError: the spec is wrong; lists every error.
    """

    def plan(
        self, images: Layout | Sequence[int] | Sequence[Sequence[int]], *, model: Any = None, adapter: str | None = None
    ) -> Plan:
        """Exact counts of kept tokens, before any tensor exists. Pure.

        Args:
            images: Tokens per image, e.g. ``[576, 576]``; or a `Layout` for images with tiles and videos; or, with
                ``model``, the (height, width) of each image in pixels, and the (frames, height, width) of each video.
            model: A model, whose adapter turns image sizes into token counts.
            adapter: Name of the adapter; the one that matches the model if left out.

        Raises:
            BudgetError: the images cannot meet the budget; names the image.
            TokensError: image sizes were given without a model.
        """
        return super().plan(images if isinstance(images, Layout) else self._layout(images, model, adapter))

    def _layout(self, images: Sequence[Any], model: Any, adapter: str | None) -> Layout:
        counts = isinstance(images, Iterable) and not any(isinstance(image, Iterable) for image in images)
        if model is not None and not counts:
            return _layout_of_sizes(find_adapter(model, self, adapter), model, images)
        for number, image in enumerate(images if isinstance(images, Iterable) else ()):
            if isinstance(image, Iterable):
                raise TokensError(
                    f"image {number} is {quoted(image)}; give tokens per image, e.g. plan([576, 576]), or a "
                    f"Layout for images with tiles, e.g. Layout.of([[576, 576, 576]]); "
                    f"or give sizes and a model: plan([(height, width)], model=model)"
                )
        return Layout.of(images)

    def select(
        self,
        features: Tensor,
        *,
        saliency: Tensor | None = None,
        signals: Mapping[str, Tensor | Callable[[], Tensor]] | None = None,
        grid: tuple[int, ...] | None = None,
        valid: Tensor | None = None,
        layout: Layout | None = None,
    ) -> Selection:
        """Select from bare tensors; see `scope_core.select`."""
        return self.stages[0].select(
            features, saliency=saliency, signals=signals, grid=grid, valid=valid, layout=layout
        )

    def stream(self) -> Stream:
        """A video whose frames are given one after another, and decided before the last one is there.

        Returns:
            A `Stream`: ``push`` a frame's tokens, get the selections of the frames that it decides.

        Raises:
            SpecError: the method needs the whole video, with the part that does.
        """
        return Stream(self.stages)

    def check(self, model: Any, *, adapter: str | None = None, signals: Iterable[str] = ()) -> Declaration:
        """The points and signals that ``model`` offers, after a check that this pruner can use it. Hooks nothing.

        Args:
            model: As for `attach`.
            adapter: As for `attach`.
            signals: Names of the signals that you would supply.

        Raises:
            AdapterError: no adapter fits, several do, the model is not as declared, or the pruner does not go with it.
            SignalError: a part needs a signal that the model cannot give.
            AttachError: as for `attach`, except that a pruner may be attached already.
        """
        return check_model(model, self, find_adapter(model, self, adapter), tuple(signals))

    def attach(
        self,
        model: Any,
        *,
        adapter: str | None = None,
        signals: Mapping[str, GivenSignal] | None = None,
        replace: bool = False,
    ) -> Attachment:
        """Prune ``model``'s image tokens in every call, until detached.

        Args:
            model: A model that an installed adapter serves. Only this instance is changed.
            adapter: Name of the adapter; the one that matches the model if left out.
            signals: Signals that you supply, e.g. relevance to the question from a text tower that the model does not
                have: ``{name: function}``. A function is called as ``function(inputs, tokens)`` when its signal is
                read; ``inputs`` holds the keyword arguments of the model's call and ``prompts``, the batch row of each
                image; ``tokens`` holds the candidates, one row per image. If it reads signals of ``tokens``, its
                attribute ``needs`` names them.
            replace: True to take the place of a pruner that is attached to this model, as when a notebook's cell is
                run again. That pruner is detached for good, also if it was attached in a ``with`` block.

        Returns:
            An `Attachment`: use it in a ``with`` statement, or call its ``detach()``.

        Raises:
            AdapterError: no adapter fits, several do, or the model is not as declared.
            SignalError: a part needs a signal that the model cannot give; names parts that would work.
            AttachError: a pruner is already attached to this model, and ``replace`` is false.
        """
        return Attachment(self, model, adapter=adapter, signals=signals, replace=replace)


def _layout_of_sizes(adapter: ModelAdapter[Any], model: Any, sizes: Iterable[Any]) -> Layout:
    """The layout of images of (height, width) and videos of (frames, height, width), which are in one prompt."""
    given = [tuple(int(side) for side in size) for size in sizes]
    for number, size in enumerate(given):
        if len(size) not in (2, 3) or (len(size) == 3 and min(size) < 1):
            raise TokensError(
                f"item {number} is {size}; give (height, width) of an image, or (frames, height, width) of a video"
            )
    images = [(size[0], size[1]) for size in given if len(size) == 2]
    videos = [(size[0], size[1], size[2]) for size in given if len(size) == 3]
    if not videos:
        return adapter.layout(model, images)
    still = iter(adapter.layout(model, images).images if images else ())
    moving = iter(adapter.video_layout(model, videos).images)
    items = [next(moving if len(size) == 3 else still) for size in given]
    return Layout(tuple(replace(item, prompt=0) for item in items))


def select(
    features: Tensor,
    *,
    spec: str | Path | Mapping[str, Any] | PrunerSpec,
    saliency: Tensor | None = None,
    signals: Mapping[str, Tensor | Callable[[], Tensor]] | None = None,
    grid: tuple[int, ...] | None = None,
    valid: Tensor | None = None,
    layout: Layout | None = None,
    registry: Registry | None = None,
) -> Selection:
    """Select visual tokens from bare tensors: no model, any host.

    Args:
        features: (B, N, D) or (N, D) floating point; one row per image.
        spec: The method and its budget, e.g. ``"scope@64"``; any form that `Pruner` takes.
        saliency: (B, N) or (N,); replaces the result of a saliency source that reads signals. Sources that read none
            (uniform, random, feature norm) ignore it.
        signals: Named tensors that parts read, e.g. ``{"vision.cls_attention[-2]": (B, H, N)}``.
        grid: (rows, columns) of the token grid, for parts that read positions; (frames, rows, columns) of a video.
        valid: (B, N) bool; False marks padding.
        layout: Tiles and prompts, for budgets and partitions that read them.
        registry: The registry that names are looked up in; the process' default registry if left out.

    Returns:
        One row per image; ``picks`` in the order they were picked, ``kept`` in raster order.

    Raises:
        SpecError: the spec is wrong.
        SignalError: a part reads a signal that was not given.
        TokensError: a shape, dtype or device does not fit, or numbers are not finite.
        BudgetError: the budget is more than the valid tokens.
    """
    pruner = Pruner(spec, registry=registry)
    if len(pruner.stages) > 1:
        points = " -> ".join(stage.spec.at for stage in pruner.stages)
        raise SpecError(
            f"{pruner.label} has stages at {points}, each of which selects from its own tokens: "
            f"use Pruner(...).stages[i].select(...) for one of them, or attach the pruner to a model"
        )
    return pruner.select(features, saliency=saliency, signals=signals, grid=grid, valid=valid, layout=layout)
