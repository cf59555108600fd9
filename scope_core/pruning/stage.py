"""`Stage`: one stage of a schedule, which plans counts and selects from tokens."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scope_core.display import shortened
from scope_core.engine.constraints import constrained
from scope_core.engine.grouping import frame_counts, group_index, layout_of, with_frames, with_tiles
from scope_core.engine.merging import less_extra, merged, rows_of_fewer
from scope_core.engine.validation import check_counts, check_groups, check_keep, check_selection
from scope_core.errors import PluginOutputError, ScopeError, SignalError, SpecError, TokensError, listed
from scope_core.parts.base import Part, parts_in
from scope_core.parts.calls import attribute_errors
from scope_core.parts.partition import TokenPartition
from scope_core.pruning.labels import label_of
from scope_core.pruning.spec import PrunerSpec
from scope_core.pruning.spec_short import decoder_layer
from scope_core.registry.observers import observe, observed
from scope_core.registry.registry import Registry
from scope_core.structures.layout import Group, Layout, Plan
from scope_core.structures.receipt import ImageReceipt, Receipt
from scope_core.structures.selection import Selection
from scope_core.structures.sizes import group_sizes
from scope_core.structures.tokens import VisualTokens
from scope_core.untraced import untraced

_DTYPES = {"float32": torch.float32, "float64": torch.float64, "as_is": None}


class Stage:
    """One stage of a schedule: selects before the language model, or before one of its layers.

    Args:
        spec: The spec of this stage; its ``then`` is ignored.
        registry: The registry that names are looked up in.
        number: Number of this stage in the schedule, from 0.
        points: Interception points of the whole schedule; this stage's alone if left out.
    """

    def __init__(
        self, spec: PrunerSpec, registry: Registry, *, number: int = 0, points: tuple[str, ...] | None = None
    ) -> None:
        self.spec, self.registry, self.number = spec, registry, number
        self.points = (spec.at,) if points is None else points
        self.parts = registry.build_slots(spec)
        if spec.attention_bias in ("merged", "restore") and not self.parts["merger"].mixes:
            raise SpecError(
                f"`attention_bias: {spec.attention_bias}` counts the tokens merged into each row, but merger "
                f"{self.parts['merger']} merges none; choose a merger, e.g. `merger: average`, or count the tokens "
                f"nearest to each kept one: `attention_bias: nearest`"
            )
        # cache of the latest plan, and of what its selector keeps: most calls repeat the one before
        self._planned: tuple[Layout, Plan, tuple[int, ...]] | None = None

    def __repr__(self) -> str:
        return shortened(f"Stage({self.label!r})")

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as its spec, from which parts are rebuilt; parts themselves need not support pickling."""
        return functools.partial(Stage, number=self.number, points=self.points), (self.spec, self.registry)

    @functools.cached_property
    def label(self) -> str:
        """A short name for tables: ``scope@64``, or ``scope+alpha=0.5@64`` if it differs from the recipe."""
        return label_of(self.spec, self.registry)

    @functools.cached_property
    def _options(self) -> dict[str, Any]:
        return self.spec.to_dict(self.registry)

    def walk(self) -> list[Part[Any]]:
        """Every part of this stage, those inside other parts included."""
        return [part for outer in parts_in(self.parts) for part in outer.walk()]

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype that selection computes in; None for the dtype of its input."""
        return _DTYPES[self.spec.dtype]

    @property
    def decoder_layer(self) -> int | None:
        """The language-model layer before which this stage prunes; None if before the language model."""
        return decoder_layer(self.spec.at)

    @functools.cached_property
    def needs(self) -> frozenset[str]:
        """Signals that the parts of this stage read."""
        return frozenset().union(*(needs for _, needs in self._readers))

    @functools.cached_property
    def _readers(self) -> list[tuple[Part[Any], frozenset[str]]]:
        """The parts that read signals, each with the names of its signals."""
        return [(part, part.needs) for part in self.walk() if part.needs]

    def plan(self, layout: Layout) -> Plan:
        """Exact counts of this stage before any tensor exists. Pure.

        Raises:
            BudgetError: the images cannot meet the budget; names the image.
        """
        return self._counted(layout)[0]

    def _counted(self, layout: Layout) -> tuple[Plan, tuple[int, ...]]:
        """The plan, and the tokens that the selector keeps of each group if the budget does not adapt."""
        planned = self._planned  # read once: another thread may plan for its own layout
        if planned is None or planned[0] != layout:
            planned = self._planned = layout, *self._plan(layout)
        return planned[1:]

    def _plan(self, layout: Layout) -> tuple[Plan, tuple[int, ...]]:
        layout = replace(layout, stage=self.number, schedule=self.points)
        partition, budget = self.parts["partition"], self.parts["budget"]
        if isinstance(partition, TokenPartition):
            raise SpecError(
                f"partition {partition} divides an image by its tokens, so its pieces cannot be counted before they "
                f"exist; use it inside a selector that shares a count among pieces: `selector: {{name: quota, "
                f"partition: {partition.spec.name}}}`"
            )
        with attribute_errors(partition, "split"):
            groups = check_groups(partition.split(layout), layout, partition)
        sizes = group_sizes(groups, layout)
        with attribute_errors(budget, "plan"):
            counts = check_counts(budget.plan(layout, groups), sizes, "plan()", budget)
        selector, itemsize = self.parts["selector"], torch.finfo(self.dtype or torch.float32).bits // 8
        execution = selector.execution(sizes, itemsize)
        merger = self.parts["merger"]
        memory = max(execution.memory, merger.matrix_bytes(counts, sizes, itemsize))
        copies = max(selector.held, merger.held if merger.mixes else 0.0, budget.held)
        copies += not _in_order(groups, layout, sizes)
        plan = Plan(
            layout,
            groups,
            counts,
            exact=not (budget.adaptive or selector.adaptive),
            memory=memory,
            in_blocks=execution.in_blocks,
            copies=copies,
        )
        return plan, less_extra(counts, merger, plan)  # raises if the merger's rows do not fit into the budget

    @untraced
    @torch.no_grad()
    def prune(self, tokens: VisualTokens, layout: Layout | None = None) -> Selection:
        """Select from `VisualTokens`, as adapters do.

        Args:
            tokens: One group per image, padded to the same N; padding is not valid.
            layout: Tiles and prompts of the images and videos; if left out, one tile per image, the frames of the
                tokens, and one prompt for all.

        Returns:
            One row per image.

        Raises:
            BudgetError: the images cannot meet the budget.
            SignalError: a part reads a signal that the tokens do not have.
            TokensError: shapes do not fit, or numbers are not finite.
            PluginOutputError: a part broke its contract.
        """
        tokens = tokens.to_dtype(self.dtype)
        if layout is None:
            layout = layout_of(tokens)
        if not isinstance(layout, Layout):
            raise TokensError(f"layout must be a Layout, e.g. Layout.of([576, 576]), not {type(layout).__name__}")
        if [image.tokens for image in layout.images] != list(tokens.n_valid):
            raise TokensError(
                f"the layout has {[i.tokens for i in layout.images]} tokens per image, the tensors "
                f"{list(tokens.n_valid)}"
            )
        tokens.check_finite("features", tokens.features)
        if tokens.padded:
            # tokens that constraints exclude are not valid either, but belong to their image
            tokens = tokens.changed(image=tokens.image.masked_fill(~tokens.valid, -1))
        tokens = with_frames(tokens, layout)
        plan, counts = self._counted(layout)
        index = group_index(plan, tokens)
        grouped = tokens if index is None else tokens.regroup(index)
        grouped = constrained(grouped, self.parts["constraints"])
        budget, selector, merger = self.parts["budget"], self.parts["selector"], self.parts["merger"]
        rows = plan.counts
        if budget.adaptive:
            with attribute_errors(budget, "refine"):
                rows = check_counts(budget.refine_planned(rows, grouped, plan), rows, "refine()", budget)
            counts = less_extra(rows, merger, plan)
        check_keep(grouped, counts)
        inputs = [("features", grouped.features), ("saliency", grouped.saliency)]
        before = [(name, each, each._version) for name, each in inputs if each is not None and not each.is_inference()]
        with attribute_errors(selector, "select"):
            selection: Selection = selector.select(grouped, counts)
        if changed := [name for name, tensor, version in before if tensor._version != version]:
            names = listed(f"{part.kind} {part}" for part in selector.walk() if part is not selector)
            raise PluginOutputError(
                f"the field '{changed[0]}' was changed in place; one of these parts must change a copy instead: {names}"
            )
        found = check_selection(selection, grouped, counts, selector)
        if found != counts:  # an adaptive selector
            rows = rows_of_fewer(found, rows, merger, plan)
        selection.__dict__["counts"] = found
        selection = selection.changed(tokens=grouped, order=self.spec.order, mixed=None, allotted=rows)
        return merged(selection, merger, rows, index, tokens)

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
        tokens = VisualTokens.of(features, saliency=saliency, signals=signals, grid=grid, valid=valid)
        if isinstance(layout, Layout):
            tokens = with_tiles(tokens, layout)
        for part, needs in self._readers:
            missing = sorted(name for name in needs if name not in tokens.signals)
            if missing and (part.kind != "saliency" or saliency is None):
                alternative = "saliency=..., or " if part.kind == "saliency" else ""
                given = f" (given: {listed(tokens.signals)})" if tokens.signals else ""
                raise SignalError(
                    f"{part.kind} {part} needs {', '.join(missing)}{given}; pass "
                    f"{alternative}signals={{'{missing[0]}': tensor}}, "
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
            selection: The selection.
            layout: Layout of the images; if left out, one tile per image and one prompt for all.
            separators: Remaining separators of each image; those of the layout if left out.
            more: Further `Receipt` fields.
        """
        images = (layout_of(selection.tokens) if layout is None else layout).images
        remaining = [image.separators for image in images] if separators is None else separators
        rows = tuple(
            ImageReceipt(image.prompt, image.tokens, kept, newlines, image.patches, frames)
            for image, kept, newlines, frames in zip(
                images, selection.row_counts, remaining, frame_counts(selection.tokens, images), strict=True
            )
        )
        fields = {"model": "bare tensors", "at": self.spec.at, "signals": tuple(sorted(self.needs)), "calls": 1, **more}
        return Receipt(spec=self.label, images=rows, selection=selection, options=self._options, **fields)


def _free(registry: Registry, kind: str) -> list[str]:
    """Names of the parts of ``kind`` that read no signals with their default options."""
    names = []
    for record in registry.records(kind):
        try:
            needs = registry.build_named(kind, record.name).all_needs
        except (ScopeError, ValueError):  # the part needs options, so do not suggest it
            continue
        names += [] if needs else [record.name]
    return names


def _in_order(groups: Sequence[Group], layout: Layout, sizes: Sequence[int]) -> bool:
    """True if the groups are all tokens in their order, in equal parts, so that regrouping them copies nothing."""
    spans = [(span.image, span.start, span.stop) for group in groups for span in group]
    at, every = (0, 0), [image.tokens for image in layout.images]
    for image, start, stop in spans:
        if (image, start) != at:
            return False
        at = (image, stop) if stop < every[image] else (image + 1, 0)
    return len(set(sizes)) <= 1 and len({*every}) <= 1
