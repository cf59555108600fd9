"""Encoding of images in vLLM: tower, selection, projector, a few images at a time.

vLLM decides by the number of tokens after pruning how many images it encodes at once. That is several times as many as
without pruning, so they are split into batches of the size that vLLM would use without pruning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scope_adapters.serving import fallback, metrics, receipts, strict
from scope_adapters.serving.geometry import Size
from scope_adapters.serving.group import Group
from scope_adapters.serving.served import Served
from scope_adapters.serving.tower import resolved, signals, watch


@dataclass(frozen=True)
class ImageTiles:
    """One image or video as it reaches the worker.

    Attributes:
        tiles: (T, 3, h, w) its tiles, or the patches that they are made of.
        size: Its size; of an image before it was cut.
        spec: Its spec.
        key: Bytes that stand for it, if failures of parts are errors (see `scope_adapters.serving.strict`).
        text: (L,) ids of text tokens that stand among a video's frames; None without them.
    """

    tiles: Tensor
    size: Size
    spec: str
    key: bytes = b""
    text: Tensor | None = None


@dataclass(frozen=True)
class Encoder:
    """The encoder of images for one model.

    Attributes:
        served: The engine's spec.
        model: vLLM's model.
        features: ``(T, 3, h, w) -> (T, n, D)``: its tower.
        newline: (D',) the row between rows of patches; None without one.
        at_once: Number of tiles in one batch of the tower, unless a single image has more.
    """

    served: Served
    model: Any
    features: Callable[[Tensor], Tensor]
    newline: Tensor | None
    at_once: int

    def encode(self, images: Sequence[ImageTiles]) -> list[Tensor]:
        """(R_i, D') per image: rows for the language model, one for each placeholder of its prompt."""
        rows: list[Tensor] = []
        calls = {image.spec: receipts.Call() for image in images}
        start = time.perf_counter()
        with torch.no_grad():
            for batch in batches(images, self.at_once):
                rows += self._encode(batch, calls)
        count(self.served, calls, self.folder, start, rows)
        return rows

    @property
    def folder(self) -> str:
        """The folder of the counters; empty without one."""
        return str(getattr(self.served.config, metrics.KEY, ""))

    def _encode(self, images: Sequence[ImageTiles], calls: Mapping[str, receipts.Call]) -> list[Tensor]:
        specs = {image.spec: self.served.pruner(image.spec) for image in images}
        needs = frozenset[str]().union(*(pruner.needs for pruner in specs.values()))
        geometry = self.served.geometry(self.served.default)
        tower = resolved(self.model, geometry.tower, geometry.paths)
        with watch(tower, needs, geometry.paths) as capture:
            features = self.features(torch.cat([image.tiles for image in images]))
        encoded: dict[int, Tensor] = {}
        for spec, pruner in specs.items():
            mine = [number for number, image in enumerate(images) if image.spec == spec]
            group = Group(self.served.geometry(spec), pruner, [images[i].size for i in mine])
            index = torch.cat([torch.arange(*span) for span in _spans(images, mine)]).to(features.device)
            seen = replace(capture, dtype=pruner.dtype)
            found = geometry.signals(signals(seen, pruner.needs, geometry.read, geometry.paths))
            at, before = features, "vision" in group.geometry.merges  # rows are picked before the projector
            if "projected" in {pruner.spec.at, *pruner.needs} or not before:
                found["projected"] = self.model.multi_modal_projector(features)
                at = found["projected"] if pruner.spec.at == "projected" else features
            read = {name: found[name][index] for name in pruner.needs}
            whole = None if before else found["projected"][index]
            rows, order = agreed(group, [images[i] for i in mine], at[index], read, calls[spec], self.folder, whole)
            if pruner.spec.at == "vision" and before:
                rows = self.model.multi_modal_projector(rows)
            if self.newline is not None:
                rows = torch.cat([rows, self.newline[None].to(rows)])
            encoded.update(zip(mine, torch.split(rows[order], group.promised), strict=True))
        return [encoded[number] for number in range(len(images))]


def count(
    served: Served, calls: Mapping[str, receipts.Call], folder: str, start: float, rows: Sequence[Tensor]
) -> None:
    """Log the sums of the specs in a call of the encoder, and add them to the counters in ``folder``.

    Args:
        served: The engine's spec.
        calls: The sums of each spec; they share the time of the call by their numbers of images.
        folder: The folder of the counters; empty without one.
        start: ``time.perf_counter()`` at the start of the call.
        rows: Its results.
    """
    receipts.wait(rows[0])
    seconds, images = time.perf_counter() - start, max(sum(call.images for call in calls.values()), 1)
    for call in calls.values():
        call.encoder = seconds * call.images / images
    label, counts = served.pruner(served.default).label, metrics.Counts()
    for spec, call in calls.items():
        known = {label: label} if spec == served.default else {}
        counts.add(call.close(served.pruner(spec).label, strict.is_strict(served.config)), known)
    metrics.record(folder, counts)


def batches(images: Sequence[ImageTiles], at_once: int) -> Iterator[list[ImageTiles]]:
    """Batches of images in order, each with at most ``at_once`` tiles or with one image."""
    batch: list[ImageTiles] = []
    for image in images:
        if batch and sum(len(other.tiles) for other in [*batch, image]) > at_once:
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def agreed(
    group: Group,
    images: Sequence[ImageTiles],
    features: Tensor,
    read: Mapping[str, Tensor],
    call: receipts.Call,
    folder: str,
    rows: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The selection of rank 0, on all ranks: rounding may differ between ranks, and with it near ties.

    The arguments are those of `scope_adapters.serving.fallback.select`, and the folder for marks of failures.
    """
    from vllm.distributed import get_tp_group

    ranks = get_tp_group()
    if ranks.rank_in_group == 0:
        sizes = [image.size for image in images]
        kept, order, failures = fallback.select(group, sizes, features, read, call, rows)
        call.failures += failures.values()
        strict.mark(folder, {image.key: number in failures for number, image in enumerate(images) if image.key})
        if ranks.world_size == 1:
            return kept, order
    else:
        whole = features if rows is None else rows
        kept = whole.new_empty(sum(group.counts), whole.shape[2] + group.geometry.places)
        order = torch.empty(sum(group.promised), dtype=torch.int64, device=kept.device)
    return ranks.broadcast(kept.contiguous(), src=0), ranks.broadcast(order.contiguous(), src=0)


def _spans(images: Sequence[ImageTiles], mine: Sequence[int]) -> list[tuple[int, int]]:
    """(first, last + 1) tile of the images ``mine``, counted through all images."""
    starts = [0]
    for image in images:
        starts.append(starts[-1] + len(image.tiles))
    return [(starts[number], starts[number + 1]) for number in mine]
