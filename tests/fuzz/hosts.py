"""The tiny models of the other tests, as hosts of random prompts; and specs made to fit them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from adapters import anyres, decoders, mistral3, models, qwen, tiled
from torch import Tensor

from scope_adapters.compat.transformers import language_model

KEYS = ("keys_cosine", "keys_dot", "key_norm")
Prompts = Any
"""What the modules of the tests' models make: ``ids``, ``mask``, ``inputs`` and ``row(number)``."""


@dataclass(frozen=True)
class Host:
    """A model, and how to draw prompts for it.

    Attributes:
        model: Makes the model, once.
        image: Draws a piece of a prompt that is an image.
        prompts: Makes prompts of rows of pieces.
        cls: Whether the tower has a CLS token.
        layer: The layer of the tower that parts read; 0 if any of -1 to -3 will do.
        decoder: Layers of the language model; 0 if nothing can be pruned inside.
        plain: Whether the language model alone, given embeddings and positions, computes what the whole model does.
        sided: Whether prompts may be padded on the right.
        lacks: Parts whose signals its tower does not give.
        newlines: Whether newline tokens stand between its candidates.
    """

    model: Callable[[], Any]
    image: Callable[[Random], Any]
    prompts: Callable[..., Prompts]
    cls: bool = True
    layer: int = 0
    decoder: int = 3
    plain: bool = True
    sided: bool = False
    lacks: tuple[str, ...] = ()
    newlines: bool = False

    def order(self, given: Prompts, image: int, tokens: Any) -> list[int]:
        """For each candidate of an image, its number among the image's placeholders that are no newlines."""
        count = int(tokens.valid[image].sum())
        if not isinstance(given, anyres.Prompts):
            return list(range(count))
        canvas = anyres.canvas_of(self.model(), given.sizes[image])
        cells = zip(*(getattr(tokens, name)[image, :count].tolist() for name in ("tile", "row", "col")), strict=True)
        keys = []
        for tile, row, col in cells:  # the overview first, then the rows of all crops together
            down, right = divmod(max(tile - 1, 0), canvas[1])
            keys.append((tile > 0, down * anyres.GRID + row, right * anyres.GRID + col))
        ranks = {key: rank for rank, key in enumerate(sorted(keys))}
        return [ranks[key] for key in keys]

    def draw(self, source: Random) -> Prompts:
        """One to three prompts, with no to three images each, and one image at least."""
        rows: list[list[Any]] = []
        for _ in range(source.choice([1, 1, 2, 3])):
            row: list[Any] = []
            for _ in range(source.choice([1, 1, 2, 0, 3])):
                row += [source.randint(0, 3)] * source.randint(0, 1) + [self.image(source)]
            rows.append([*row, source.randint(1, 5)])
        if not any(not isinstance(piece, int) for row in rows for piece in row):
            rows[0].insert(0, self.image(source))
        more = {"side": source.choice(["left", "right"])} if self.sided else {}
        return self.prompts(*rows, **more)


def _llava(name: str, **more: Any) -> Host:
    return Host(
        lambda: models.shared(name),
        lambda source: "image",
        lambda *rows, **options: models.batch(*rows, tokens=models.tokens_of(name), **options),
        sided=True,
        **more,
    )


def _tiled(name: str, **more: Any) -> Host:
    options = {"cls": tiled.FAMILIES[name].cls, "decoder": 3 if name[:6] in ("smolvl", "idefic", "intern") else 0}
    return Host(
        lambda: tiled.shared(name),
        lambda source: source.choice(["1", "1x2", "2x1", "1"]),
        lambda *rows: tiled.prompts(name, *rows),
        **{**options, **more},
    )


def _anyres(make: Callable[[], Any], **more: Any) -> Host:
    return Host(
        make,
        lambda source: (source.randint(7, 60), source.randint(7, 60)),
        lambda *rows, **options: anyres.prompts(make(), *rows, **options),
        sided=True,
        newlines=True,
        **more,
    )


def _qwen(name: str, **more: Any) -> Host:
    return Host(
        lambda: qwen.shared(name),
        lambda source: (2 * source.randint(1, 3), 2 * source.randint(1, 3)),
        lambda *rows, **options: qwen.prompts(*rows, **options),
        cls=False,
        layer=-qwen.READ[name],
        plain=False,
        sided=True,
        **more,
    )


HOSTS: dict[str, Host] = {
    "llava": _llava("clip"),
    "llava-siglip": _llava("siglip", cls=False),
    "llava-full": _llava("clip-full"),
    "llava-qwen2": _llava("qwen2"),
    "llava-deep": Host(
        lambda: decoders.deep("llama"),
        lambda source: "image",
        lambda *rows, **options: models.batch(*rows, **options),
        decoder=decoders.LAYERS,
        sided=True,
    ),
    "llava_next": _anyres(anyres.next_model),
    "llava_onevision": _anyres(anyres.onevision_model, cls=False),
    "qwen2_vl": _qwen("qwen2_vl"),
    "qwen2_5_vl": _qwen("qwen2_5_vl"),
    "qwen3_vl": _qwen("qwen3_vl"),
    "idefics3": _tiled("idefics3"),
    "smolvlm": _tiled("smolvlm"),
    "internvl": _tiled("internvl"),
    "vipllava": _tiled("vipllava", decoder=3),
    "gemma3": _tiled("gemma3", plain=False),
    "paligemma": _tiled("paligemma", plain=False),
    "mistral3": Host(
        mistral3.mistral3,
        lambda source: (source.randint(1, 3), source.randint(2, 4)),  # the model itself fails on one token
        lambda *rows: mistral3.prompts(*rows),
        cls=False,
        lacks=("received_attention", "signal_cosine", *KEYS),
    ),
}


OUTSIDE: dict[str, dict[str, Any]] = {
    "prompt_attention": {"name": "feature_norm"},
    "rater_attention": {"name": "uniform"},
    "pivots": {"name": "composite", "saliency": {"name": "feature_norm"}},
    "attention_rank": {"name": "ratio", "keep_ratio": 0.5},
}
"""Parts that read signals of the language model, and what may stand in their place before it."""


def fitted(table: Any, host: Host, source: Random, stage: int = 0) -> Any:
    """A long spec made to fit a host: its layers, and signals that its tower has, mostly.

    ``stage`` counts the stages inside the language model; it is -1 before them.
    """
    layer = host.layer or source.choice([-2, -1, -3])
    if isinstance(table, list):
        return [fitted(one, host, source, stage) for one in table]
    if not isinstance(table, Mapping):
        return table
    made = {key: fitted(value, host, source, stage) for key, value in table.items() if key != "then"}
    name = made.get("name")
    if stage < 0 and name in OUTSIDE and source.random() < 0.95:
        return OUTSIDE[name]
    if name in host.lacks and source.random() < 0.9:
        return {"name": "feature_norm" if "attention" in str(name) or name == "key_norm" else "cosine"}
    if not host.cls:
        if name in ("cls_attention", "joint_attention"):
            return fitted({"name": "received_attention", "layer": layer}, host, source, stage)
        if name == "keep_cls":
            return made.get("merger", {"name": "none"})
    if name == "pivots":
        made |= {"keys": min(1, host.decoder), "states": min(1 + stage, host.decoder)}
    if made.get("name") in (
        "keep_cls",
        "cls_attention",
        "received_attention",
        "joint_attention",
        "keys_cosine",
        "keys_dot",
    ):
        made["layer"] = layer
    if name in ("prompt_attention", "rater_attention", "attention_rank"):
        made["layer"] = min(1 + stage, max(host.decoder - 1, 0))
    if name == "average" and "layers" in made:
        made["layers"] = host.decoder or 3
    return made


def inside(table: dict[str, Any], host: Host, source: Random) -> dict[str, Any]:
    """`fitted`, with the stages inside the language model at layers that it has."""
    first = bool(host.decoder) and str(table.get("at", "vision")).startswith("decoder")
    made: dict[str, Any] = fitted(table, host, source, 0 if first else -1)
    layer = 1 if first else 0
    if first:
        made["at"] = f"decoder[{layer}]"
    elif host is not HOSTS["llava"] and made["merger"]["name"] != "none":
        made["at"] = "projected"
    if made["order"] != "raster" and host.newlines and source.random() < 0.9:  # newline tokens stay in their places
        made["order"] = "raster"
    adds = made["merger"]["name"] in ("keep_cls", "residual", "density_clusters")
    if not first and adds and source.random() < 0.9:  # rows that are added have no original position
        made["positions"] = {"name": "compact"}
    stages = []
    for number, stage in enumerate(table.get("then", [])[: max(host.decoder - 1 - layer, 0)]):
        layer += 1
        stages.append({**fitted(stage, host, source, number + first), "at": f"decoder[{layer}]"})
    return {**made, "then": stages} if stages else made


def text_similarity(inputs: Mapping[str, Any], tokens: Any) -> Tensor:
    """A stand-in for a text tower's cosines: (B, 2, N), the same for an image alone as in a batch."""
    features = tokens.features.float()
    return torch.stack([features[..., 0], features[..., -1]], 1).tanh().to(tokens.features)


@dataclass
class Seen:
    """What the language model was given in one pass: (B, L, D) embeddings, positions, and the logits that came out."""

    embeddings: Tensor
    positions: Tensor | None
    logits: Tensor


def watched(model: Any, inputs: Mapping[str, Any]) -> Seen:
    """One pass over a prompt, seen from the door of the language model."""
    given: list[dict[str, Any]] = []
    hook = language_model(model).register_forward_pre_hook(
        lambda _, __, kwargs: given.append(dict(kwargs)), with_kwargs=True
    )
    try:
        with torch.no_grad():
            logits = model(**inputs).logits
    finally:
        hook.remove()
    return Seen(given[-1]["inputs_embeds"], given[-1].get("position_ids"), logits)
