"""A small stand-in for the original LLaVA codebase's models, written for these tests from a description of it.

Real transformers modules (Llama, CLIP) in the shape that code has: a tower wrapper, `mm_projector`, images spliced into
embeddings by `prepare_inputs_labels_for_multimodal`. Tests compare it, unpruned, with Hugging Face's own LLaVA models
holding the same weights, so that it proves something about more than itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from adapters.models import VOCABULARY, _draw

IMAGE_TOKEN_INDEX, IGNORE_INDEX = -200, -100
PREPARE = "prepare_inputs_labels_for_multimodal"
CACHE = "cache" if "cache" in inspect.signature(hf.LlamaForCausalLM.forward).parameters else "past_key_values"
"""What transformers calls the cache; the codebase says `past_key_values`, as releases before 5.24 did."""
SIDE, PATCH = 28, 7
PATCHES = (SIDE // PATCH) ** 2
PINPOINTS = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
"""(width, height), as that code has them; Hugging Face's are the other way round."""


class Config(hf.LlamaConfig):
    model_type = "llava_llama"


class Tower(nn.Module):
    """The wrapper around a CLIP tower."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.vision_tower = hf.CLIPVisionModel(hf.CLIPVisionConfig(**config.tower))
        self.select_layer, self.select_feature = config.mm_vision_select_layer, config.mm_vision_select_feature
        self.is_loaded = True

    def picked(self, pictures: Tensor) -> Tensor:
        state = self.vision_tower(pictures, output_hidden_states=True).hidden_states[self.select_layer]
        return state[:, 1:] if self.select_feature == "patch" else state

    def forward(self, images: Any) -> Any:
        return [self.picked(one[None]) for one in images] if isinstance(images, list) else self.picked(images)

    @property
    def config(self) -> Any:
        return self.vision_tower.config

    @property
    def num_patches_per_side(self) -> int:
        return self.config.image_size // self.config.patch_size


class LlavaModel(hf.LlamaModel):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        width, given = config.hidden_size, config.tower["hidden_size"]
        self.vision_tower = [Tower(config)] if config.listed else Tower(config)  # a list under FSDP
        self.mm_projector = nn.Sequential(nn.Linear(given, width), nn.GELU(), nn.Linear(width, width))
        if "unpad" in config.mm_patch_merge_type:
            self.image_newline = nn.Parameter(torch.randn(width))

    def get_vision_tower(self) -> Any:
        return self.vision_tower[0] if isinstance(self.vision_tower, list) else self.vision_tower


class Splicing:
    """What forks share: `features` of all images become embeddings."""

    def prepare_inputs_labels_for_multimodal(
        self, input_ids, position_ids, attention_mask, past_key_values, labels, images, image_sizes=None
    ):
        if images is None or input_ids.shape[1] == 1:
            return input_ids, position_ids, attention_mask, past_key_values, None, labels
        features = iter(self.features(images, image_sizes))
        real = torch.ones_like(input_ids).bool() if attention_mask is None else attention_mask.bool()
        marks = torch.full_like(input_ids, IGNORE_INDEX) if labels is None else labels
        limit = getattr(self.config, "tokenizer_model_max_length", None)
        spliced = []
        for ids, mine, mask in zip(input_ids, marks, real, strict=True):
            ids, mine = ids[mask], mine[mask]
            embeds, own, start = [], [], 0
            for stop in [*(ids == IMAGE_TOKEN_INDEX).nonzero().flatten().tolist(), len(ids)]:
                embeds.append(self.get_input_embeddings()(ids[start:stop]))
                own.append(mine[start:stop])
                if stop < len(ids):
                    embeds.append(next(features))
                    own.append(mine.new_full((len(embeds[-1]),), IGNORE_INDEX))
                start = stop + 1
            if len(embeds) == 1:
                embeds.append(next(features)[:0])  # a prompt without a placeholder takes an image all the same
            spliced.append((torch.cat(embeds)[:limit], torch.cat(own)[:limit]))
        longest = max(len(row) for row, _ in spliced)
        embeds = torch.stack([self.padded(row, longest, 0) for row, _ in spliced])
        made = torch.stack([self.padded(own, longest, IGNORE_INDEX) for _, own in spliced])
        counts = [len(row) for row, _ in spliced]
        mask = torch.stack([self.padded(torch.ones(n, dtype=torch.bool), longest, 0) for n in counts])
        positions = torch.stack([self.padded(torch.arange(n), longest, 0) for n in counts])
        return (
            None,
            None if position_ids is None else positions.to(position_ids),
            None if attention_mask is None else mask.to(attention_mask),
            past_key_values,
            embeds,
            None if labels is None else made,
        )

    def padded(self, row: Tensor, length: int, fill: float) -> Tensor:
        pad = row.new_full((length - len(row), *row.shape[1:]), fill)
        left = getattr(self.config, "tokenizer_padding_side", "right") == "left"
        return torch.cat([pad, row] if left else [row, pad])


class Merging(Splicing):
    """What the codebase mixes into its causal models."""

    def get_vision_tower(self) -> Any:
        return self.get_model().get_vision_tower()

    def encode_images(self, images: Tensor) -> Tensor:
        return self.get_model().mm_projector(self.get_vision_tower()(images))

    def merged(self, tiles: Tensor, size: Any) -> Tensor:
        """(R, D): the overview, then the other tiles put together as one picture."""
        kind = getattr(self.config, "mm_patch_merge_type", "flat")
        if kind == "flat":
            return tiles.flatten(0, 1)
        newline = self.model.image_newline if "unpad" in kind else None
        if len(tiles) == 1:
            return tiles[0] if newline is None else torch.cat([tiles[0], newline[None]])
        side, side_pixels = self.get_vision_tower().num_patches_per_side, self.get_vision_tower().config.image_size
        assert side * side == tiles.shape[1]
        across, down = (length // side_pixels for length in best_canvas(size, self.config.image_grid_pinpoints))
        rest = tiles[1:].view(down, across, side, side, -1)
        if newline is None:
            return torch.cat([tiles[0], rest.permute(0, 2, 1, 3, 4).contiguous().flatten(0, 3)])
        picture = rest.permute(4, 0, 2, 1, 3).contiguous().flatten(1, 2).flatten(2, 3)
        picture = without_border(picture, size)
        ends = newline[:, None, None].expand(*picture.shape[:2], 1)
        return torch.cat([tiles[0], torch.cat([picture, ends], 2).flatten(1, 2).T])

    def features(self, images: Any, sizes: Any) -> Any:
        if not isinstance(images, list) and images.ndim == 4:
            return self.encode_images(images)
        tiles = [image[None] if image.ndim == 3 else image for image in images]
        encoded = self.encode_images(torch.cat(tiles)).split([len(image) for image in tiles])
        return [self.merged(rows, None if sizes is None else sizes[i]) for i, rows in enumerate(encoded)]


class LlavaForCausalLM(hf.LlamaForCausalLM, Merging):
    config_class = Config

    def __init__(self, config: Any) -> None:
        super(hf.LlamaForCausalLM, self).__init__(config)
        self.model = LlavaModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_model(self) -> Any:
        return self.model

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        labels=None, use_cache=None, images=None, image_sizes=None, cache=None, **kwargs,
    ):  # fmt: skip
        past_key_values = cache if past_key_values is None else past_key_values
        if inputs_embeds is None:
            input_ids, position_ids, attention_mask, past_key_values, inputs_embeds, labels = (
                self.prepare_inputs_labels_for_multimodal(
                    input_ids, position_ids, attention_mask, past_key_values, labels, images, image_sizes
                )
            )
        return super().forward(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, labels=labels,
            inputs_embeds=inputs_embeds, use_cache=use_cache, **{CACHE: past_key_values}, **kwargs,
        )  # fmt: skip

    @torch.no_grad()
    def generate(self, inputs=None, images=None, image_sizes=None, **kwargs):
        positions, mask = kwargs.pop("position_ids", None), kwargs.pop("attention_mask", None)
        if images is None:
            embeds = self.get_model().embed_tokens(inputs)
        else:
            _, positions, mask, _, embeds, _ = self.prepare_inputs_labels_for_multimodal(
                inputs, positions, mask, None, None, images, image_sizes=image_sizes
            )
        return super().generate(position_ids=positions, attention_mask=mask, inputs_embeds=embeds, **kwargs)


def best_canvas(size: Sequence[int], pinpoints: Sequence[Sequence[int]]) -> Sequence[int]:
    """(width, height) of the canvas that shows most of a picture, and of those the one with least to spare."""
    width, height = size

    def worth(canvas: Sequence[int]) -> tuple[int, int]:
        scale = min(canvas[0] / width, canvas[1] / height)
        shown = min(int(width * scale) * int(height * scale), width * height)
        return shown, -(canvas[0] * canvas[1] - shown)

    return max(pinpoints, key=worth)


def without_border(picture: Tensor, size: Sequence[int]) -> Tensor:
    """(D, rows, columns) without the rows or columns that only hold padding."""
    (width, height), (rows, columns) = size, picture.shape[1:]
    if width / height > columns / rows:
        spare = (rows - int(height * (columns / width))) // 2
        return picture[:, spare : rows - spare]
    spare = (columns - int(width * (rows / height))) // 2
    return picture[:, :, spare : columns - spare]


KINDS: dict[str, dict[str, Any]] = {
    "1.5": {},
    "1.5 cls": {"mm_vision_select_feature": "cls_patch"},
    "1.5 last layer": {"mm_vision_select_layer": -1},
    "1.6": {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad"},
    "1.6 padded": {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial"},
    "flat": {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "flat"},
}


@functools.cache
def shared(kind: str, *, listed: bool = False, dtype: torch.dtype = torch.float32) -> LlavaForCausalLM:
    """One of `KINDS`, built once; whoever changes it puts it back."""
    options = {
        "image_aspect_ratio": "pad", "mm_patch_merge_type": "flat", "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch", "image_grid_pinpoints": PINPOINTS, "tokenizer_padding_side": "left",
        "tokenizer_model_max_length": 2048, "listed": listed, **KINDS[kind],
    }  # fmt: skip
    tower = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
        "image_size": SIDE, "patch_size": PATCH,
    }  # fmt: skip
    config = Config(
        hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=VOCABULARY, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=None,
        tower=tower, **options,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForCausalLM(config)
    _draw(model, 0)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
    return model.to(dtype).eval()


@dataclass(frozen=True)
class Prompts:
    """Prompts with one placeholder per image, padded.

    Attributes:
        ids: (B, L).
        mask: (B, L).
        images: What the model is given: (n, 3, H, W), or a list of (t, 3, H, W).
        sizes: (width, height) of each image.
        owners: Row of each image, those without a placeholder included.
    """

    ids: Tensor
    mask: Tensor
    images: Any
    sizes: list[tuple[int, int]]
    owners: list[int] = field(default_factory=list)

    @property
    def inputs(self) -> dict[str, Any]:
        return {"attention_mask": self.mask, "images": self.images, "image_sizes": self.sizes}

    def row(self, number: int) -> Prompts:
        """One prompt alone, without padding."""
        real, own = self.mask[number].bool(), [i for i, row in enumerate(self.owners) if row == number]
        images = [self.images[i] for i in own]
        images = images if isinstance(self.images, list) else torch.stack(images)
        ids, mask = self.ids[number : number + 1, real], self.mask[number : number + 1, real]
        return Prompts(ids, mask, images, [self.sizes[i] for i in own], [0] * len(own))


def prompts(kind: str, *rows: Sequence[Any], side: str = "left", dtype: torch.dtype = torch.float32) -> Prompts:
    """Rows of numbers (that many words) and (width, height) sizes (an image); a row without images takes one too."""
    generator = torch.Generator().manual_seed(7)
    made, sizes, owners = [], [], []
    for number, row in enumerate(rows):
        ids = [1]
        for piece in row:
            image = isinstance(piece, tuple)
            words = torch.randint(10, 140, (1 if image else piece,), generator=generator).tolist()
            ids += [IMAGE_TOKEN_INDEX] if image else words
        own = [piece for piece in row if isinstance(piece, tuple)] or [(28, 28)]
        sizes += own
        owners += [number] * len(own)
        made.append(ids)
    longest = max(map(len, made))
    padded = [([0] * (longest - len(ids)), ids, [0] * (longest - len(ids)), [1] * len(ids)) for ids in made]
    left = side == "left"
    full = [pad + ids if left else ids + pad for pad, ids, _, _ in padded]
    mask = [off + on if left else on + off for _, _, off, on in padded]
    tiled = "anyres" in KINDS[kind].get("image_aspect_ratio", "")
    counts = [tile_count(size) if tiled else 1 for size in sizes]
    pictures = [torch.randn(count, 3, SIDE, SIDE, generator=generator).to(dtype) for count in counts]
    images = pictures if tiled else torch.cat(pictures)
    return Prompts(torch.tensor(full), torch.tensor(mask), images, sizes, owners)


def tile_count(size: tuple[int, int]) -> int:
    """The overview and the tiles of the best canvas."""
    width, height = best_canvas(size, PINPOINTS)
    return 1 + (width // SIDE) * (height // SIDE)
