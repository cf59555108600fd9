"""The model that all pruned Qwen-VL models of vLLM share. Imported by vLLM alone, in its processes.

Kept tokens keep their (time, row, column) positions of the full prompt, as on Hugging Face. They are known only after
the encoder, while vLLM numbers the prompt before. So the prompt's numbering gives all tokens of an image or a video the
position of its first one; what is to be added travels as extra columns beside each row of features, through vLLM's
caches, and is added when the language model runs.

The tower attends within frames, so it encodes a video's frames as images. Where the prompt has text between frames, how
much of it stands before a kept token is known only after selection. So the text's own embeddings are rows of the video.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from scope_adapters.serving import metrics, packed, receipts, strict, worker
from scope_adapters.serving.geometry import Size
from scope_adapters.serving.grids import GridGeometry
from scope_adapters.serving.group import Group
from scope_adapters.serving.places import AXES, DIGITS, among, from_digits, to_digits
from scope_adapters.serving.processing import MEDIA, Medium
from scope_adapters.serving.qwen import STAMPS, size_of, sizes_of
from scope_adapters.serving.served import Served
from scope_adapters.serving.sizes import VIDEO, Video
from scope_adapters.serving.touch_points import check
from scope_adapters.serving.worker import ImageTiles, batches, count
from scope_core import SpecError

check()


class PrunedGridModel:
    """Mixin for vLLM's class of a model."""

    config: Any
    visual: Any
    language_model: Any
    supports_tower_connector_lora = False
    supports_encoder_cudagraph = False  # a replay would bypass `embed_multimodal`

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        strict.check(vllm_config)
        host = str(self.config.model_type)
        if vllm_config.parallel_config.pipeline_parallel_size > 1:
            raise SpecError(f"{host} with pruning is not served with pipeline parallelism")
        if vllm_config.model_config.get_multimodal_config().mm_encoder_tp_mode == "data":
            raise SpecError(f"{host} with pruning is not served with --mm-encoder-tp-mode data")
        if getattr(vllm_config.compilation_config, "compile_mm_encoder", False):
            raise SpecError(
                f"{host} with pruning is not served with compile_mm_encoder: no part could read the encoder"
            )
        if vllm_config.model_config.get_multimodal_config().video_pruning_rate:
            raise SpecError("omit --video-pruning-rate: videos are pruned by the engine's spec")
        self.served = Served(self.config)
        self.served.rehearse()
        self.batched_tokens = int(vllm_config.scheduler_config.max_num_batched_tokens)
        self.width = int(self.config.get_text_config().hidden_size)
        self.moved = torch.zeros(AXES, self.batched_tokens + 1, dtype=torch.int64)
        self.filled = 0

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """(R_i, D + `DIGITS`) per item: rows for the language model, and their positions counted from its first."""
        items = [
            item for medium in MEDIA if kwargs.get(medium.pixels) is not None for item in self._items(medium, kwargs)
        ]
        if not items:
            return []
        geometry: Any = self.served.geometry(self.served.default)
        calls = {item.spec: receipts.Call() for item in items}
        folder = str(getattr(self.config, metrics.KEY, ""))
        at_once = self.batched_tokens * geometry.block**2  # as much as without pruning
        rows: list[Tensor] = []
        start = time.perf_counter()
        with torch.no_grad():
            for batch in batches(items, at_once):
                found = self._encode(batch, geometry, at_once, calls, folder)
                rows += [self._placed(item, geometry, one) for item, one in zip(batch, found, strict=True)]
        count(self.served, calls, folder, start, rows)
        return rows

    def _items(self, medium: Medium, given: Mapping[str, Any]) -> list[ImageTiles]:
        """The items of a medium in vLLM's input."""
        geometry: Any = self.served.geometry(self.served.default)
        specs, keys = medium.of(given)
        parts = torch.split(given[medium.pixels], given[medium.grid].prod(-1).tolist())
        texts = given.get(STAMPS) if medium.name == VIDEO else None
        sizes = sizes_of(geometry, medium, given)
        every = zip(parts, sizes, specs, keys, [None] * len(specs) if texts is None else texts, strict=True)
        return [ImageTiles(*one) for one in every]

    def _encode(
        self,
        items: Sequence[ImageTiles],
        geometry: GridGeometry,
        at_once: int,
        calls: Mapping[str, receipts.Call],
        folder: str,
    ) -> list[Tensor]:
        """The kept rows of each item, with the digits of their frame, row and column; frame by frame in the tower."""
        needs = frozenset[str]().union(*(self.served.pruner(item.spec).needs for item in items))
        grids = [[1, *(geometry.block * side for side in geometry.grid(item.size))] for item in items]
        counts = [geometry.tiles(item.size) for item in items]
        frames = [grid for grid, many in zip(grids, counts, strict=True) for _ in range(many)]
        seen = packed.encode(self.visual, geometry, torch.cat([item.tiles for item in items]), frames, needs, at_once)
        starts = list(accumulate(counts, initial=0))
        encoded: dict[int, Tensor] = {}
        for (spec, size), mine in _alike(items).items():
            pruner = self.served.pruner(spec)
            numbers = [frame for item in mine for frame in range(starts[item], starts[item + 1])]
            group = Group(self.served.geometry(spec), pruner, [size] * len(mine))
            rows = torch.stack([seen.after[number] for number in numbers])
            projected = rows[..., : self.width]  # without DeepStack's features
            read = seen.signals(pruner.dtype, pruner.needs, numbers)
            read |= {"projected": projected} if "projected" in pruner.needs else {}
            before = pruner.spec.at != "projected"
            features = torch.stack([seen.before[number] for number in numbers]) if before else projected
            same = [items[number] for number in mine]
            kept, order = worker.agreed(group, same, features, read, calls[spec], folder, rows)
            encoded.update(zip(mine, torch.split(kept[order], group.promised), strict=True))
        return [encoded[number] for number in range(len(items))]

    def _placed(self, item: ImageTiles, geometry: GridGeometry, rows: Tensor) -> Tensor:
        """The rows with the digits of their positions, for those of frame, row and column; with a video's text."""
        if not isinstance(item.size, Video):
            return rows
        found, places = rows[:, :-DIGITS], from_digits(rows[:, -DIGITS:])
        if item.text is None:
            times = geometry.times(item.size).to(places.device)
            return torch.cat([found, to_digits(torch.cat([times[places[:, :1]], places[:, 1:]], 1)).to(rows)], 1)
        ids = item.text.to(found.device)
        ends = (ids == self.config.vision_end_token_id).nonzero().flatten()
        order, positions = among(places, ends, len(ids), max(geometry.grid(item.size)))
        text = found.new_zeros(len(ids), found.shape[1])  # nothing of DeepStack
        text[:, : self.width] = self.language_model.embed_input_ids(ids)
        return torch.cat([torch.cat([found, text])[order], to_digits(positions).to(rows)], 1)

    def get_mrope_input_positions(self, input_tokens: Sequence[int], mm_features: Any) -> tuple[Tensor, int]:
        """(3, L) positions of the full prompt, an item's tokens all at its first; and the next one less the length."""
        parts, done, start = [], 0, 0
        geometry: Any = self.served.geometry(self.served.default)
        for feature in sorted(mm_features, key=lambda feature: feature.mm_position.offset):
            offset, length = feature.mm_position.offset, feature.mm_position.length
            size, moving = size_of(geometry, feature.modality, feature.data), feature.modality == VIDEO
            held = list(input_tokens[offset : offset + length])
            texts = length - held.count(self.config.video_token_id) if moving else 0
            parts += [torch.arange(offset - done) + start]
            start += offset - done
            parts += [torch.full((length,), start)]
            start += geometry.reach(size, texts)
            done = offset + length
        rest = len(input_tokens) - done
        parts.append(torch.arange(rest) + start)
        return torch.cat(parts).expand(AXES, -1).clone(), start + rest - len(input_tokens)

    def embed_input_ids(
        self, input_ids: Tensor, multimodal_embeddings: Any = None, *, is_multimodal: Tensor | None = None
    ) -> Tensor:
        """Embeddings of the tokens of a step; the positions of kept tokens are noted for `forward`."""
        self.moved[:, : max(self.filled, len(input_ids))] = 0
        self.filled = 0
        if multimodal_embeddings is not None and len(multimodal_embeddings) and is_multimodal is not None:
            self.filled = len(input_ids)
            digits = torch.cat([rows[:, -DIGITS:] for rows in multimodal_embeddings]).cpu()
            self.moved[:, : len(input_ids)][:, is_multimodal.cpu()] = from_digits(digits).T
            multimodal_embeddings = [rows[:, :-DIGITS] for rows in multimodal_embeddings]
        embedded: Tensor = super().embed_input_ids(input_ids, multimodal_embeddings, is_multimodal=is_multimodal)  # type: ignore[misc]
        return embedded

    def forward(
        self,
        input_ids: Any,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The language model, kept tokens at their own positions."""
        if inputs_embeds is not None and self.filled:
            positions = positions + self.moved[:, : positions.shape[1]].to(positions.device)
        return super().forward(input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs)  # type: ignore[misc]


def _alike(items: Sequence[ImageTiles]) -> dict[tuple[str, Size], list[int]]:
    """The numbers of the items of one spec and one size, which are selected in one batch."""
    found: dict[tuple[str, Size], list[int]] = {}
    for number, item in enumerate(items):
        found.setdefault((item.spec, item.size), []).append(number)
    return found
