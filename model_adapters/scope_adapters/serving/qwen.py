"""The part that all pruned Qwen-VL models of vLLM share. Imported by vLLM alone, in its processes.

Kept tokens keep their (time, row, column) positions of the full prompt, as on Hugging Face. They are known only after
the encoder, while vLLM numbers the prompt before. So the prompt's numbering gives all tokens of an image the position
of its first one; the row and column travel as extra columns beside each row of features, through vLLM's caches, and
are added when the language model runs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from vllm.multimodal.processing import PromptReplacement

from scope_adapters.serving import metrics, packed, receipts, strict, worker
from scope_adapters.serving.geometry import Size
from scope_adapters.serving.grids import BASE, DIGITS, GridGeometry
from scope_adapters.serving.group import Group
from scope_adapters.serving.processing import FIELD, PrunedInfo, PrunedProcessor
from scope_adapters.serving.served import KEY, Served
from scope_adapters.serving.touch_points import check
from scope_adapters.serving.worker import ImageTiles, batches, count
from scope_core import AttachError, SpecError

check()


class PrunedGridInfo(PrunedInfo):
    """Mixin for vLLM's processing info: images only, sized by the processor's grid."""

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Images; videos are not served."""
        return {"image": None}

    def get_num_image_tokens(self, *, image_width: int, image_height: int, **options: Any) -> int:
        """The number of placeholders of an image under the engine's spec."""
        seen, _ = self._get_vision_info(image_width=image_width, image_height=image_height, **options)  # type: ignore[attr-defined]
        return self.served.check_rows(self.served.default, (seen.height, seen.width))

    def get_image_size_with_most_features(self, *arguments: Any, **named: Any) -> Any:
        """The largest image that the processor makes, as vLLM finds it."""
        return super(PrunedInfo, self).get_image_size_with_most_features(*arguments, **named)  # type: ignore[misc]


class PrunedGridProcessor(PrunedProcessor):
    """Mixin for vLLM's processor: sizes of images come from their grids."""

    def _image_sizes(self, mm_items: Any, out: Any) -> list[Size]:
        geometry = self.info.served.geometry(self.info.served.default)
        return [geometry.size(grid) for grid in out["image_grid_thw"].tolist()]

    def _pixels(self, out: Any) -> Sequence[Tensor]:
        return torch.split(out["pixel_values"], out["image_grid_thw"].prod(-1).tolist())

    def _check_pixels(self, out: Any, number: int, size: Size) -> None:
        """Nothing: the size comes from the pixels' own grid."""

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        served, token = self.info.served, self.info.get_hf_config().image_token_id
        asked = served.asked(hf_processor_mm_kwargs.get(KEY))
        geometry = served.geometry(asked)

        def placeholders(number: int) -> list[int]:
            item = out_mm_kwargs["image"][number]
            if "pixel_values" not in item:
                raise ValueError(f"{KEY}: image embeddings are not served for {geometry.host}; send images")
            return [token] * served.check_rows(asked, geometry.size(item["image_grid_thw"].data.tolist()))

        return [PromptReplacement(modality="image", target=[token], replacement=placeholders)]


class PrunedGridModel:
    """Mixin for vLLM's class of a model."""

    config: Any
    visual: Any
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
        self.served = Served(self.config)
        self.served.rehearse()
        self.batched_tokens = int(vllm_config.scheduler_config.max_num_batched_tokens)
        self.width = int(self.config.get_text_config().hidden_size)
        self.moved = torch.zeros(3, self.batched_tokens + 1, dtype=torch.int64)
        self.filled = 0

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """(R_i, D + `DIGITS`) per image: rows for the language model, and their places in the image's grid."""
        specs, keys = kwargs.pop(FIELD, None), kwargs.pop(strict.FIELD, None)
        given = self._parse_and_validate_image_input(**kwargs)  # type: ignore[attr-defined]
        if given is None:
            return []
        if specs is None:
            raise AttachError(f"images came without '{FIELD}', so the prompt was not sized by the pruner's processor")
        grids = given["image_grid_thw"].tolist()
        geometry: Any = self.served.geometry(self.served.default)
        pixels = torch.split(given["pixel_values"], given["image_grid_thw"].prod(-1).tolist())
        texts = [bytes(spec.tolist()).decode() for spec in specs]
        images = [
            ImageTiles(part, geometry.size(grid), text) for part, grid, text in zip(pixels, grids, texts, strict=True)
        ]
        if keys is not None:
            images = [replace(image, key=bytes(key.tolist())) for image, key in zip(images, keys, strict=True)]
        calls = {text: receipts.Call() for text in texts}
        folder = str(getattr(self.config, metrics.KEY, ""))
        rows: list[Tensor] = []
        start = time.perf_counter()
        with torch.no_grad():
            for batch in batches(images, self.batched_tokens * geometry.block**2):  # as much as without pruning
                rows += self._encode(batch, geometry, calls, folder)
        count(self.served, calls, folder, start, rows)
        return rows

    def _encode(
        self, images: Sequence[ImageTiles], geometry: GridGeometry, calls: Mapping[str, receipts.Call], folder: str
    ) -> list[Tensor]:
        block = geometry.block
        grids = [[1, *(block * side // geometry.side for side in image.size)] for image in images]
        needs = frozenset[str]().union(*(self.served.pruner(image.spec).needs for image in images))
        metadata = self.visual.prepare_encoder_metadata(grids)
        with packed.watch(self.visual, geometry.packed, needs, grids, metadata, geometry.heads) as capture:
            tiles = torch.cat([image.tiles for image in images])
            out = self.visual(tiles, grid_thw=grids, encoder_metadata=metadata)
        vision = capture.seen[packed.MERGER].view(len(out), block**2, -1).float().mean(1).to(out.dtype)
        if "reverse_indices" in metadata:  # the tower orders tokens by windows, up to its merger
            vision = vision[metadata["reverse_indices"].to(vision.device)]
        counts = [rows * cols // block**2 for _, rows, cols in grids]
        before, after = torch.split(vision, counts), torch.split(out, counts)
        encoded: dict[int, Tensor] = {}
        for (spec, size), mine in _alike(images).items():
            pruner = self.served.pruner(spec)
            group = Group(self.served.geometry(spec), pruner, [size] * len(mine))
            rows = torch.stack([after[number] for number in mine])
            projected = rows[..., : self.width]  # without DeepStack's features
            read = packed.signals(replace(capture, dtype=pruner.dtype), pruner.needs, counts, mine)
            read |= {"projected": projected} if "projected" in pruner.needs else {}
            features = projected if pruner.spec.at == "projected" else torch.stack([before[number] for number in mine])
            same = [images[number] for number in mine]
            kept, order = worker.agreed(group, same, features, read, calls[spec], folder, rows)
            encoded.update(zip(mine, torch.split(kept[order], group.promised), strict=True))
        return [encoded[number] for number in range(len(images))]

    def get_mrope_input_positions(self, input_tokens: Sequence[int], mm_features: Any) -> tuple[Tensor, int]:
        """(3, L) positions of the full prompt, an image's tokens all at its first; and the next one less the length."""
        parts, done, start = [], 0, 0
        geometry: Any = self.served.geometry(self.served.default)
        for feature in sorted(mm_features, key=lambda feature: feature.mm_position.offset):
            offset, length = feature.mm_position.offset, feature.mm_position.length
            height, width = geometry.size(feature.data["image_grid_thw"].data.tolist())
            parts += [torch.arange(offset - done) + start]
            start += offset - done
            parts += [torch.full((length,), start)]
            start += max(height, width) // geometry.side
            done = offset + length
        rest = len(input_tokens) - done
        parts.append(torch.arange(rest) + start)
        return torch.cat(parts).expand(3, -1).clone(), start + rest - len(input_tokens)

    def embed_input_ids(
        self, input_ids: Tensor, multimodal_embeddings: Any = None, *, is_multimodal: Tensor | None = None
    ) -> Tensor:
        """Embeddings of the tokens of a step; the places of image tokens are noted for `forward`."""
        self.moved[:, : max(self.filled, len(input_ids))] = 0
        self.filled = 0
        if multimodal_embeddings is not None and len(multimodal_embeddings) and is_multimodal is not None:
            self.filled = len(input_ids)
            digits = torch.cat([rows[:, -DIGITS:] for rows in multimodal_embeddings]).long().cpu()
            places = digits[:, :2] * BASE + digits[:, 2:]
            steps = self.moved[:, : len(input_ids)]
            steps[1:, is_multimodal.cpu()] = places.T
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
        """The language model, image tokens at their own positions."""
        if inputs_embeds is not None and self.filled:
            positions = positions + self.moved[:, : positions.shape[1]].to(positions.device)
        return super().forward(input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs)  # type: ignore[misc]


def _alike(images: Sequence[ImageTiles]) -> dict[tuple[str, Size], list[int]]:
    """The numbers of the images of one spec and one size, which are selected in one batch."""
    found: dict[tuple[str, Size], list[int]] = {}
    for number, image in enumerate(images):
        found.setdefault((image.spec, image.size), []).append(number)
    return found
