"""Models with one vision tower, one projector and one token per patch: LLaVA-1.5 and similar ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from scope_adapters.compat.transformers import base_of, base_path
from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
from scope_adapters.hosts.huggingface.decoder.offers import with_decoder
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.trial import tried
from scope_adapters.hosts.methods import check_host, unwrap
from scope_adapters.towers.canvas import CANVAS, NO_CANVAS, no_canvas
from scope_adapters.towers.layouts import LAYOUTS, ResolvedTower, TowerLayout, image_size, resolve_tower
from scope_adapters.towers.probe import Capture, offers, probe, reasons
from scope_adapters.towers.trial import PAGE, noise
from scope_core import AdapterError, AttachError, Layout, VisualTokens
from scope_core.adapters import Declaration, Offer, Session, resolve
from scope_core.parts import ComponentSpec


@dataclass(frozen=True)
class Seen:
    """One pass of tower and projector.

    Attributes:
        output: Result of ``get_image_features``.
        tokens: Tokens, one group per image or tile that the tower read.
        projected: (B, N, D) output of the projector.
    """

    output: Any
    tokens: VisualTokens
    projected: Tensor


S = TypeVar("S", bound=ComponentSpec)


class ProjectedTower(HuggingFaceAdapter[S]):
    """CLIP-like tower and a two-layer projector; every patch is one token of the language model.

    Interception points: ``vision`` (input of the projector) and ``projected`` (its output). They differ only in the
    features that selection uses: tokens are always taken after the projector.
    """

    image_inputs: tuple[str, ...] = (
        "pixel_values",
        "image_sizes",
        "vision_feature_layer",
        "vision_feature_select_strategy",
    )

    shares_prefix = True
    tower = "vision_tower"
    """Path of the vision tower."""
    tower_layout: TowerLayout | None = None
    """Where the tower has its layers, attention and CLS token, if scope-core does not know its type."""
    projector = "multi_modal_projector"
    """Path of the module whose output the language model reads."""
    given = "multi_modal_projector"
    """Path of the module whose first argument is the projector's input, one row per token."""
    knows_canvas = True
    """True if the adapter can say where the tiles of an image lie; it can if images are one tile."""
    merging = ""
    """Path of the module or method that merges several patches into one token; empty where every patch is a token."""

    def matches(self, model: Any) -> bool:
        """True if the model is of this adapter's type, its tower of a known layout: Pixtral goes by LLaVA's type."""
        tower = getattr(getattr(getattr(model, "config", None), "vision_config", None), "model_type", None)
        known = tower is None or tower in LAYOUTS or self.tower_layout is not None
        return super().matches(model) and known

    def check(self, model: Any) -> Declaration:
        """The declaration, once tower, projector and features method were found."""
        model = unwrap(model)
        name = type(model).__name__
        check_host(model, name)
        for path in filter(None, ("get_image_features", self.projector, self.given, self.merging)):
            resolve(model, f"{base_path(model)}.{path}", what=name)
        tower = self._tower(model)
        self._check_layers(model, tower)
        declaration = with_decoder(
            Declaration(
                model=name,
                points={"vision": "what the projector is given", "projected": "what the language model reads"},
                offers=(
                    *offers(tower),
                    Offer("projected"),
                    Offer("text.embeddings"),
                    *(Offer(CANVAS) for _ in range(self.knows_canvas)),
                ),
                reasons={**reasons(tower), **({} if self.knows_canvas else {CANVAS: NO_CANVAS})},
                has_cls=tower.layout.cls,
                architecture=tower.architecture,
                geometry=self.geometry,
                placeholder=int(model.config.image_token_id),
                modules={**tower.paths, "projector": f"{base_path(model)}.{self.projector}"},
                encoder=f"{base_path(model)}.get_image_features",
                merges=frozenset({"vision", "projected"} if self.given == self.projector else {"projected"}),
            ),
            model,
        )
        return replace(declaration, untried=tried(self, model, declaration))

    def trial_images(self, model: Any) -> Mapping[str, Any] | None:
        """One image of the tower's size."""
        tower = self._tower(model).module
        return {"pixel_values": noise(tower, 1, int(getattr(tower.config, "num_channels", 3)), *image_size(tower))}

    def trial_pass(self, model: Any) -> AbstractContextManager[Any]:
        """The tower's first layer only."""
        return probe(self._tower(model), frozenset(), dtype=None, last=1)

    def _check_layers(self, model: Any, tower: ResolvedTower) -> None:
        """Refuse a model that reads no output of a layer of its tower: the probe watches layers."""
        given, count = self.reads(model, {})[0], len(tower.layers)
        layers = (given,) if isinstance(given, int) else tuple(given)
        known = all(-count <= layer <= count for layer in layers)
        if not known or not any(layers):
            raise AdapterError(
                f"{type(model).__name__} reads layer {given} of its tower, which has {count}; pruning needs the output "
                f"of a layer, -{count}..-1 or 1..{count}"
            )

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """The layout; the processor resizes all images to one size, so all have the same number of tokens."""
        model = unwrap(model)
        tower = self._tower(model)
        rows, cols = tower.grid()
        patches = rows * cols + _before(tower, self.reads(model, {})[1])
        tokens = int(model.config.image_seq_length) if tower.layout.any_size else patches
        return Layout.of([tokens] * len(sizes))

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images, by one pass of tower and projector without the tower's unused last layers."""
        seen = self.seen(model, images, attachment)
        return Encoded(
            seen.output, list(seen.output.pooler_output), seen.tokens, project=self.project(model, attachment)
        )

    def project(self, model: Any, attachment: Session) -> Callable[[Tensor], Tensor] | None:
        """The projector if tokens are merged before it; None if they are merged after it."""
        if attachment.at != "vision" or self.given != self.projector:
            return None
        projector: Callable[[Tensor], Tensor] = base_of(model).get_submodule(self.projector)
        return projector

    def reads(self, model: Any, images: Mapping[str, Any]) -> tuple[int | Sequence[int], str]:
        """The layers that the projector reads, and "default" if their first token is cut off, else "full"."""
        config, layer, strategy = model.config, "vision_feature_layer", "vision_feature_select_strategy"
        return images.get(layer, getattr(config, layer)), images.get(strategy, getattr(config, strategy))

    def seen(self, model: Any, images: Mapping[str, Any], attachment: Session) -> Seen:
        """One pass of tower and projector, with the signals that the pruner needs."""
        base, needs = base_of(model), attachment.needs
        output, given, capture = self.watched(model, images, attachment, self.features)
        given["projected"] = self.read(output, given["projected"])
        tower = self._tower(model)
        features, grid = given[attachment.at].detach(), tower.grid(*images["pixel_values"].shape[-2:])
        signals = self.signals_of(base, capture, needs, features, grid)
        if "projected" in needs:
            signals["projected"] = lambda: given["projected"].detach()
        if CANVAS in needs:
            signals[CANVAS] = lambda: no_canvas(features)
        row, col = self.cells_of(base, features, grid, _before(tower, self.reads(model, images)[1]))
        return Seen(output, VisualTokens.of(features, row=row, col=col, signals=signals), given["projected"])

    def watched(
        self,
        model: Any,
        images: Mapping[str, Any],
        attachment: Session,
        features: Callable[[Any, Mapping[str, Any]], Any],
    ) -> tuple[Any, dict[str, Tensor], Capture]:
        """One pass of tower and projector: its result, what the projector is given and gives, and the tower's record.

        Args:
            model: The model, unwrapped.
            images: Arguments of ``features``, which may choose layers.
            attachment: Its pruner determines which signals are recorded.
            features: ``(base, images) -> `` the result of the pass.
        """
        base, tower = base_of(model), self._tower(model)
        given: dict[str, Tensor] = {}

        def keep_given(_module: Any, args: Any) -> None:
            given["vision"] = args[0].detach().flatten(1, -2)  # rows and columns may be axes of their own

        def keep_projected(_module: Any, _args: Any, output: Any) -> None:
            given["projected"] = output.flatten(1, -2)

        layers = self.reads(model, images)[0]
        layers = (layers,) if isinstance(layers, int) else layers
        first, *_, last = sorted([*layers, *layers], key=lambda layer: layer % (len(tower.layers) + 1))
        with ExitStack() as undo:
            undo.callback(base.get_submodule(self.given).register_forward_pre_hook(keep_given).remove)
            undo.callback(base.get_submodule(self.projector).register_forward_hook(keep_projected).remove)
            recorded = probe(tower, attachment.needs, dtype=attachment.pruner.dtype, last=last, first=first or None)
            with recorded as capture:
                return features(base, images), given, capture

    def read(self, output: Any, projected: Tensor) -> Tensor:
        """(B, N, D) rows that the language model reads.

        Args:
            output: Result of ``get_image_features``.
            projected: (B, N, D) output of the projector.
        """
        return projected

    def signals_of(
        self, base: Any, capture: Capture, needs: frozenset[str], features: Tensor, grid: tuple[int, int]
    ) -> dict[str, Callable[[], Tensor]]:
        """The tower's signals by name, one entry per token."""
        return capture.signals(needs, features.shape[1])

    def cells_of(self, base: Any, features: Tensor, grid: tuple[int, int], before: int) -> tuple[Tensor, Tensor]:
        """(B, N) rows and columns of the token grid; -1 for prefix tokens."""
        count, wanted = features.shape[1], grid[0] * grid[1] + before
        if count != wanted:
            raise AttachError(
                f"{type(base).__name__} gives {count} tokens for an image, and {wanted} were expected: {grid[0]} x "
                f"{grid[1]} patches" + f" and {before} before them" * bool(before) + f", one token each. If it merges "
                f"patches, subclass `Shuffled` and name its `merging`. See {PAGE}"
            )
        row, col = _cells(count, grid[1], before, features.device)
        return row.repeat(len(features), 1), col.repeat(len(features), 1)

    def _tower(self, model: Any) -> ResolvedTower:
        path = f"{base_path(model)}.{self.tower}"
        return resolve_tower(resolve(model, path, what=type(model).__name__), path, self.tower_layout)


@functools.lru_cache(maxsize=32)
def _cells(count: int, cols: int, before: int, device: Any) -> tuple[Tensor, Tensor]:
    """(N,) row and column of ``count`` tokens; cached, since they are the same for every image."""
    with torch.inference_mode(False):  # inference tensors could not be used outside of inference mode
        index = torch.arange(count, device=device) - before
        return torch.where(index < 0, -1, index // cols), torch.where(index < 0, -1, index % cols)


def _before(tower: ResolvedTower, strategy: str) -> int:
    """The number of tokens before the patches that reach the language model: "default" cuts one off."""
    return tower.layout.prefix - (strategy == "default")
