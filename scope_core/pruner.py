"""`Pruner`: a spec made live. Plans counts, selects from tokens, attaches to models."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scope_core.checks import blamed, check_counts, check_groups, check_selection, check_weights, constrained
from scope_core.discovery import default_registry, observe
from scope_core.engine import check_keep
from scope_core.errors import PluginOutputError, ScopeError, SignalError, TokensError, listed
from scope_core.grouping import group_index, ungroup, with_tiles
from scope_core.interfaces import Declaration, Part
from scope_core.layout import Layout, Plan
from scope_core.pruner_spec import PrunerSpec, label_of, read_spec
from scope_core.receipt import ImageReceipt, Receipt
from scope_core.registry import Registry
from scope_core.selection import Selection
from scope_core.tokens import VisualTokens

if TYPE_CHECKING:
    from scope_core.attach import Attachment

_DTYPES = {"float32": torch.float32, "float64": torch.float64, "as_is": None}


class Pruner:
    """A pruner built from a spec.

    Args:
        spec: ``"scope@64"``, a path of a YAML or JSON file, a mapping, or a `PrunerSpec`.
        registry: Where names are looked up; the process' default registry if left out.
        overrides: Top-level options that take precedence, e.g. ``budget=128``.

    Raises:
        SpecError: the spec is wrong; lists every place.
    """

    def __init__(
        self, spec: str | Path | Mapping[str, Any] | PrunerSpec, *, registry: Registry | None = None, **overrides: Any
    ) -> None:
        self.registry = registry or default_registry()
        self.spec = read_spec(spec, self.registry, **overrides)
        self.parts = self.registry.build_slots(self.spec)

    def __repr__(self) -> str:
        return f"Pruner({self.label!r})"

    @functools.cached_property
    def label(self) -> str:
        """A short name for tables: ``scope@64``, or ``scope+combiner@64`` where the recipe's combiner was changed."""
        return label_of(self.spec, self.registry)

    def walk(self) -> list[Part[Any]]:
        """Every part of the pruner, those inside other parts included."""
        held = [p for value in self.parts.values() for p in (value if isinstance(value, tuple) else (value,))]
        return [part for outer in held for part in outer.walk()]

    @property
    def dtype(self) -> torch.dtype | None:
        """What selection computes in; None for the dtype of what it is given."""
        return _DTYPES[self.spec.dtype]

    @property
    def needs(self) -> frozenset[str]:
        """Signals that the pruner's parts read."""
        return frozenset().union(*(part.needs for part in self.walk()))

    def plan(
        self, images: Layout | Sequence[int] | Sequence[Sequence[int]], *, model: Any = None, adapter: str | None = None
    ) -> Plan:
        """Exact counts before any tensor exists. Pure.

        Args:
            images: Tokens per image, e.g. ``[576, 576]``; or a `Layout` for images with tiles; or, with
                ``model``, the (height, width) of each image in pixels.
            model: A model, whose adapter turns image sizes into token counts.
            adapter: Name of the adapter, if it is not to be found by matching.

        Raises:
            BudgetError: the images cannot meet the budget; names the image.
            TokensError: image sizes were given without a model.
        """
        layout = images if isinstance(images, Layout) else self._layout(images, model, adapter)
        partition, budget = self.parts["partition"], self.parts["budget"]
        groups = check_groups(partition.split(layout), layout, partition)
        sizes = [sum(span.tokens for span in group) for group in groups]
        counts = check_counts(budget.plan(layout, groups), sizes, "plan()", budget)
        return Plan(layout, groups, counts, exact=not budget.adaptive)

    def _layout(self, images: Sequence[Any], model: Any, adapter: str | None) -> Layout:
        if model is not None:
            from scope_core.attach import find_adapter

            return find_adapter(model, self, adapter).layout(model, [(int(h), int(w)) for h, w in images])
        for number, image in enumerate(images if isinstance(images, Iterable) else ()):
            if isinstance(image, Iterable):
                raise TokensError(
                    f"image {number} is {image!r}; without a model give tokens per image, e.g. plan([576, 576]), or a "
                    f"Layout for images with tiles, e.g. Layout.of([[576, 576, 576]]); "
                    f"with one give sizes: plan([(height, width)], model=model)"
                )
        return Layout.of(images)

    def prune(self, tokens: VisualTokens, layout: Layout | None = None) -> Selection:
        """Select from tokens that an adapter or a host made.

        Args:
            tokens: One group per image, padded to the same N; padding is not valid.
            layout: Tiles and prompts of the images; one tile each in one prompt if left out.

        Returns:
            One row per image.

        Raises:
            BudgetError: the images cannot meet the budget.
            SignalError: a part reads a signal that the tokens do not carry.
            TokensError: shapes do not fit, or numbers are not finite.
            PluginOutputError: a part broke its contract.
        """
        with torch.no_grad():
            return self._prune(tokens, layout)

    def _prune(self, tokens: VisualTokens, layout: Layout | None) -> Selection:
        tokens = tokens.to_dtype(self.dtype)
        valid = tokens.valid.sum(1).tolist()
        if layout is None:
            layout = Layout.of(valid)
        if not isinstance(layout, Layout):
            raise TokensError(f"layout must be a Layout, e.g. Layout.of([576, 576]), not {type(layout).__name__}")
        if [image.tokens for image in layout.images] != valid:
            raise TokensError(
                f"the layout has {[i.tokens for i in layout.images]} tokens per image, the tensors {valid}"
            )
        tokens.check_finite("features", tokens.features)
        plan = self.plan(layout)
        index = group_index(plan, tokens)
        grouped = tokens if index is None else tokens.regroup(index)
        grouped = constrained(grouped, self.parts["constraints"])
        budget, selector, merger = self.parts["budget"], self.parts["selector"], self.parts["merger"]
        counts = plan.counts
        if budget.adaptive:
            counts = check_counts(budget.refine(counts, grouped), counts, "refine()", budget)
        check_keep(grouped, counts)
        before = None if grouped.features.is_inference() else grouped.features._version
        with blamed(selector, "select"):
            selection: Selection = selector.select(grouped, counts)
        if before is not None and grouped.features._version != before:
            names = listed(f"{part.kind} {part}" for part in selector.walk() if part is not selector)
            raise PluginOutputError(
                f"the features were changed in place; one of these parts must work on a copy: {names}"
            )
        check_selection(selection, grouped, counts, selector)
        if index is not None:
            selection = ungroup(selection, index, tokens)
        selection = replace(selection, tokens=tokens, weights=None)
        weights = merger.weights(selection)
        check_weights(weights, selection, merger)
        return replace(selection, weights=weights)

    def select(
        self,
        features: Tensor,
        *,
        saliency: Tensor | None = None,
        signals: Mapping[str, Tensor | Callable[[], Tensor]] | None = None,
        grid: tuple[int, int] | None = None,
        valid: Tensor | None = None,
        layout: Layout | None = None,
    ) -> Selection:
        """Select from bare tensors; see `scope_core.select`."""
        tokens = VisualTokens.of(features, saliency=saliency, signals=signals, grid=grid, valid=valid)
        if isinstance(layout, Layout):
            tokens = with_tiles(tokens, layout)
        for part in self.walk():
            missing = sorted(name for name in part.needs if name not in tokens.signals)
            if missing and (part.kind != "saliency" or saliency is None):
                give = "saliency=..., or " if part.kind == "saliency" else ""
                have = f" (given: {listed(tokens.signals)})" if tokens.signals else ""
                raise SignalError(
                    f"{part.kind} {part} needs {', '.join(missing)}{have}; pass "
                    f"{give}signals={{'{missing[0]}': tensor}}, "
                    f"or use a {part.kind} that needs none: {listed(_free(self.registry, part.kind))}"
                )
        start = time.perf_counter()
        selection = self.prune(tokens, layout)
        elapsed = (time.perf_counter() - start) * 1e3
        observe(self.registry, "scope_selected", receipt=self.receipt(selection, layout, select_ms=elapsed))
        return selection

    def receipt(
        self,
        selection: Selection,
        layout: Layout | None = None,
        *,
        separators: Sequence[int] | None = None,
        **more: Any,
    ) -> Receipt:
        """The receipt of a selection.

        Args:
            selection: What was selected.
            layout: Of the images; one tile each in one prompt if left out.
            separators: Separators that stayed of each image; those of the layout if left out.
            more: Further `Receipt` fields.
        """
        valid = selection.tokens.valid.sum(1).tolist()
        images = layout.images if layout is not None else Layout.of(valid).images
        stayed = [image.separators for image in images] if separators is None else separators
        rows = tuple(
            ImageReceipt(image.prompt, image.tokens, kept, beside, image.patches)
            for image, kept, beside in zip(images, selection.counts, stayed, strict=True)
        )
        fields = {"model": "bare tensors", "at": self.spec.at, "signals": tuple(sorted(self.needs)), "calls": 1, **more}
        return Receipt(spec=self.label, images=rows, selection=selection, **fields)

    def check(self, model: Any, *, adapter: str | None = None) -> Declaration:
        """What ``model`` offers to pruning, checked against what this pruner needs. Nothing is hooked.

        Raises:
            AdapterError: no adapter fits, several do, or the model is not as declared.
            SignalError: a part needs a signal that the model cannot give.
        """
        from scope_core.attach import check_fit, find_adapter

        declaration = find_adapter(model, self, adapter).check(model)
        check_fit(self, declaration)
        return declaration

    def attach(self, model: Any, *, adapter: str | None = None) -> Attachment:
        """Prune ``model``'s image tokens from now on, until detached.

        Args:
            model: A model that an installed adapter serves. Only this instance is changed.
            adapter: Name of the adapter, if it is not to be found by matching.

        Returns:
            An `Attachment`: use it in a ``with`` statement, or call its ``detach()``.

        Raises:
            AdapterError: no adapter fits, several do, or the model is not as declared.
            SignalError: a part needs a signal that the model cannot give; names one that would work.
            AttachError: a pruner is attached to this model already.
        """
        from scope_core.attach import Attachment

        return Attachment(self, model, adapter=adapter)


def select(
    features: Tensor,
    *,
    spec: str | Path | Mapping[str, Any] | PrunerSpec,
    saliency: Tensor | None = None,
    signals: Mapping[str, Tensor | Callable[[], Tensor]] | None = None,
    grid: tuple[int, int] | None = None,
    valid: Tensor | None = None,
    layout: Layout | None = None,
    registry: Registry | None = None,
) -> Selection:
    """Select visual tokens from bare tensors: no model, any host.

    Args:
        features: (B, N, D) or (N, D) floating point; one row per image.
        spec: What to select by, e.g. ``"scope@64"``.
        saliency: (B, N) or (N,); stands in for a saliency source that reads signals. Sources that read none
            (uniform, random, feature norm) do not use it.
        signals: Named tensors that parts read, e.g. ``{"vision.cls_attention[-2]": (B, H, N)}``.
        grid: (rows, columns) of the token grid, for parts that read positions.
        valid: (B, N) bool; False marks padding.
        layout: Tiles and prompts, for budgets and partitions that look at them.
        registry: Where names are looked up.

    Returns:
        One row per image; ``picks`` in greedy order, ``kept`` in raster order.

    Raises:
        SpecError: the spec is wrong.
        SignalError: a part reads a signal that was not given.
        TokensError: a shape, dtype or device does not fit, or numbers are not finite.
        BudgetError: more tokens are asked for than there are.
    """
    pruner = Pruner(spec, registry=registry)
    return pruner.select(features, saliency=saliency, signals=signals, grid=grid, valid=valid, layout=layout)


def load(name: str, *, registry: Registry | None = None, **options: Any) -> Any:
    """A model or a tower of the zoo, ready to use.

    Args:
        name: As ``scope models`` lists it, e.g. ``"dinov2-small"``.
        registry: Where names are looked up.
        options: Passed to the loader, e.g. ``dtype`` or ``device_map`` for checkpoints on a hub.

    Returns:
        A `Tower` for towers, a `LoadedModel` for models.

    Raises:
        UnknownNameError: nothing in the zoo has this name.
        ZooError: its weights cannot be had; says what to run.
        MissingDependencyError: an optional package is not installed.
    """
    return (registry or default_registry()).get("zoo", name).item.load(**options)


def _free(registry: Registry, kind: str) -> list[str]:
    """Parts of ``kind`` that read no signals under their default options."""
    names = []
    for record in registry.records(kind):
        try:
            spec = record.spec.model_validate({"name": record.name}, context={"registry": registry})
            needs = registry.build(kind, spec).needs
        except (ScopeError, ValueError):  # it cannot be built without options, so it is no suggestion
            continue
        names += [] if needs else [record.name]
    return names
