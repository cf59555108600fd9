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

from scope_core.checks import blamed, check_counts, check_groups, check_selection, constrained
from scope_core.discovery import default_registry, observe, observed
from scope_core.engine import check_keep
from scope_core.errors import (
    PluginOutputError,
    ScopeError,
    SignalError,
    SpecError,
    TokensError,
    UnknownNameError,
    listed,
)
from scope_core.grouping import group_index, with_tiles
from scope_core.interfaces import Declaration, Part, held
from scope_core.layout import Layout, Plan
from scope_core.mixing import less_extra, merged
from scope_core.pruner_spec import PrunerSpec, decoder_layer, label_of, read_spec
from scope_core.receipt import ImageReceipt, Receipt
from scope_core.registry import Registry
from scope_core.selection import Selection
from scope_core.tokens import VisualTokens
from scope_core.untraced import untraced

if TYPE_CHECKING:
    from scope_core.attach import Attachment, GivenSignal

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
        self._stage = 0
        self._planned: tuple[Layout, Plan] | None = None  # the last one: most calls are like the one before
        self.stages: tuple[Pruner, ...] = (self,)
        """The stages of the schedule, this pruner first; one unless the spec has ``then``."""
        if self.spec.then:
            self.stages = (self, *(Pruner(stage, registry=self.registry) for stage in self.spec.then))
            for number, stage in enumerate(self.stages):
                stage._stage, stage.stages = number, self.stages

    def __repr__(self) -> str:
        return f"Pruner({self.label!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as its spec, from which parts are built anew: so third-party parts need nothing for it."""
        return _rebuilt, (type(self), self.registry, self.stages[0].spec, self._stage)

    @functools.cached_property
    def label(self) -> str:
        """A short name for tables: ``scope@64``, or ``scope+combiner@64`` where the recipe's combiner was changed."""
        return label_of(self.spec, self.registry)

    def walk(self) -> list[Part[Any]]:
        """Every part of the pruner, those inside other parts included."""
        return [part for outer in held(self.parts) for part in outer.walk()]

    @property
    def dtype(self) -> torch.dtype | None:
        """What selection computes in; None for the dtype of what it is given."""
        return _DTYPES[self.spec.dtype]

    @property
    def decoder_layer(self) -> int | None:
        """Before which layer of the language model this stage prunes; None for stages before the language model."""
        return decoder_layer(self.spec.at)

    @functools.cached_property
    def needs(self) -> frozenset[str]:
        """Signals that the parts of this stage read."""
        return frozenset().union(*(needs for _, needs in self._readers))

    @functools.cached_property
    def _readers(self) -> list[tuple[Part[Any], frozenset[str]]]:
        """The parts that read signals, each with what it reads."""
        return [(part, part.needs) for part in self.walk() if part.needs]

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
        planned = self._planned
        if planned is None or planned[0] != layout:
            planned = self._planned = layout, self._plan(layout)
        return planned[1]

    def _plan(self, layout: Layout) -> Plan:
        layout = replace(layout, stage=self._stage, schedule=tuple(stage.spec.at for stage in self.stages))
        partition, budget = self.parts["partition"], self.parts["budget"]
        with blamed(partition, "split"):
            groups = check_groups(partition.split(layout), layout, partition)
        sizes = [sum(span.tokens for span in group) for group in groups]
        with blamed(budget, "plan"):
            counts = check_counts(budget.plan(layout, groups), sizes, "plan()", budget)
        selector, itemsize = self.parts["selector"], torch.finfo(self.dtype or torch.float32).bits // 8
        execution = selector.execution(sizes, itemsize)
        memory = {"memory": execution.memory, "in_blocks": execution.in_blocks}
        made = Plan(layout, groups, counts, exact=not budget.adaptive, **memory)
        less_extra(counts, self.parts["merger"], made)
        following = self.stages[self._stage + 1 :]
        shared = any(len({span.image for span in group}) > 1 for group in groups)
        if not following or shared:
            return made
        after = following[0].plan(layout.after(made.images))
        later = (replace(after, later=()), *after.later)
        return replace(made, later=tuple(replace(plan, exact=plan.exact and made.exact) for plan in later))

    def _layout(self, images: Sequence[Any], model: Any, adapter: str | None) -> Layout:
        if model is not None:
            from scope_core.fitting import find_adapter

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
        return untraced(self._prune)(tokens, layout)

    @torch.no_grad()
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
        rows = plan.counts
        if budget.adaptive:
            with blamed(budget, "refine"):
                rows = check_counts(budget.refine(rows, grouped), rows, "refine()", budget)
        counts = less_extra(rows, merger, plan)
        check_keep(grouped, counts)
        given = [("features", grouped.features), ("saliency", grouped.saliency)]
        before = [(name, one, one._version) for name, one in given if one is not None and not one.is_inference()]
        with blamed(selector, "select"):
            selection: Selection = selector.select(grouped, counts)
        if changed := [name for name, one, version in before if one._version != version]:
            names = listed(f"{part.kind} {part}" for part in selector.walk() if part is not selector)
            raise PluginOutputError(
                f"the {changed[0]} were changed in place; one of these parts must work on a copy: {names}"
            )
        check_selection(selection, grouped, counts, selector)
        selection = replace(selection, tokens=grouped, order=self.spec.order, mixed=None)
        return merged(selection, merger, rows, index, tokens)

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
        for part, needs in self._readers:
            missing = sorted(name for name in needs if name not in tokens.signals)
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
        if observed(self.registry, "scope_selected"):
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
            for image, kept, beside in zip(images, selection.row_counts, stayed, strict=True)
        )
        fields = {"model": "bare tensors", "at": self.spec.at, "signals": tuple(sorted(self.needs)), "calls": 1, **more}
        return Receipt(spec=self.label, images=rows, selection=selection, **fields)

    def check(self, model: Any, *, adapter: str | None = None, signals: Iterable[str] = ()) -> Declaration:
        """What ``model`` offers to pruning, checked against what this pruner needs. Nothing is hooked.

        Args:
            model: As for `attach`.
            adapter: Likewise.
            signals: Names of the signals that you would supply.

        Raises:
            AdapterError: no adapter fits, several do, or the model is not as declared.
            SignalError: a part needs a signal that the model cannot give.
        """
        from scope_core.fitting import check_fit, find_adapter

        declaration = find_adapter(model, self, adapter).check(model)
        check_fit(self, declaration, tuple(signals))
        return declaration

    def attach(
        self, model: Any, *, adapter: str | None = None, signals: Mapping[str, GivenSignal] | None = None
    ) -> Attachment:
        """Prune ``model``'s image tokens from now on, until detached.

        Args:
            model: A model that an installed adapter serves. Only this instance is changed.
            adapter: Name of the adapter, if it is not to be found by matching.
            signals: Signals that you supply, e.g. relevance to the question from a text tower the model does not
                have: ``{name: function}``, each called as ``function(inputs, tokens)`` when it is read, with the
                keyword arguments of the model's call (and ``prompts``, the batch row of each image) and the candidates,
                one row per image. A function's attribute ``needs`` may name signals of ``tokens`` that it reads itself.

        Returns:
            An `Attachment`: use it in a ``with`` statement, or call its ``detach()``.

        Raises:
            AdapterError: no adapter fits, several do, or the model is not as declared.
            SignalError: a part needs a signal that the model cannot give; names one that would work.
            AttachError: a pruner is attached to this model already.
        """
        from scope_core.attach import Attachment

        return Attachment(self, model, adapter=adapter, signals=signals)


def _rebuilt(kind: type[Pruner], registry: Registry, spec: PrunerSpec, stage: int) -> Pruner:
    return kind(spec, registry=registry).stages[stage]


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
    if len(pruner.stages) > 1:
        points = " -> ".join(stage.spec.at for stage in pruner.stages)
        raise SpecError(
            f"{pruner.label} has stages at {points}, each with tokens of "
            f"its own: use Pruner(...).stages[i].select(...) for one of them, or attach the pruner to a model"
        )
    return pruner.select(features, saliency=saliency, signals=signals, grid=grid, valid=valid, layout=layout)


def load(name: str | None = None, *, registry: Registry | None = None, **options: Any) -> Any:
    """A model or a tower of the zoo, ready to use.

    Args:
        name: As ``scope models`` lists it, e.g. ``"dinov2-small"``; the zoo's default model if left out.
        registry: Where names are looked up.
        options: Passed to the loader, e.g. ``dtype`` or ``device_map`` for checkpoints on a hub.

    Returns:
        A `Tower` for towers, a `LoadedModel` for models.

    Raises:
        UnknownNameError: nothing in the zoo has this name.
        ZooError: its weights cannot be had; says what to run.
        MissingDependencyError: an optional package is not installed.
    """
    known = registry or default_registry()
    if name is None:
        models = [record.item for record in known.records("zoo") if record.item.kind == "model"]
        if not models:
            raise UnknownNameError("no model is installed; name a tower, or see `scope doctor`")
        return next((entry for entry in models if entry.default), models[0]).load(**options)
    return known.get("zoo", name).item.load(**options)


def _free(registry: Registry, kind: str) -> list[str]:
    """Parts of ``kind`` that read no signals under their default options."""
    names = []
    for record in registry.records(kind):
        try:
            spec = record.spec.model_validate({"name": record.name}, context={"registry": registry})
            needs = registry.build(kind, spec).all_needs
        except (ScopeError, ValueError):  # it cannot be built without options, so it is no suggestion
            continue
        names += [] if needs else [record.name]
    return names
