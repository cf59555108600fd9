"""Codebases built like LLaVA's: ``encode_images``, and ``prepare_inputs_labels_for_multimodal``, which splices.

None of them is imported. A subclass declares the names that a fork changed; the rest is tried on one blank image when
attaching, and a model that cannot be served is refused then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.adapters.merged import merged_tokens
from scope_adapters.adapters.packing import Packing, check_order, layout_from, numbered, on_canvas, separators
from scope_adapters.compat.decoders import takes_gaps
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.methods import unwrap
from scope_adapters.hosts.original_llava import OriginalLlavaAdapter, S
from scope_adapters.hosts.splicing import (
    ARGUMENTS,
    MERGED,
    PLACEHOLDER,
    PREPARE,
    Placed,
    arguments_of,
    in_tiles,
    one_image,
    planned,
    trace,
)
from scope_adapters.towers.canvas import CANVAS
from scope_adapters.towers.layouts import ResolvedTower, resolve_tower
from scope_adapters.towers.probe import offers, probe, reasons
from scope_adapters.towers.trial import try_once
from scope_core import AdapterError, AttachError, Layout, VisualTokens
from scope_core.adapters import Declaration, Offer, Schedule, Session, resolve

PAGE = "docs/write-an-adapter.md"


class Spliced(OriginalLlavaAdapter[S]):
    """A tower, a projector that maps each token by itself, and images that are embedded before the model runs.

    Paths below may call methods: ``get_model().mm_projector``.
    """

    methods: tuple[str, ...] = ("encode_images", PREPARE, "get_vision_tower", "get_model")
    """Methods by which these models are recognised."""
    arguments: tuple[str, ...] = ("image_sizes", "modalities")
    """Arguments that the splicing method may have besides `ARGUMENTS`, which are required."""
    wrapper: str = "get_vision_tower()"
    """Path of the wrapper of the tower, which ``encode_images`` calls first."""
    tower: str = "vision_tower"
    """Attribute of the wrapper that holds the transformers tower."""
    projector: str = "get_model().mm_projector"
    """Path of the projector, which ``encode_images`` calls next, once."""
    layer: str | None = "get_vision_tower().select_layer"
    """Path of the number of the hidden state that is used; all layers run if it is missing."""
    feature: str | None = "get_vision_tower().select_feature"
    """Path of the choice ``patch`` or ``cls_patch``; patches alone are used if it is missing."""

    def matches(self, model: Any) -> bool:
        """True if the model has all of `methods`."""
        return all(callable(getattr(model, name, None)) for name in self.methods)

    def check(self, model: Any) -> Declaration:
        """The declaration, once signature, projector and tower were found and one blank image passed through."""
        model = unwrap(model)
        name = type(model).__name__
        for path in (*self.methods, "generate"):
            resolve(model, path, what=name)
        self._check_arguments(model)
        if PREPARE in vars(model):
            raise AdapterError(f"{name}: {PREPARE} was replaced on this instance; undo that before attaching")
        if getattr(model.config, "use_pos_skipping", False):
            raise AdapterError(
                f"{name}: config.use_pos_skipping draws positions at random, which is not possible for pruned prompts; "
                f"set it to False. See {PAGE}"
            )
        self._check_wrapper(model)
        tower = self.tower_of(model)
        kind = getattr(model.config, "mm_patch_merge_type", "flat")
        try_once(model, tower, reach(model, self.projector), self.projector, before=self._before(model, tower))
        self._check_packing(model, tower)
        in_rows = not in_tiles(model) or "unpad" in kind
        return Declaration(
            model=name,
            points={"vision": "what the projector is given", "projected": "what the language model reads"},
            offers=(*offers(tower), Offer("projected"), *(Offer(CANVAS) for _ in range(in_rows))),
            merges=frozenset({"projected"} if self._may_merge(model) else {"vision", "projected"}),
            reasons={
                **reasons(tower),
                "decoder": _OUTSIDE,
                **({} if in_rows else {CANVAS: f"tiles merged as '{kind}' end no row with a newline token"}),
            },
            has_cls=tower.layout.cls,
            architecture=tower.architecture,
            geometry=f"one token per patch; tiles merged as '{kind}', newlines kept apart",
            placeholder=PLACEHOLDER,
            modules={**tower.paths, "projector": self.projector},
        )

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """The layout of images of these sizes, each the only one of its prompt, found by splicing row numbers."""
        model = unwrap(model)
        count = self._patches(model, self.tower_of(model))
        packings = [_packing(planned(model, size, count), count) for size in sizes]
        return layout_from(packings, range(len(sizes)), self.newlines)

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """The tiles as spliced."""
        return layout_from(encoded.geometry, prompts, self.newlines)

    def check_pruner(self, model: Any, pruner: Schedule, given: Collection[str] = ()) -> None:
        """Refuse an order that does not go with newline tokens, and gaps that the language model cannot rotate by."""
        super().check_pruner(model, pruner, given)
        policy = pruner.parts["positions"]
        if policy.gapped and not takes_gaps(unwrap(model)):
            raise AdapterError(
                f"positions '{policy}' have gaps, but the language model of {type(model).__name__} looks rotations up "
                f"in a table that ends at the number of tokens; omit `positions` to number the remaining tokens, or "
                f"use a transformers later than the installed one"
            )
        if "unpad" in getattr(unwrap(model).config, "mm_patch_merge_type", "flat"):
            check_order(pruner, self.newlines, str(self.spec.name))

    @contextmanager
    def watch(self, model: Any, attachment: Session) -> Iterator[dict[str, Any]]:
        """The record of one pass of tower and projector; the tower's unused last layers are skipped."""
        tower, projector = self.tower_of(model), reach(model, self.projector)
        before = self._before(model, tower)
        seen: dict[str, Any] = {"before": before, "columns": tower.grid()[1]}
        seen["project"] = None if self._may_merge(model) else projector

        def keep(_module: Any, args: Any, output: Any) -> None:
            seen["vision"], seen["projected"] = args[0].detach(), output.detach()

        layer = self._declared(model, self.layer)
        hook = projector.register_forward_hook(keep)
        try:
            last = None if layer is None else int(layer)
            with probe(tower, attachment.needs, dtype=attachment.pruner.dtype, last=last) as capture:
                seen["capture"] = capture
                yield seen
        finally:
            hook.remove()
        found, wanted = seen["vision"].shape[1], self._patches(model, tower)
        if found != wanted:
            raise AttachError(f"{type(model).__name__}: the projector got {found} tokens per image, not {wanted}")

    def encode(
        self,
        seen: Mapping[str, Any],
        tiles: Sequence[int],
        embeds: Tensor,
        placed: Sequence[Placed],
        repack: Callable[[Tensor], Tensor],
        attachment: Session,
    ) -> Encoded:
        """Encoded images, one group of tokens each; merged by the model's own packing where rows merge patches."""
        features = seen[attachment.at]
        signals = seen["capture"].signals(attachment.needs, features.shape[1])
        if "projected" in attachment.needs:
            signals["projected"] = lambda: seen["projected"]
        patch = (torch.arange(features.shape[1], device=features.device) - seen["before"]).expand(features.shape[:2])
        row, col = (torch.where(patch < 0, -1, at) for at in (patch // seen["columns"], patch % seen["columns"]))
        tokens = numbered(VisualTokens.of(features, row=row, col=col, signals=signals), tiles)
        packings = [_packing(image, features.shape[1]) for image in placed]
        if any(packing.merged for packing in packings):

            def pack(values: Tensor) -> list[Tensor]:
                packed = repack(values)
                return [packed[image.prompt, image.positions] for image in placed]

            tokens = merged_tokens(tokens, packings, pack)
        else:
            index = [packing.source + image.start for packing, image in zip(packings, placed, strict=True)]
            tokens = tokens.regroup(pad_sequence(index, True, -1).to(features.device))
        if CANVAS in attachment.needs:
            tokens = on_canvas(tokens, [packing.canvas() for packing in packings])
        rows = [embeds[image.prompt, image.positions] for image in placed]
        places, stay = [packing.places for packing in packings], separators(packings, self.newlines)
        project = seen["project"] if attachment.at == "vision" else None
        return Encoded(None, rows, tokens, places, stay, geometry=packings, project=project)

    @property
    def newlines(self) -> str:
        """The treatment of newline tokens: "keep", "drop" or "keep_if_row_kept"."""
        return str(getattr(self.spec, "newlines", "keep"))

    def tower_of(self, model: Any) -> ResolvedTower:
        """The transformers tower inside the wrapper."""
        return resolve_tower(reach(model, f"{self.wrapper}.{self.tower}"), f"{self.wrapper}.{self.tower}")

    def _check_arguments(self, model: Any) -> None:
        found, name = arguments_of(model), type(model).__name__
        missing, unknown = set(ARGUMENTS) - set(found), set(found) - {*ARGUMENTS, *self.arguments}
        if missing or unknown:
            raise AdapterError(
                f"{name}.{PREPARE} takes {', '.join(found)}; "
                + (
                    f"{', '.join(sorted(missing))} is missing"
                    if missing
                    else f"{', '.join(sorted(unknown))} is not known"
                )
                + f". Required: {', '.join(ARGUMENTS)}; optional: {', '.join(self.arguments)}. If the model works the "
                f"same way, declare its names: see {PAGE}, 'A fork of LLaVA'"
            )

    def _check_wrapper(self, model: Any) -> None:
        name, wrapper = type(model).__name__, reach(model, self.wrapper)
        if wrapper is None:
            raise AdapterError(f"{name}: {self.wrapper} is None, so the model has no vision tower; see {PAGE}")
        if getattr(wrapper, "is_loaded", True) is False or getattr(wrapper, self.tower, False) is None:
            raise AdapterError(
                f"{name}: the vision tower is not loaded; call model.{self.wrapper}.load_model() first, then attach"
            )
        if hasattr(wrapper, "s2_scales"):
            raise AdapterError(
                f"{name}: {self.wrapper}.s2_scales: an S2 tower joins several scales in one token, so no attention "
                f"belongs to that token. See {PAGE}"
            )

    def _check_packing(self, model: Any, tower: ResolvedTower) -> None:
        """Trace one blank image through the splicing.

        Raises:
            AdapterError: it cannot be traced.
        """
        count, side = self._patches(model, tower), tower.grid()[0]
        tiles = 2 if in_tiles(model) else 1
        spatial = getattr(model.config, "mm_patch_merge_type", "flat").startswith("spatial")
        try:
            if in_tiles(model) and spatial:
                planned(model, (side * 14, side * 28), count)
            else:
                blank = torch.zeros(tiles, count, model.config.hidden_size, device=model.device)
                trace(model, one_image(model, tiles, (side, side)), blank)
        except Exception as error:  # the model's own code may raise anything
            kind = getattr(model.config, "mm_patch_merge_type", "flat")
            raise AdapterError(
                f"{type(model).__name__}.{PREPARE} cannot be followed on one blank image, with "
                f"config.mm_patch_merge_type = '{kind}': {error}. See {PAGE}, 'A fork of LLaVA'"
            ) from error

    def _may_merge(self, model: Any) -> bool:
        """True if images of some sizes have rows that merge patches, by the config."""
        config = model.config
        return "anyres_max" in getattr(config, "image_aspect_ratio", "") or "pool" in getattr(
            config, "mm_patch_merge_type", ""
        )

    def _patches(self, model: Any, tower: ResolvedTower) -> int:
        """The number of tokens of an image or tile that reach the projector."""
        return math.prod(tower.grid()) + self._before(model, tower)

    def _before(self, model: Any, tower: ResolvedTower) -> int:
        """The number of tokens before the patches that reach the projector: "patch" cuts one off."""
        feature = self._declared(model, self.feature)
        if feature is None:
            return 0
        before = {"patch": tower.layout.prefix - 1, "cls_patch": tower.layout.prefix}.get(feature, -1)
        if before < 0:
            raise AdapterError(
                f"{type(model).__name__}: {self.feature} = '{feature}' is not supported for its "
                f"{type(tower.module).__name__}; use 'cls_patch' or, with a CLS token, 'patch'. See {PAGE}"
            )
        return before

    def _declared(self, model: Any, path: str | None) -> Any:
        """The value at ``path``; None if an attribute is missing."""
        try:
            return None if path is None else reach(model, path)
        except AdapterError:
            return None


def reach(model: Any, path: str) -> Any:
    """The object at a dotted path below the model; names followed by ``()`` are called.

    Raises:
        AdapterError: an attribute is missing; says where the path ends.
    """
    target, done = model, type(model).__name__
    for name in path.split("."):
        found = resolve(target, name.removesuffix("()"), what=done)
        target, done = found() if name.endswith("()") else found, f"{done}.{name}"
    return target


def _packing(image: Placed, count: int) -> Packing:
    """The packing of an image whose tiles have ``count`` patches each."""
    number = image.source.cpu().double()
    number = torch.where(number == MERGED, 0.5, number)  # the number of no patch
    return Packing.of(torch.stack([number, number], 1), torch.arange(image.tiles * count).double(), image.tiles)


_OUTSIDE = (
    "the original codebase's generate splices and runs in one call; stages inside the language model are supported for "
    "Hugging Face's LLaVA only, so use a converted checkpoint"
)
