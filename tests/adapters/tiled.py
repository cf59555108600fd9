"""Tiny models of further families with random weights, and prompts for them. Nothing is read from disk.

What a pruned one has to compute is done by hand beside it, from attention maps of the same weights and plain loops.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import oracles
import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from adapters.installed import feature_layers, features_of, mixes_up_beams, tower_layers, wants_ids_beside_embeddings
from adapters.models import LAYERS, PLACEHOLDER, VOCABULARY, _draw, eager, settle

OPEN, CLOSE, TAG = 151, 152, 153
"""Marks that processors put around images; crop c of Idefics has tag TAG + 1 + c, the overview TAG."""
SIDE = 42
"""42 x 42 pixels in patches of 7: a grid of 6 x 6."""
PAD = 0

Row = Sequence[int | str]


def _text(config: type, **options: Any) -> Any:
    return config(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        vocab_size=VOCABULARY,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=None,
        max_position_embeddings=512,
        **{"num_key_value_heads": 2, **options},
    )


def _vision(**options: Any) -> dict[str, Any]:
    size = {"image_size": SIDE, "patch_size": 7, **options}
    return {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 4, **size}


def _siglip() -> Any:
    return hf.SiglipVisionConfig(**_vision(), vision_use_head=False)


def _vipllava(**options: Any) -> Any:
    given = {feature_layers(hf.VipLlavaConfig): [-2, -3, 1], **options}
    vision = hf.CLIPVisionConfig(**_vision())
    config = hf.VipLlavaConfig(
        vision_config=vision, text_config=_text(hf.LlamaConfig), image_token_id=PLACEHOLDER, **given
    )
    return hf.VipLlavaForConditionalGeneration, config


def _paligemma(second: bool = False) -> Any:
    text = _text(
        hf.Gemma2Config if second else hf.GemmaConfig, head_dim=16, **({"sliding_window": 8} if second else {})
    )
    config = hf.PaliGemmaConfig(
        vision_config=_siglip(), text_config=text, image_token_index=PLACEHOLDER, projection_dim=64
    )
    return hf.PaliGemmaForConditionalGeneration, config


def _gemma3(window: int = 4096) -> Any:
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    text = _text(hf.Gemma3TextConfig, head_dim=16, sliding_window=window, layer_types=types)
    config = hf.Gemma3Config(
        vision_config=_siglip(),
        text_config=text,
        image_token_index=PLACEHOLDER,
        boi_token_index=OPEN,
        eoi_token_index=CLOSE,
        mm_tokens_per_image=9,
    )
    return hf.Gemma3ForConditionalGeneration, config


def _internvl(layer: int = -1, **options: Any) -> Any:
    vision = hf.InternVLVisionConfig(
        **_vision(image_size=[SIDE, SIDE], patch_size=[7, 7]), layer_scale_init_value=1.0, **options
    )
    config = hf.InternVLConfig(
        vision_config=vision,
        text_config=_text(hf.Qwen2Config),
        image_token_id=PLACEHOLDER,
        image_seq_length=9,
        vision_feature_layer=layer,
    )
    return hf.InternVLForConditionalGeneration, config


def _idefics(name: str, scale: int = 2) -> Any:
    config = getattr(hf, f"{name}Config")(
        vision_config=_vision(), text_config=_text(hf.LlamaConfig), image_token_id=PLACEHOLDER, scale_factor=scale
    )
    return getattr(hf, f"{name}ForConditionalGeneration"), config


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        build: Makes its class and config.
        square: Patches along a side of one token.
        tower: Attribute of the base model that holds the tower.
        cls: Whether the tower has a CLS token.
        frame: What a processor makes of an image: one list of ids per tile, placeholders included.
        tiled: Whether images may have several tiles.
        attention: Attention implementation.
        extra: Further per-token tensors, made from (ids, mask).
    """

    build: Callable[[], Any]
    square: int = 1
    tower: str = "vision_tower"
    cls: bool = False
    frame: str = "bare"
    tiled: bool = False
    attention: str = "sdpa"
    extra: dict[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of one tile."""
        return (SIDE // 7 // self.square) ** 2

    @property
    def saliency(self) -> str:
        """SCOPE's own saliency, or what stands in for it."""
        return "cls_attention" if self.cls else "received_attention"


@functools.cache
def reads_inner_layers() -> bool:
    """Whether InternVL of the installed transformers can read other layers of its tower than the last: 4.57 cannot."""
    kind, config = _internvl(-2)
    with torch.random.fork_rng():
        model = kind(config).model
    try:
        features_of(type("Head", (), {"model": model, "config": config}), pixel_values=torch.zeros(1, 3, SIDE, SIDE))
    except (AttributeError, TypeError):
        return False
    return True


_ZEROS = {"token_type_ids": lambda ids, mask: torch.zeros_like(ids)}
_SUFFIX = {"token_type_ids": lambda ids, mask: (torch.arange(ids.shape[1]) >= ids.shape[1] - 2).long().expand_as(ids)}
_IMAGES = {"token_type_ids": lambda ids, mask: (ids == PLACEHOLDER).long()}

FAMILIES: dict[str, Family] = {
    "vipllava": Family(_vipllava, cls=True),
    "vipllava-one-layer": Family(lambda: _vipllava(**{feature_layers(hf.VipLlavaConfig): -2}), cls=True),
    "paligemma": Family(_paligemma, extra=_ZEROS),
    "paligemma-suffix": Family(_paligemma, extra=_SUFFIX),
    "paligemma-causal": Family(_paligemma),
    "paligemma2": Family(lambda: _paligemma(True), attention="eager", extra=_ZEROS),
    "internvl": Family(_internvl, 2, cls=True, frame="marks", tiled=True),
    "internvl-norms": Family(
        lambda: _internvl(-2 if reads_inner_layers() else -1, use_qk_norm=True, norm_type="rms_norm"),
        2,
        cls=True,
        frame="marks",
        tiled=True,
    ),
    "internvl-eager": Family(_internvl, 2, cls=True, frame="marks", tiled=True, attention="eager"),
    "idefics3": Family(lambda: _idefics("Idefics3"), 2, "vision_model", frame="crops", tiled=True),
    "idefics3-of-three": Family(lambda: _idefics("Idefics3", 3), 3, "vision_model", frame="crops", tiled=True),
    "smolvlm": Family(lambda: _idefics("SmolVLM"), 2, "vision_model", frame="crops", tiled=True),
    "smolvlm-eager": Family(
        lambda: _idefics("SmolVLM"), 2, "vision_model", frame="crops", tiled=True, attention="eager"
    ),
    "gemma3": Family(_gemma3, 2, frame="marks", extra=_IMAGES),
    "gemma3-narrow": Family(lambda: _gemma3(12), 2, frame="marks", extra=_IMAGES),
    "gemma3-causal": Family(_gemma3, 2, frame="marks"),
}


@functools.cache
def shared(name: str) -> Any:
    """The model of a family, built once; whoever changes it puts it back."""
    kind, config = FAMILIES[name].build()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind._from_config(config, attn_implementation=FAMILIES[name].attention)
    _draw(model, 0)
    settle(model)
    return model.eval()


@dataclass(frozen=True)
class Prompts:
    """Prompts with images, padded on the left.

    Attributes:
        ids: (B, L) token ids.
        mask: (B, L) attention mask.
        tiles: Per prompt, per image, its (T, 3, H, W) tiles.
        family: Whose prompts they are.
    """

    ids: Tensor
    mask: Tensor
    tiles: list[list[Tensor]]
    family: Family

    @property
    def images(self) -> list[Tensor]:
        """All images in placeholder order."""
        return [image for row in self.tiles for image in row]

    @property
    def counts(self) -> list[int]:
        """Tokens of each image."""
        return [len(image) * self.family.tokens for image in self.images]

    @property
    def owners(self) -> list[int]:
        """The prompt of each image."""
        return [row for row, images in enumerate(self.tiles) for _ in images]

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of ``generate`` and ``forward``."""
        extra = {name: make(self.ids, self.mask) for name, make in self.family.extra.items()}
        given = {"input_ids": self.ids, "attention_mask": self.mask, **extra}
        return {**given, **self.pictures} if self.images else given

    @property
    def pictures(self) -> dict[str, Tensor]:
        """The image arguments alone."""
        if self.family.frame != "crops":
            return {"pixel_values": torch.cat(self.images)}
        rows = [torch.cat(row) if row else torch.zeros(0, 3, SIDE, SIDE) for row in self.tiles]
        pixels = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"pixel_values": pixels, "pixel_attention_mask": (pixels != 0).any(2).long()}

    def row(self, number: int) -> Prompts:
        """One prompt alone, without padding."""
        real = self.mask[number].bool()
        return Prompts(self.ids[number, real][None], self.mask[number, real][None], [self.tiles[number]], self.family)

    def owned(self, number: int) -> slice:
        """The images of a prompt."""
        first = self.owners.index(number) if number in self.owners else 0
        return slice(first, first + len(self.tiles[number]))


def prompts(name: str, *rows: Row, seed: int = 1) -> Prompts:
    """From recipes: ``[3, "2x2", 4]`` is three text tokens, an image of 2 x 2 tiles and an overview, four text tokens.

    ``"1"`` is an image of one tile. Families without tiles get one tile for every image.
    """
    family, generator = FAMILIES[name], torch.Generator().manual_seed(seed)
    made, tiles = [], []
    for row in rows:
        ids: list[int] = [1]
        images: list[Tensor] = []
        for piece in row:
            if isinstance(piece, int):
                ids += torch.randint(10, 140, (piece,), generator=generator).tolist()
                continue
            grid = [int(part) for part in piece.split("x")] if family.tiled and piece != "1" else [0, 0]
            ids += _framed(family, *grid)
            images.append(torch.randn(grid[0] * grid[1] + 1, 3, SIDE, SIDE, generator=generator))
        made.append(ids)
        tiles.append(images)
    longest = max(map(len, made))
    mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in made]
    padded = [[PAD] * (longest - len(ids)) + ids for ids in made]
    return Prompts(torch.tensor(padded), torch.tensor(mask), tiles, family)


def _framed(family: Family, rows: int, cols: int) -> list[int]:
    tile = [PLACEHOLDER] * family.tokens
    if family.frame == "bare":
        return tile
    if family.frame == "marks":
        return [OPEN, *tile * (rows * cols + 1), CLOSE]
    ids: list[int] = []
    for row in range(rows):
        for col in range(cols):
            ids += [OPEN, TAG + 1 + row * cols + col, *tile]
        ids.append(9)  # a line break
    return [*ids, OPEN, TAG, *tile, OPEN]


# what has to come out, by hand


@dataclass(frozen=True)
class TowerPass:
    """A tower's last hidden state, hidden states (embeddings first), attention maps and keys as attention uses them."""

    last_hidden_state: Tensor
    hidden_states: list[Tensor]
    attentions: list[Tensor]
    keys: list[Tensor]


def tower_pass(name: str, pixels: Tensor, **options: Any) -> TowerPass:
    """What a copy of the tower computes, seen from outside with eager attention."""
    tower, keys = getattr(eager(shared(name)).model, FAMILIES[name].tower), []
    states: list[Tensor] = []
    for path, module in tower.named_modules():
        if path.endswith("k_norm" if name.startswith("internvl") else "k_proj"):
            module.register_forward_hook(lambda _, __, out: keys.append(out))
    layers = tower_layers(tower)
    layers[0].register_forward_pre_hook(
        lambda _, args, kwargs: states.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    for layer in layers:
        layer.register_forward_hook(lambda _, __, out: states.append(out[0] if isinstance(out, tuple) else out))
    home, maps = sys.modules[type(layers[0]).__module__], []
    original = home.eager_attention_forward

    always = {"output_attentions": True} if "output_attentions" in inspect.signature(original).parameters else {}

    def recorded(*args: Any, **kwargs: Any) -> Any:
        output, attention = original(*args, **{**kwargs, **always})
        maps.append(attention)
        return output, attention

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(home, "eager_attention_forward", recorded)
        out = tower(pixels.flatten(0, -4), **options)
    return TowerPass(out.last_hidden_state, states, maps, keys)


def blocks(name: str, patches: Tensor) -> Tensor:
    """(T, N, square * square, ...) of (T, 36, ...): the patches of each token, by plain loops."""
    square, side = FAMILIES[name].square, SIDE // 7
    index = [
        [(row + r) * side + col + c for r in range(square) for c in range(square)]
        for row in range(0, side, square)
        for col in range(0, side, square)
    ]
    return torch.stack([torch.stack([patches[:, patch] for patch in token], 1) for token in index], 1)


def saliency(name: str, pixels: Tensor, layer: int = -2) -> Tensor:
    """(T, N) what SCOPE weighs tokens by: attention summed over heads, and over a token's patches."""
    family, maps = FAMILIES[name], tower_pass(name, pixels).attentions[layer]
    on_patches = (maps[:, :, 0, 1:] if family.cls else maps.mean(2)).sum(1)
    return blocks(name, on_patches).sum(2)


def features(name: str, pixels: Tensor) -> Tensor:
    """(T, N, D) what the projector is given, up to the order of channels."""
    config, out, family = shared(name).config, tower_pass(name, pixels), FAMILIES[name]
    layers = getattr(
        config, feature_layers(type(config)) if name.startswith("vipllava") else "vision_feature_layer", -1
    )
    layers = [layers] if isinstance(layers, int) else layers
    states = torch.cat([out.last_hidden_state if i == -1 else out.hidden_states[i] for i in layers], -1)
    grouped = blocks(name, states[:, int(family.cls) :])
    return grouped.mean(2) if name.startswith("gemma3") else grouped.flatten(2)


def scope_kept(name: str, given: Prompts, keep: Sequence[int]) -> list[list[int]]:
    """Tokens of each image that SCOPE keeps, ascending, by the float64 oracles."""
    kept = []
    for image, count in zip(given.images, keep, strict=True):
        seen, weigh = features(name, image).flatten(0, 1), saliency(name, image).flatten()
        picks, _, _ = oracles.scope_picks(oracles.cosine_matrix(seen.numpy()), weigh.numpy(), count)
        kept.append(sorted(picks))
    return kept


def projected(name: str, given: Prompts) -> Tensor:
    """(all tokens, D) what the language model reads, in placeholder order."""
    with torch.no_grad():
        rows = features_of(shared(name), **given.pictures)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in rows])


def by_hand(name: str, given: Prompts, kept: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """``inputs_embeds`` and all that goes with it, for prompts with only ``kept`` tokens of each image in them."""
    full, extra = given.inputs, list(given.family.extra)
    flat = iter(projected(name, given))
    stay = iter([token in chosen for chosen, count in zip(kept, given.counts, strict=True) for token in range(count)])
    with torch.no_grad():
        embedded = shared(name).get_input_embeddings()(given.ids)
    rows = []
    for row, (ids, mask) in enumerate(zip(given.ids.tolist(), given.mask.tolist(), strict=True)):
        made = []
        for place, (token, real) in enumerate(zip(ids, mask, strict=True)):
            image = token == PLACEHOLDER
            read = next(flat) if image else embedded[row, place]
            if real and (not image or next(stay)):
                made.append((read, *(full[key][row, place] for key in extra)))
        rows.append(made)
    longest = max(map(len, rows))
    embeds, attended = (
        torch.zeros(len(rows), longest, embedded.shape[-1]),
        torch.zeros(len(rows), longest, dtype=torch.int64),
    )
    others = {key: torch.zeros(len(rows), longest, dtype=torch.int64) for key in extra}
    for row, made in enumerate(rows):
        for place, (read, *values) in enumerate(made, longest - len(made)):
            embeds[row, place], attended[row, place] = read, 1
            for key, value in zip(extra, values, strict=True):
                others[key][row, place] = value
    if wants_ids_beside_embeddings(shared(name)):
        others["input_ids"] = torch.ones_like(attended)
    return {"inputs_embeds": embeds, "attention_mask": attended, **others}


def generate_whole(name: str, given: Prompts, **options: Any) -> Tensor | None:
    """What the model generates without a pruner; None where its own beams would read other prompts' images.

    From hand-built embeddings instead, where it generates from those.
    """
    model, rows = shared(name), len(given.ids)
    dealt_by_row = given.family.frame == "crops" and not hasattr(model, "_expand_multimodal_outputs")
    mixed = "num_beams" in options and not dealt_by_row and mixes_up_beams(model, [len(row) for row in given.tiles])
    if not mixed:
        made = model.generate(**given.inputs, **options)
        if options.get("use_cache", True):
            return made
        cached = model.generate(**given.inputs, **{**options, "use_cache": True})
        # Idefics3 of 5.0 forgets its images after the first step without a cache
        assert torch.equal(made, cached) or (dealt_by_row and mixes_up_beams(model, [2]))
        return cached
    if name.startswith(("paligemma", "gemma3")):
        return None
    new = model.generate(**by_hand(name, given, [range(count) for count in given.counts]), **options)
    new = new[:, -options["max_new_tokens"] :]
    return torch.cat([given.ids.repeat_interleave(len(new) // rows, 0), new], 1)


def greedy_by_hand(name: str, hand: dict[str, Tensor], steps: int) -> Tensor:
    """(1, steps) ids, the whole sequence run again for each: not every model generates from embeddings."""
    model, ids = shared(name), []
    new = {"input_ids": 1, "attention_mask": 1, "token_type_ids": 1 if name.startswith("paligemma") else 0}
    for _ in range(steps):
        with torch.no_grad():
            scores = model(**hand).logits[:, -1]
            scores[:, PLACEHOLDER] = -torch.inf
            ids.append(scores.argmax(-1))
            embedded = model.get_input_embeddings()(ids[-1])[:, None]
        longer = {key: nn.functional.pad(value, (0, 1), value=new[key]) for key, value in hand.items() if key in new}
        hand = {"inputs_embeds": torch.cat([hand["inputs_embeds"], embedded], 1), **longer}
    return torch.stack(ids, 1)
