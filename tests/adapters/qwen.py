"""Tiny Qwen-VL models with random weights, and prompts with images of unequal sizes. Nothing is read from disk."""

from __future__ import annotations

import copy
import functools
import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import offers
import pytest
import torch
import transformers as hf
from torch import Tensor

from adapters.installed import rope, takes_token_types, tower_rows, with_attention
from adapters.models import VOCABULARY, _draw

PLACEHOLDER, VIDEO, START, END = 150, 151, 152, 153
PATCH = 7
qwen3_vl = offers.transformers_class("Qwen3VLForConditionalGeneration")
MODELS = ("qwen2_vl", "qwen2_5_vl", pytest.param("qwen3_vl", marks=qwen3_vl))
"""Every test of a file runs on these; the further ones of `MORE` go through the conformance kit."""
CLASSES = {
    "qwen2_vl": "Qwen2VL",
    "qwen2_5_vl": "Qwen2_5_VL",
    "qwen3_vl": "Qwen3VL",
    "qwen3_vl_moe": "Qwen3VLMoe",
    "qwen3_5": "Qwen3_5",
    "qwen3_5_moe": "Qwen3_5Moe",
}
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
RECURRENT: dict[str, Any] = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    "rope_parameters": {
        "rope_type": "default",
        "mrope_section": [1, 1, 0],
        "rope_theta": 1e4,
        "partial_rotary_factor": 0.25,
    },
}
MORE: dict[str, dict[str, Any]] = {
    "qwen3_vl_moe": {**EXPERTS, "decoder_sparse_step": 1},
    "qwen3_5": RECURRENT,
    "qwen3_5_moe": {**RECURRENT, **EXPERTS, "shared_expert_intermediate_size": 32},
}
"""Options of further language models."""


def mark(name: str) -> pytest.MarkDecorator:
    """Skip where the installed transformers has no such model."""
    return offers.transformers_class(f"{CLASSES[name]}ForConditionalGeneration")


READ = {"qwen2_vl": 2, "qwen2_5_vl": 1, "qwen3_vl": 2}
"""The layer, from 0, that layer -2 of received attention means: the last but one that sees whole images."""


def qwen(name: str, *, attention: str = "sdpa", dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """A model in eval mode. Windows of Qwen2.5 are 2 x 2 tokens; Qwen3 adds features of two earlier layers."""
    made, texts, kind = (
        getattr(hf, CLASSES[name] + suffix) for suffix in ("Config", "TextConfig", "ForConditionalGeneration")
    )
    text = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": VOCABULARY,
        **rope(texts, rope_type="default", mrope_section=[2, 3, 3], rope_theta=1e4),
        "bos_token_id": 1,
        "eos_token_id": None,
        "pad_token_id": 0,
        "max_position_embeddings": 512,
        **MORE.get(name, {}),
    }
    vision: dict[str, Any] = {
        "depth": 4,
        "num_heads": 2,
        "patch_size": PATCH,
        "temporal_patch_size": 2,
        "hidden_size": 32,
    }
    if name == "qwen2_vl":
        vision |= {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
    elif name == "qwen2_5_vl":
        vision |= {
            "intermediate_size": 64,
            "out_hidden_size": 64,
            "window_size": 4 * PATCH,
            "fullatt_block_indexes": [1, 3],
        }
    else:
        vision |= {
            "intermediate_size": 64,
            "out_hidden_size": 64,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 2],
        }
    config = made(
        text_config=text,
        vision_config=vision,
        image_token_id=PLACEHOLDER,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind._from_config(config, attn_implementation=attention)
    _draw(model, seed)
    model.model.visual.patch_embed.proj.weight.data /= (3 * 2 * PATCH * PATCH) ** 0.5
    banned = [PLACEHOLDER, VIDEO, START, END]
    for option, value in {"eos_token_id": None, "pad_token_id": 0, "suppress_tokens": banned}.items():
        setattr(model.generation_config, option, value)
    return model.to(dtype).eval()


@functools.cache
def shared(name: str) -> Any:
    """One of `MODELS`, built once; whoever changes it puts it back."""
    return qwen(name)


@dataclass(frozen=True)
class Prompts:
    """Prompts with images, padded.

    Attributes:
        ids: (B, L) token ids.
        mask: (B, L) attention mask.
        pixels: (patches of all images, values of a patch).
        grids: (images, 3) patches in time, height and width.
        images: Images in each row.
        frames: (patches of all videos, values of a patch).
        video_grids: (videos, 3) patches in time, height and width.
        videos: Videos in each row; none if left out.
    """

    ids: Tensor
    mask: Tensor
    pixels: Tensor
    grids: Tensor
    images: tuple[int, ...]
    frames: Tensor = field(default_factory=lambda: torch.empty(0))
    video_grids: Tensor = field(default_factory=lambda: torch.empty(0, 3, dtype=torch.int64))
    videos: tuple[int, ...] = ()

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of ``generate`` and ``forward``, as the processor makes them."""
        given = {"input_ids": self.ids, "attention_mask": self.mask}
        if takes_token_types(hf.Qwen2VLForConditionalGeneration):
            given["mm_token_type_ids"] = (self.ids == PLACEHOLDER).int() + 2 * (self.ids == VIDEO).int()
        if len(self.grids):
            given |= {"pixel_values": self.pixels, "image_grid_thw": self.grids}
        if len(self.video_grids):
            given |= {"pixel_values_videos": self.frames, "video_grid_thw": self.video_grids}
        return given

    @property
    def length(self) -> int:
        """L."""
        return self.ids.shape[1]

    @property
    def tokens(self) -> list[int]:
        """Placeholders of each image."""
        return (self.grids.prod(-1) // 4).tolist()

    def row(self, number: int) -> Prompts:
        """One prompt alone, without padding."""
        real, take = self.mask[number].bool(), slice(number, number + 1)
        given = [self.ids[take, real], self.mask[take, real]]
        kinds = [(self.pixels, self.grids, self.images)]
        kinds += [(self.frames, self.video_grids, self.videos)] if self.videos else []
        for values, grids, counts in kinds:
            starts = [0, *grids.prod(-1).cumsum(0).tolist()]
            owned = slice(sum(counts[:number]), sum(counts[: number + 1]))
            given += [values[starts[owned.start] : starts[owned.stop]], grids[owned], (counts[number],)]
        return Prompts(*given)

    def owned(self, number: int) -> slice:
        """The images of a row."""
        first = sum(self.images[:number])
        return slice(first, first + self.images[number])


def prompts(
    *rows: Sequence[int | tuple[int, ...]],
    side: str = "left",
    seed: int = 1,
    dtype: torch.dtype = torch.float32,
    stamped: bool = False,
) -> Prompts:
    """Prompts from recipes: ``[3, (4, 6), 4]`` is three text tokens, an image of 4 x 6 patches, four text tokens.

    ``(2, 4, 6)`` is a video of two frames; ``stamped`` for a time of two tokens before each, as in Qwen3-VL.
    """
    generator = torch.Generator().manual_seed(seed)
    made: list[list[int]] = []
    pieces = [[piece for piece in row if isinstance(piece, tuple)] for row in rows]
    grids = [(1, *piece) for row in pieces for piece in row if len(piece) == 2]
    moving = [piece for row in pieces for piece in row if len(piece) == 3]
    for row in rows:
        ids = [1]
        for piece in row:
            if isinstance(piece, tuple) and len(piece) == 3 and stamped:
                for frame in range(piece[0]):
                    ids += [120, 130 + frame, START, *[VIDEO] * (piece[1] * piece[2] // 4), END]
            elif isinstance(piece, tuple):
                ids += [START, *[VIDEO if len(piece) == 3 else PLACEHOLDER] * (math.prod(piece) // 4), END]
            else:
                ids += torch.randint(10, 140, (piece,), generator=generator).tolist()
        made.append(ids)
    longest = max(map(len, made))
    full = torch.zeros(len(made), longest, dtype=torch.int64)
    mask = full.clone()
    for number, ids in enumerate(made):
        where = slice(longest - len(ids), None) if side == "left" else slice(0, len(ids))
        full[number, where], mask[number, where] = torch.tensor(ids), 1
    grid = torch.tensor(grids, dtype=torch.int64).view(-1, 3)
    pixels = torch.randn(int(grid.prod(-1).sum()), 3 * 2 * PATCH * PATCH, generator=generator).to(dtype)
    images = tuple(sum(len(piece) == 2 for piece in row) for row in pieces)
    if not moving:
        return Prompts(full, mask, pixels, grid, images)
    video = torch.tensor(moving, dtype=torch.int64)
    frames = torch.randn(int(video.prod(-1).sum()), 3 * 2 * PATCH * PATCH, generator=generator).to(dtype)
    videos = tuple(sum(len(piece) == 3 for piece in row) for row in pieces)
    return Prompts(full, mask, pixels, grid, images, frames, video, videos)


ONE = ([3, (6, 10), 4],)
MIXED = ([3, (6, 10), 4], [6], [2, (4, 8), 1, (6, 4), 5])
"""Recipes: a single prompt, and a ragged batch with a prompt that has no image. No image is of whole windows."""


@dataclass(frozen=True)
class Watched:
    """What the tower did, seen from outside with eager attention; one entry per image, tokens in the prompt's order.

    Attributes:
        hidden: By layer (0 is the first): (N, D) mean of each token's four patches.
        keys: By layer: (H, N, C) mean of the keys of each token's four patches, before the rotary embedding.
        received: By layer: (H, N) attention received, mean over the image's patches, summed over each token's four.
            Only layers that attend within whole images are here.
    """

    hidden: list[dict[int, Tensor]]
    keys: list[dict[int, Tensor]]
    received: list[dict[int, Tensor]]


def watch(model: Any, given: Prompts) -> Watched:
    """Run the tower of a copy. The order of its tokens is learned by comparing what goes in and out of the merger."""
    if hasattr(model, "set_attn_implementation"):
        twin = copy.deepcopy(model)
        twin.set_attn_implementation("eager")
    else:
        twin = with_attention(model, "eager")
    visual, home = twin.model.visual, sys.modules[type(model).__module__]
    weights: dict[int, list[Tensor]] = {id(block.attn): [] for block in visual.blocks}
    states: dict[int, Tensor] = {}
    fused: dict[int, Tensor] = {}
    merged: list[Tensor] = []
    function, running = (home, "eager_attention_forward"), list[Any]()
    if not hasattr(*function):  # 4.52: one map for all images, masked
        function = (torch.nn.functional, "softmax")
        for block in visual.blocks:
            block.attn.register_forward_pre_hook(lambda module, _, __: running.append(module), with_kwargs=True)
    original = getattr(*function)

    def recorded(first: Any, *args: Any, **kwargs: Any) -> Any:
        output = original(first, *args, **kwargs)
        if running:
            weights[id(running[-1])] += _by_image(output.double(), given)
        else:
            weights[id(first)].append(output[1][0].double())
        return output

    for layer, block in enumerate(visual.blocks):
        block.register_forward_hook(lambda _m, _a, output, layer=layer: states.update({layer: output.double()}))
        block.attn.qkv.register_forward_hook(lambda _m, _a, output, layer=layer: fused.update({layer: output.double()}))
    visual.merger.register_forward_hook(lambda _m, _a, output: merged.append(output))
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(*function, recorded)
        out = tower_rows(visual(given.pixels, grid_thw=given.grids))
    place = torch.cdist(out.double(), merged[-1].double()).argmin(1)  # of each token among the tower's blocks
    assert torch.equal(place.sort().values, torch.arange(len(out)))
    made = Watched([], [], [])
    first = 0
    for number, count in enumerate(given.tokens):
        mine = place[first : first + count]
        made.hidden.append({layer: state.view(-1, 4, state.shape[-1])[mine].mean(1) for layer, state in states.items()})
        by_block = {layer: all_of.view(len(all_of) // 4, 4, 3, 2, -1)[mine, :, 1] for layer, all_of in fused.items()}
        made.keys.append({layer: keys.mean(1).transpose(0, 1) for layer, keys in by_block.items()})
        made.received.append({})
        for layer, block in enumerate(visual.blocks):
            maps = weights[id(block.attn)]
            if [len(m[0]) for m in maps] == [4 * tokens for tokens in given.tokens]:
                columns = maps[number].mean(1)
                made.received[-1][layer] = columns.view(len(columns), -1, 4)[:, mine - first].sum(-1)
        first += count
    return made


def _by_image(attention: Tensor, given: Prompts) -> list[Tensor]:
    """(H, M, M) of each image, from (H, N, N) of all; nothing where attention stayed within windows."""
    ends = [0, *given.grids.prod(-1).cumsum(0).tolist()]
    maps = [attention[:, start:stop, start:stop] for start, stop in itertools.pairwise(ends)]
    return maps if all(bool((image > 0).all()) for image in maps) else []
