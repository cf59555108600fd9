"""Codebases of LLaVA's shape: ``encode_images``, and ``prepare_inputs_labels_for_multimodal`` that splices.

Nothing of them is imported. What a fork names otherwise is declared in a subclass; the rest is tried on one blank
picture when attaching, so that what cannot be served is refused there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.adapters.anyres import Packing, check_order, laid_out, numbered, separators
from scope_adapters.adapters.mixed import mixed_tokens
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.methods import check_free, unwrap
from scope_adapters.hosts.original_llava import OriginalLlavaAdapter, S
from scope_adapters.hosts.splicing import (
    ARGUMENTS,
    MIXED,
    PLACEHOLDER,
    PREPARE,
    Placed,
    arguments_of,
    in_tiles,
    one_image,
    planned,
    trace,
)
from scope_adapters.towers.layouts import ResolvedTower, resolve_tower
from scope_adapters.towers.probe import offers, probe, reasons
from scope_adapters.towers.trial import try_once
from scope_core import AdapterError, AttachError, Layout, VisualTokens
from scope_core.adapters import Declaration, Offer, Session, resolve

PAGE = "docs/write-an-adapter.md"


class Spliced(OriginalLlavaAdapter[S]):
    """A tower, a projector that takes tokens one by one, and images that become embeddings before the model runs.

    Paths below may call methods: ``get_model().mm_projector``. What a model lacks may be given as a value.
    """

    methods: tuple[str, ...] = ("encode_images", PREPARE, "get_vision_tower", "get_model")
    """What tells these models from others."""
    arguments: tuple[str, ...] = ("image_sizes", "modalities")
    """Arguments of the splicing method beside `ARGUMENTS`, which all have."""
    wrapper: str = "get_vision_tower()"
    """What ``encode_images`` calls first."""
    tower: str = "vision_tower"
    """The transformers tower in the wrapper."""
    projector: str = "get_model().mm_projector"
    """What ``encode_images`` calls next, once."""
    layer: str | None = "get_vision_tower().select_layer"
    """Which hidden state is used; where there is no such attribute, all layers run."""
    feature: str | None = "get_vision_tower().select_feature"
    """``patch`` or ``cls_patch``; where there is no such attribute, patches alone are used."""

    def matches(self, model: Any) -> bool:
        """By the methods."""
        return all(callable(getattr(model, name, None)) for name in self.methods)

    def check(self, model: Any) -> Declaration:
        """Signature, projector and tower, all resolved; then one blank picture, with most of the tower skipped."""
        model = unwrap(model)
        name = type(model).__name__
        for path in (*self.methods, "generate"):
            resolve(model, path, what=name)
        self._check_arguments(model)
        check_free(model, PREPARE)
        if PREPARE in vars(model):
            raise AdapterError(f"{name}: {PREPARE} was replaced on this instance; undo that before attaching")
        if getattr(model.config, "use_pos_skipping", False):
            raise AdapterError(
                f"{name}: config.use_pos_skipping draws positions at random, which pruned prompts cannot follow; set "
                f"it to False. See {PAGE}"
            )
        self._check_wrapper(model)
        tower = self.tower_of(model)
        kind = getattr(model.config, "mm_patch_merge_type", "flat")
        try_once(model, tower, reach(model, self.projector), self.projector, before=self._before(model, tower))
        self._check_packing(model, tower)
        return Declaration(
            model=name,
            points={"vision": "what the projector is given", "projected": "what the language model reads"},
            offers=(*offers(tower), Offer("projected")),
            merges=frozenset({"projected"} if self._may_mix(model) else {"vision", "projected"}),
            reasons={**reasons(tower), "decoder": _OUTSIDE},
            has_cls=tower.layout.cls,
            geometry=f"one token per patch; tiles merged as '{kind}', newlines kept apart",
            placeholder=PLACEHOLDER,
            modules={**tower.paths, "projector": self.projector},
        )

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """From splicing row numbers; no picture is needed. Each image as if it were the only one of its prompt."""
        model = unwrap(model)
        count = self._patches(model, self.tower_of(model))
        packings = [_packing(planned(model, size, count), count) for size in sizes]
        return laid_out(packings, range(len(sizes)), self.newlines)

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles as spliced."""
        return laid_out(encoded.geometry, prompts, self.newlines)

    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Also refuse an order that newline tokens stand in the way of."""
        if "unpad" in getattr(unwrap(model).config, "mm_patch_merge_type", "flat"):
            check_order(attachment.pruner, self.newlines, str(self.spec.name))
        super().install(model, attachment, undo)

    @contextmanager
    def watch(self, model: Any, attachment: Session) -> Iterator[dict[str, Any]]:
        """One pass of tower and projector; the tower's unused last layers are skipped."""
        tower, projector = self.tower_of(model), reach(model, self.projector)
        before = self._before(model, tower)
        seen: dict[str, Any] = {"before": before, "columns": tower.grid()[1], "project": projector}

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
            raise AttachError(f"{type(model).__name__}: the projector got {found} tokens of each picture, not {wanted}")

    def encode(
        self,
        seen: Mapping[str, Any],
        tiles: Sequence[int],
        embeds: Tensor,
        placed: Sequence[Placed],
        repack: Callable[[Tensor], Tensor],
        attachment: Session,
    ) -> Encoded:
        """Tokens of all tiles, regrouped by image; mixed by the model's own packing where rows mix patches."""
        features = seen[attachment.at]
        signals = seen["capture"].signals(attachment.needs, features.shape[1])
        if "projected" in attachment.needs:
            signals["projected"] = lambda: seen["projected"]
        patch = (torch.arange(features.shape[1], device=features.device) - seen["before"]).expand(features.shape[:2])
        row, col = (torch.where(patch < 0, -1, at) for at in (patch // seen["columns"], patch % seen["columns"]))
        tokens = numbered(VisualTokens.of(features, row=row, col=col, signals=signals), tiles)
        packings = [_packing(image, features.shape[1]) for image in placed]
        mixed = any(packing.mixed for packing in packings)
        if mixed:

            def pack(values: Tensor) -> list[Tensor]:
                packed = repack(values)
                return [packed[image.prompt, image.positions] for image in placed]

            tokens = mixed_tokens(tokens, packings, pack)
        else:
            index = [packing.source + image.start for packing, image in zip(packings, placed, strict=True)]
            tokens = tokens.regroup(pad_sequence(index, True, -1).to(features.device))
        rows = [embeds[image.prompt, image.positions] for image in placed]
        places, stay = [packing.places for packing in packings], separators(packings, self.newlines)
        project = seen["project"] if attachment.at == "vision" else None
        if mixed and project is not None and attachment.pruner.parts["merger"].mixes:
            raise AttachError("this image's rows mix patches after the projector, so they cannot merge before it; "
                              "set `at: projected`")  # fmt: skip
        return Encoded(None, rows, tokens, places, stay, geometry=packings, project=project)

    @property
    def newlines(self) -> str:
        """What becomes of newline tokens: "keep", "drop" or "keep_if_row_kept"."""
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
                + f". Known: {', '.join(ARGUMENTS)}, and where they are there {', '.join(self.arguments)}. If it is of "
                f"this shape all the same, declare it: see {PAGE}, 'A fork of LLaVA'"
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
                f"{name}: {self.wrapper}.s2_scales: an S2 tower joins several scales in one token, and no attention is "
                f"that token's. See {PAGE}"
            )

    def _check_packing(self, model: Any, tower: ResolvedTower) -> None:
        """Splice numbers of one image, in tiles where the model cuts any."""
        count, side = self._patches(model, tower), tower.grid()[0]
        tiles = 2 if in_tiles(model) else 1
        spatial = getattr(model.config, "mm_patch_merge_type", "flat").startswith("spatial")
        try:
            if in_tiles(model) and spatial:
                planned(model, (side * 14, side * 28), count)
            else:
                blank = torch.zeros(tiles, count, model.config.hidden_size, device=model.device)
                trace(model, one_image(model, tiles, (side, side)), blank)
        except Exception as error:  # the host's own code, on a call that is as plain as can be
            kind = getattr(model.config, "mm_patch_merge_type", "flat")
            raise AdapterError(
                f"{type(model).__name__}.{PREPARE} cannot be followed on one blank image, with "
                f"config.mm_patch_merge_type = '{kind}': {error}. See {PAGE}, 'A fork of LLaVA'"
            ) from error

    def _may_mix(self, model: Any) -> bool:
        """Whether the configuration asks for rows that mix patches, in images of some sizes at least."""
        config = model.config
        return "anyres_max" in getattr(config, "image_aspect_ratio", "") or "pool" in getattr(
            config, "mm_patch_merge_type", ""
        )

    def _patches(self, model: Any, tower: ResolvedTower) -> int:
        """Tokens of a picture that reach the projector."""
        return math.prod(tower.grid()) + self._before(model, tower)

    def _before(self, model: Any, tower: ResolvedTower) -> int:
        """Tokens before the patches that reach the projector: "patch" cuts one off."""
        feature = self._declared(model, self.feature)
        if feature is None:
            return 0
        before = {"patch": tower.layout.prefix - 1, "cls_patch": tower.layout.prefix}.get(feature, -1)
        if before < 0:
            raise AdapterError(
                f"{type(model).__name__}: {self.feature} = '{feature}' is not served for its "
                f"{type(tower.module).__name__}; served are 'cls_patch' and, with a CLS token, 'patch'. See {PAGE}"
            )
        return before

    def _declared(self, model: Any, path: str | None) -> Any:
        """What is at ``path``; None where there is no such attribute."""
        try:
            return None if path is None else reach(model, path)
        except AdapterError:
            return None


def reach(model: Any, path: str) -> Any:
    """The object at a dotted path below the model, whose steps may be calls.

    Raises:
        AdapterError: there is none; says where the path ends.
    """
    here, done = model, type(model).__name__
    for step in path.split("."):
        found = resolve(here, step.removesuffix("()"), what=done)
        here, done = found() if step.endswith("()") else found, f"{done}.{step}"
    return here


def _packing(image: Placed, count: int) -> Packing:
    """Candidates and newlines of an image whose tiles have ``count`` patches each."""
    number = image.source.cpu().double()
    number = torch.where(number == MIXED, 0.5, number)  # no patch has it
    return Packing.of(torch.stack([number, number], 1), torch.arange(image.tiles * count).double(), image.tiles)


_OUTSIDE = (
    "the original codebase's generate splices and runs in one call; stages inside the language model are served for "
    "Hugging Face's LLaVA only, so use a converted checkpoint"
)
