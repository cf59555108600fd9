"""The original LLaVA codebase (haotian-liu/LLaVA, 1.5 and 1.6), found by its methods; it is not imported.

Run in the tests: a small stand-in written from a description of that code, over real tiny Llama and CLIP modules of
transformers, for LLaVA-1.5, for anyres with and without unpadding, and for flat tiles. Not run: the codebase itself,
its checkpoints, its MPT variant, FSDP, quantised loading. Forks with other signatures are refused.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from scope_adapters.adapters.anyres import Packing, laid_out, numbered, separators
from scope_adapters.hosts.encoded import Encoded
from scope_adapters.hosts.methods import check_free, unwrap
from scope_adapters.hosts.original_llava import ARGUMENTS, PLACEHOLDER, PREPARE, OriginalLlavaAdapter, Placed, planned
from scope_adapters.towers.layouts import ResolvedTower, resolve_tower
from scope_adapters.towers.probe import offers, probe, reasons
from scope_core import AdapterError, ComponentSpec, Declaration, Layout, Offer, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import Attachment


_METHODS = ("encode_images", PREPARE, "get_vision_tower")


class LlavaOriginalSpec(ComponentSpec):
    """LLaVA-1.5 and 1.6 in the original codebase."""

    name: Literal["llava_original"] = "llava_original"
    newlines: Literal["keep", "drop", "keep_if_row_kept"] = "keep"
    """What becomes of ``spatial_unpad``'s newline tokens; they are no candidates and count against no budget."""


class LlavaOriginal(OriginalLlavaAdapter[LlavaOriginalSpec]):
    """CLIP tower in a wrapper, ``mm_projector``; images become embeddings before the language model sees anything.

    ``generate`` returns new ids alone, as it does unpruned. `Attachment.positions` and ``expand`` count along the
    prompt with its images spliced in. Prompts are cut at ``tokenizer_model_max_length`` after pruning, not before;
    a ``max_length`` in the model's own generation config counts the shortened prompt.
    """

    def matches(self, model: Any) -> bool:
        """By the three methods that the codebase's models have."""
        return all(callable(getattr(model, name, None)) for name in _METHODS)

    def check(self, model: Any) -> Declaration:
        """Signature, projector and tower, all resolved."""
        model = unwrap(model)
        name = type(model).__name__
        for path in (*_METHODS, "get_model", "generate"):
            resolve(model, path, what=name)
        found = tuple(inspect.signature(getattr(type(model), PREPARE)).parameters)[1:]
        if found != ARGUMENTS:
            raise AdapterError(
                f"{name}.{PREPARE} takes {', '.join(found)}; the original codebase's takes {', '.join(ARGUMENTS)}. A "
                f"fork needs an adapter of its own: subclass scope_adapters.adapters.llava_original.LlavaOriginal"
            )
        check_free(model, PREPARE)
        if PREPARE in vars(model):
            raise AdapterError(f"{name}: {PREPARE} was replaced on this instance; undo that before attaching")
        wrapper = model.get_vision_tower()
        if hasattr(wrapper, "s2_scales"):
            raise AdapterError(f"{name}: its S2 tower joins several scales in one token; no attention is that token's")
        for path in ("select_layer", "select_feature", "vision_tower"):  # the last one from load_model() on
            resolve(wrapper, path, what=f"{name}.get_vision_tower()")
        resolve(model.get_model(), "mm_projector", what=f"{name}.get_model()")
        tower, kind = _tower(model), getattr(model.config, "mm_patch_merge_type", "flat")
        return Declaration(
            model=name,
            points={"vision": "what the projector is given", "projected": "what the language model reads"},
            offers=(*offers(tower), Offer("projected")),
            merges=frozenset({"vision", "projected"}),
            reasons={**reasons(tower), "decoder": _OUTSIDE},
            has_cls=tower.layout.cls,
            geometry=f"one token per patch; tiles merged as '{kind}', newlines kept apart",
            placeholder=PLACEHOLDER,
            modules={**tower.paths, "projector": "get_model().mm_projector"},
        )

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """From splicing row numbers; no picture is needed. Each image as if it were the only one of its prompt."""
        model, tower = unwrap(model), _tower(unwrap(model))
        count = math.prod(tower.grid()) + _before(model, tower)
        packings = [_packing(planned(model, size, count), count) for size in sizes]
        return laid_out(packings, range(len(sizes)), self.spec.newlines)

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles as spliced."""
        return laid_out(encoded.geometry, prompts, self.spec.newlines)

    @contextmanager
    def watch(self, model: Any, attachment: Attachment) -> Iterator[dict[str, Any]]:
        """One pass of tower and projector; the tower's unused last layers are skipped."""
        tower = _tower(model)
        projector = model.get_model().mm_projector
        seen: dict[str, Any] = {"before": _before(model, tower), "columns": tower.grid()[1], "project": projector}

        def keep(_module: Any, args: Any, output: Any) -> None:
            seen["vision"], seen["projected"] = args[0].detach(), output.detach()

        last = int(model.get_vision_tower().select_layer)
        hook = projector.register_forward_hook(keep)
        try:
            with probe(tower, attachment.needs, dtype=attachment.pruner.dtype, last=last) as capture:
                seen["capture"] = capture
                yield seen
        finally:
            hook.remove()

    def encode(
        self,
        seen: Mapping[str, Any],
        tiles: Sequence[int],
        embeds: Tensor,
        placed: Sequence[Placed],
        attachment: Attachment,
    ) -> Encoded:
        """Tokens of all tiles, regrouped by image."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        from scope_core import VisualTokens

        features = seen[attachment.at]
        signals = seen["capture"].signals(attachment.needs, features.shape[1])
        if "projected" in attachment.needs:
            signals["projected"] = lambda: seen["projected"]
        patch = (torch.arange(features.shape[1], device=features.device) - seen["before"]).expand(features.shape[:2])
        row, col = (torch.where(patch < 0, -1, at) for at in (patch // seen["columns"], patch % seen["columns"]))
        tokens = numbered(VisualTokens.of(features, row=row, col=col, signals=signals), tiles)
        packings = [_packing(image, features.shape[1]) for image in placed]
        index = [packing.source + image.start for packing, image in zip(packings, placed, strict=True)]
        tokens = tokens.regroup(pad_sequence(index, True, -1).to(features.device))
        rows = [embeds[image.prompt, image.positions] for image in placed]
        places, stay = [packing.places for packing in packings], separators(packings, self.spec.newlines)
        project = seen["project"] if attachment.at == "vision" else None
        return Encoded(None, rows, tokens, places, stay, geometry=packings, project=project)


def _tower(model: Any) -> ResolvedTower:
    return resolve_tower(model.get_vision_tower().vision_tower, "get_vision_tower().vision_tower")


def _before(model: Any, tower: ResolvedTower) -> int:
    """Tokens before the patches that reach the language model: "patch" cuts one off."""
    return tower.layout.prefix - int(model.get_vision_tower().select_feature == "patch")


def _packing(image: Placed, count: int) -> Packing:
    """Candidates and newlines of an image whose tiles have ``count`` patches each."""
    import torch

    number = image.source.cpu().double()
    return Packing.of(torch.stack([number, number], 1), torch.arange(image.tiles * count).double(), image.tiles)


_OUTSIDE = (
    "the original codebase's generate splices and runs in one call; stages inside the language model are served for "
    "Hugging Face's LLaVA only, so use a converted checkpoint"
)
