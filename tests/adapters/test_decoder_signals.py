"""What a stage inside the language model reads, against the model's own maps, hidden states and caches."""

from __future__ import annotations

from typing import Any

import oracles_recipes as oracle
import pytest
import torch

import scope_core as scope
from adapters.decoders import DECODERS, deep, top
from adapters.guests import registry
from adapters.installed import cache_of, keys_of, values_of
from adapters.models import MIXED, PATCHES, PLACEHOLDER, batch, eager

FAMILIES = (
    "decoder.last_query_attention",
    "decoder.received_attention",
    "decoder.text_attention",
    "decoder.text_information",
    "decoder.hidden",
    "decoder.normed",
    "decoder.vision_hidden",
    "decoder.keys",
    "decoder.text_hidden",
    "decoder.text_normed",
    "decoder.text_keys",
    "decoder.values",
    "decoder.text_values",
    "decoder.prompt_values",
    "decoder.rotary_cosines",
    "decoder.rotary_sines",
    "decoder.plain_keys",
    "decoder.plain_queries",
    "decoder.image_queries",
)


def captured(model: Any, given: Any, at: int, names: tuple[str, ...], before: int | None = None) -> scope.Selection:
    """The tokens of a stage at layer ``at`` that reads ``names``, behind a stage at ``before`` if there is one."""
    reader = {**top(1), "saliency": {"name": "reader", "names": list(names)}, "budget": 4, "at": f"decoder[{at}]"}
    spec = reader
    if before is not None:
        spec = {**top(1), "budget": 6, "at": f"decoder[{before}]", "then": [reader]}
    with scope.Pruner(spec, registry=registry()).attach(model) as pruning, torch.no_grad():
        model(**given.inputs)
    receipt = pruning.receipt if before is None else pruning.receipt.later[0]
    return receipt.selection


def before_rotary(attention: Any, which: str) -> list[torch.Tensor]:
    """A list that a call of the model fills with the layer's (B, L, H, C) queries or keys before their rotation."""
    found: list[torch.Tensor] = []
    norm = getattr(attention, f"{which}_norm", None)
    source = getattr(attention, f"{which}_proj") if norm is None else norm
    source.register_forward_hook(
        lambda module, args, out: found.append(out.view(*out.shape[:2], -1, attention.head_dim))
    )
    return found


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("layer", [0, 1, 3])
@pytest.mark.parametrize("decoder", DECODERS)
def test_signals_are_the_models_own(decoder: str, layer: int, side: str) -> None:
    """Per image, in a padded batch with two images in one prompt; the stage lies at layer 3."""
    model, given = deep(decoder), batch(*MIXED, side=side)
    tokens = captured(model, given, 3, tuple(f"{family}[{layer}]" for family in FAMILIES)).tokens
    got = {family: tokens.signal(f"{family}[{layer}]") for family in FAMILIES}
    twin = eager(model)
    language = twin.model.language_model
    plain = {which: before_rotary(language.layers[layer].self_attn, which) for which in "qk"}
    turned: list[tuple[torch.Tensor, torch.Tensor]] = []
    language.rotary_emb.register_forward_hook(lambda module, args, out: turned.append(out))
    with torch.no_grad():
        out = twin(**given.inputs, output_attentions=True, output_hidden_states=True, use_cache=True)
    image = 0
    # (axes, rows, L, C): positions of one axis have one, and prompts that share positions one row
    cos, sin = (part if part.dim() == 4 else part[None] for part in turned[0])
    for row in range(len(MIXED)):
        ids, real = given.ids[row], given.mask[row].bool()
        spots = (ids == PLACEHOLDER).nonzero()[:, 0].view(-1, PATCHES)
        for mine in spots:
            text = (real & (ids != PLACEHOLDER) & (torch.arange(len(ids)) > mine[-1])).nonzero()[:, 0]
            maps = out.attentions[layer][row]
            states = out.hidden_states[layer][row]
            keys = keys_of(cache_of(out), layer)[row]
            queries = real.nonzero()[:, 0]
            off = maps.clone()
            off[:, torch.arange(len(ids)), torch.arange(len(ids))] = 0
            wanted = {
                "decoder.last_query_attention": maps[:, queries[-1], mine],
                "decoder.received_attention": off[:, queries][:, :, mine].sum(1) / (len(queries) - 1),
                "decoder.text_attention": maps[:, text][:, :, mine],
                "decoder.text_information": torch.tensor(
                    [oracle.text_information(head.double().numpy()) for head in maps[:, text][:, :, mine]],
                    dtype=maps.dtype,
                ),
                "decoder.hidden": states[mine],
                "decoder.vision_hidden": states[mine],
                "decoder.normed": language.norm(states)[mine],
                "decoder.keys": keys[:, mine],
                "decoder.text_hidden": states[text],
                "decoder.text_normed": language.norm(states)[text],
                "decoder.text_keys": keys[:, text],
                "decoder.values": values_of(cache_of(out), layer)[row][:, mine],
                "decoder.text_values": values_of(cache_of(out), layer)[row][:, text],
                "decoder.prompt_values": values_of(cache_of(out), layer)[row][:, queries],
                "decoder.rotary_cosines": cos.expand(-1, len(MIXED), -1, -1)[:, row, mine].mean(0),
                "decoder.rotary_sines": sin.expand(-1, len(MIXED), -1, -1)[:, row, mine].mean(0),
                "decoder.plain_keys": plain["k"][0][row, mine].transpose(0, 1),
                "decoder.plain_queries": plain["q"][0][row, text].transpose(0, 1),
                "decoder.image_queries": plain["q"][0][row, mine].transpose(0, 1),
            }
            for family, tensor in wanted.items():
                mine_now = got[family][image]
                extra = mine_now.clone()
                extra[tuple(slice(size) for size in tensor.shape)] = 0
                assert not extra.any(), family  # what fills up shorter images
                part = mine_now[tuple(slice(size) for size in tensor.shape)]
                torch.testing.assert_close(part, tensor, atol=2e-5, rtol=1e-4, msg=lambda m, f=family: f"{f}: {m}")
            image += 1
    assert image == 3


def test_an_earlier_layer_is_read_for_the_tokens_that_are_left() -> None:
    """A stage between the layer that is read and the stage that reads it drops tokens; the signal follows."""
    model, given = deep(), batch(*MIXED)
    names = ("decoder.last_query_attention[0]", "decoder.hidden[1]", "decoder.vision_hidden[0]", "vision.hidden[-2]")
    all_of_them = captured(model, given, 4, names).tokens
    with scope.Pruner({**top(1), "budget": 6, "at": "decoder[2]"}).attach(model) as pruning, torch.no_grad():
        model(**given.inputs)
    kept = pruning.receipt.selection.kept
    left = captured(model, given, 4, names, before=2).tokens
    assert left.shape[1] == 6
    rows = torch.arange(3)[:, None]
    for name in ("decoder.hidden[1]", "vision.hidden[-2]"):
        assert torch.equal(left.signal(name), all_of_them.signal(name)[rows, kept]), name
    attention = all_of_them.signal(names[0]).transpose(1, 2)[rows, kept].transpose(1, 2)
    assert torch.equal(left.signal(names[0]), attention)
    assert torch.equal(left.signal("decoder.vision_hidden[0]"), all_of_them.signal("decoder.vision_hidden[0]"))


def test_half_precision_keeps_its_dtype_where_asked_to() -> None:
    from adapters.models import llava

    model, given = llava(dtype=torch.bfloat16), batch(*MIXED, dtype=torch.bfloat16)
    for dtype, wanted in (("float32", torch.float32), ("as_is", torch.bfloat16)):
        spec = {**top(1), "budget": 4, "at": "decoder[2]", "dtype": dtype}
        with scope.Pruner(spec).attach(model) as pruning, torch.no_grad():
            out = model(**given.inputs).logits
        tokens = pruning.receipt.selection.tokens
        assert tokens.signal("decoder.last_query_attention[1]").dtype == tokens.features.dtype == wanted
        assert out.isfinite().all()
        assert out.dtype == torch.bfloat16


def test_merged_rows_are_unknown_to_earlier_layers() -> None:
    """Refused rather than filled with something."""
    from adapters.decoders import MERGING

    model, given = deep(), batch([3, "image", 4])
    few = {"name": "tokens", "keep": 3}
    for needs, message in (("decoder.hidden[1]", "merger added rows"), ("vision.hidden[-2]", "vision tower")):
        reader = {**top(1), "saliency": {"name": "reader", "names": [needs]}, "budget": few, "at": "decoder[4]"}
        first = {key: value for key, value in MERGING.items() if key != "then"}
        spec = {**first, "budget": {"name": "tokens", "keep": 10}, "then": [{**reader, "merger": "none"}]}
        pruner = scope.Pruner(spec, registry=registry())
        with pruner.attach(model) as pruning, pytest.raises(scope.AttachError, match=message):
            model(**given.inputs)
        assert pruning.receipt.kept == 10
