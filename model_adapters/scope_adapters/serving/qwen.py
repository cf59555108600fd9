"""The sizing of prompts that all pruned Qwen-VL models of vLLM share. Imported by vLLM alone, in its processes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.multimodal.processing import PromptReplacement, PromptUpdateDetails

from scope_adapters.serving.geometry import Size
from scope_adapters.serving.grids import GridGeometry
from scope_adapters.serving.places import MOST
from scope_adapters.serving.processing import MEDIA, Medium, PrunedInfo, PrunedProcessor
from scope_adapters.serving.served import KEY
from scope_adapters.serving.sizes import IMAGE, VIDEO
from scope_adapters.serving.touch_points import check

check()

STAMPS = "visual_pruner_stamps"
"""Name of a tensor beside the pixels of each video: ids of the text tokens among its frames, in Qwen3-VL."""
SECONDS = "second_per_grid_ts"
"""vLLM's name of the seconds between a video's frames, in Qwen2.5-VL."""


class PrunedGridInfo(PrunedInfo):
    """Mixin for vLLM's processing info: images and videos, sized by the processor's grid."""

    def get_num_image_tokens(self, *, image_width: int, image_height: int, **options: Any) -> int:
        """The number of placeholders of an image under the engine's spec."""
        seen, _ = self._get_vision_info(image_width=image_width, image_height=image_height, **options)  # type: ignore[attr-defined]
        return self.served.check_rows(self.served.default, (seen.height, seen.width))

    def get_image_size_with_most_features(self, *arguments: Any, **named: Any) -> Any:
        """The largest image that the processor makes, as vLLM finds it."""
        return super(PrunedInfo, self).get_image_size_with_most_features(*arguments, **named)  # type: ignore[misc]

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Of an image with pruning, and of a video without: how long a video may be is up to vLLM."""
        found = {}
        if IMAGE in self.served.media:
            found[IMAGE] = self.get_max_image_tokens()  # type: ignore[attr-defined]
        if VIDEO in self.served.media:
            found[VIDEO] = self.get_max_video_tokens(seq_len, mm_counts)  # type: ignore[attr-defined]
        return found


class PrunedGridProcessor(PrunedProcessor):
    """Mixin for vLLM's processor: sizes come from grids."""

    def _sizes(self, medium: Medium, mm_items: Any, out: Any) -> Sequence[Size]:
        geometry: Any = self.info.served.geometry(self.info.served.default)
        return sizes_of(geometry, medium, out)

    def _pixels(self, medium: Medium, out: Any) -> Sequence[Tensor]:
        return torch.split(out[medium.pixels], out[medium.grid].prod(-1).tolist())

    def _check_pixels(self, medium: Medium, out: Any, number: int, size: Size) -> None:
        """Refuse a video whose positions do not fit beside its rows; its size comes from the pixels' own grid.

        Raises:
            ValueError: names the video.
        """
        geometry: Any = self.info.served.geometry(self.info.served.default)
        texts = len(self._text(out, number)) if medium.name == VIDEO else 0
        if (reach := geometry.reach(size, texts)) > MOST:
            raise ValueError(
                f"{KEY}: {medium.name} of {geometry.words(size)} takes {reach} positions of the prompt, more than "
                f"{MOST}; give fewer frames"
            )

    def _add(self, medium: Medium, mm_items: Any, out: Any, asked: str) -> None:
        super()._add(medium, mm_items, out, asked)
        texts = [self._text(out, number) for number in range(len(out[medium.grid]))] if medium.name == VIDEO else []
        if any(texts):
            out[STAMPS] = [torch.tensor(text) for text in texts]

    def _text(self, out: Any, number: int) -> list[int]:
        """The ids of the text tokens among the frames of a video."""
        return []

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Mapping[str, object]) -> Any:
        fields = super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs)
        (spec,) = (medium.spec for medium in MEDIA if medium.name == VIDEO)
        return {**fields, STAMPS: fields[spec]}

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        asked = self.info.served.asked(hf_processor_mm_kwargs.get(KEY))
        return [
            PromptReplacement(
                modality=medium.name,
                target=self._target(medium),
                replacement=functools.partial(self._placeholders, medium, asked, out_mm_kwargs),
            )
            for medium in MEDIA
            if medium.name in self.info.served.media
        ]

    def _target(self, medium: Medium) -> list[int]:
        """The ids that stand for an item in the prompt before it is processed."""
        return [getattr(self.info.get_hf_config(), f"{medium.name}_token_id")]

    def _placeholders(self, medium: Medium, asked: str, items: Any, number: int) -> Any:
        item, config = items[medium.name][number], self.info.get_hf_config()
        geometry: Any = self.info.served.geometry(asked)
        if medium.pixels not in item:
            raise ValueError(f"{KEY}: {medium.name} embeddings are not served for {geometry.host}; send {medium.name}s")
        rows = self.info.served.check_rows(asked, size_of(geometry, medium.name, item))
        tokens = [int(getattr(config, f"{medium.name}_token_id"))] * rows
        if STAMPS not in item:
            return tokens
        # where they stand among the text follows from the selection: all of them are rows of the video
        text = item[STAMPS].data.tolist()
        first = text.index(config.vision_end_token_id)
        return PromptUpdateDetails.from_seq([*text[:first], *tokens, *text[first:]])


def size_of(geometry: GridGeometry, name: str, item: Any) -> Size:
    """The size of an item, from its fields in vLLM."""
    seconds = item.get(SECONDS) if geometry.timed else None
    grid = item[f"{name}_grid_thw"].data.tolist()
    return geometry.size(grid, name, None if seconds is None else float(seconds.data))


def sizes_of(geometry: GridGeometry, medium: Medium, given: Mapping[str, Any]) -> list[Size]:
    """The sizes of a batch's items, from the processor's output or the worker's input."""
    grids, seconds = given[medium.grid].tolist(), given.get(SECONDS) if geometry.timed else None
    timed = medium.name == VIDEO and seconds is not None
    every = torch.as_tensor(seconds).flatten().tolist() if timed else [None] * len(grids)
    return [geometry.size(grid, medium.name, step) for grid, step in zip(grids, every, strict=True)]
