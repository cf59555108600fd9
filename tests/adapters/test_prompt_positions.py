"""Arguments and outputs with a value for each position of the prompt: by the caller's positions, or refused.

The table of `docs/embed.md` has a row for each test. A model that scores positions, one that numbers them along three
axes, and one that cuts images into tiles.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from transformers.modeling_flash_attention_utils import FlashAttentionKwargs

import scope_core as scope
from adapters import anyres, models, qwen
from adapters.guests import keeping
from adapters.installed import takes_text_positions, with_attention
from scope_adapters.compat.signatures import parameters
from scope_adapters.hosts.huggingface.arguments import SHORTENED

KEEP = [5, 3, 2]
KINDS = ("llava", "qwen2_vl", "llava_next")
SALIENCY: dict[str, Any] = {"qwen2_vl": {"name": "received_attention", "layer": -2}}


@functools.cache
def made(kind: str, alike: bool = False, attention: str = "sdpa") -> tuple[Any, Any, scope.Pruner]:
    """A model, a batch of prompts and a pruner; with ``alike``, all prompts are shortened by the same positions."""
    size = {"llava": "image", "qwen2_vl": (4, 6), "llava_next": (28, 28)}[kind]
    rows = [[3, size, 4], [3, size, 4]] if alike else [[3, size, 4], [6], [2, size, 1, size, 5]]
    pruner = keeping(5 if alike else KEEP, saliency=SALIENCY.get(kind, "cls_attention"))
    if kind == "llava":
        model = models.llava(attention=attention)
        return model, models.batch(*rows), pruner
    if kind == "qwen2_vl":
        return qwen.qwen(kind, attention=attention), qwen.prompts(*rows), pruner
    model = anyres.next_model()
    given = anyres.prompts(model, *rows)
    return (model if attention == "sdpa" else with_attention(model, attention)), given, pruner


def run(kind: str, alike: bool = False, attention: str = "sdpa", **more: Any) -> tuple[Any, Any, scope.Attachment]:
    """The output of a pruned call, its prompts, and the attachment."""
    model, given, pruner = made(kind, alike, attention)
    with torch.no_grad(), pruner.attach(model) as pruning:
        return model(**{**given.inputs, **more}), given, pruning


def refused(kind: str, *words: str, alike: bool = False, **more: Any) -> None:
    model, given, pruner = made(kind, alike)
    with torch.no_grad(), pruner.attach(model) as pruning:
        with pytest.raises(scope.AttachError) as caught:
            model(**{**given.inputs, **more})
        calls = pruning.receipt.calls
        model(**given.inputs)
        assert pruning.receipt.calls == calls + 1
    for word in words:
        assert word in str(caught.value), caught.value


def places(pruning: scope.Attachment) -> list[list[int]]:
    """The caller's position of each place of the shortened prompts, -1 for padding."""
    return pruning.positions.tolist()


ALL = pytest.mark.parametrize("kind", KINDS)


# arguments


@ALL
def test_position_ids(kind: str) -> None:
    """As the model numbers the full prompt: the same as leaving them out."""
    wanted, given, pruning = run(kind)
    numbers = (given.mask.cumsum(1) - 1).clamp(min=0)
    if kind == "qwen2_vl":
        model = made(kind)[0]
        axes, _ = model.model.get_rope_index(**{k: v for k, v in given.inputs.items() if k != "pixel_values"})
        numbers = torch.cat([numbers[None], axes]) if takes_text_positions(model) else axes
    got, _, _ = run(kind, position_ids=numbers)
    real = torch.tensor(
        [[p >= 0 and bool(m[p]) for p in at] for at, m in zip(places(pruning), given.mask, strict=True)]
    )
    torch.testing.assert_close(got.logits[real], wanted.logits[real], atol=1e-4, rtol=1e-4)


@ALL
def test_cache_position(kind: str) -> None:
    wanted, given, _ = run(kind)
    if "cache_position" in parameters(type(made(kind)[0]).forward):
        got, _, _ = run(kind, cache_position=torch.arange(given.length))
        assert torch.equal(got.logits, wanted.logits)
    refused(kind, "cache_position", f"0, 1, ..., {given.length - 1}", cache_position=torch.arange(given.length) + 1)
    refused(kind, "cache_position", cache_position=torch.arange(given.length - 1))


@ALL
def test_labels(kind: str) -> None:
    """Every text token is predicted from the position that comes before it in the pruned prompt."""
    model, given, _ = made(kind)
    image = model.config.image_token_id
    labels = given.ids.masked_fill((given.mask == 0) | (given.ids == image) | (given.ids == 1), -100)
    try:
        model(**given.inputs, labels=labels)
    except AttributeError:
        pytest.skip("this model of the installed transformers takes no labels, pruned or not")
    got, _, pruning = run(kind, labels=labels)
    losses = []
    for row, at in enumerate(places(pruning)):
        real = [place for place, position in enumerate(at) if position >= 0 and given.mask[row, position]]
        for before, place in itertools.pairwise(real):
            target = labels[row, at[place]]
            if target >= 0:
                losses.append(torch.nn.functional.cross_entropy(got.logits[row, before], target))
    torch.testing.assert_close(got.loss, torch.stack(losses).mean(), atol=1e-4, rtol=1e-4)


@ALL
def test_masks_of_four_axes_are_refused(kind: str) -> None:
    given = made(kind)[1]
    square = torch.ones(3, 1, given.length, given.length)
    refused(kind, "attention_mask", str(tuple(square.shape)), attention_mask=square)


@ALL
@pytest.mark.parametrize(
    "shape",
    [lambda b, n: (b, n), lambda b, n: (n,), lambda b, n: (b, n, 8), lambda b, n: (4, b, n)],
    ids=["(B, L)", "(L,)", "(B, L, D)", "(4, B, L)"],
)
def test_unknown_arguments_along_the_prompt_are_refused(
    kind: str, shape: Callable[[int, int], tuple[int, ...]]
) -> None:
    size = shape(*made(kind)[1].ids.shape)
    refused(kind, "new_argument", str(size), "run along the prompt", new_argument=torch.ones(size))


@ALL
def test_unknown_arguments_that_count_the_prompt_are_refused(kind: str) -> None:
    ids = made(kind)[1].ids
    sums = torch.arange(len(ids) + 1, dtype=torch.int32) * ids.shape[1]
    refused(kind, "cu_seq_lens_q", "count the prompt", cu_seq_lens_q=sums)


def test_other_tensors_pass() -> None:
    wanted, given, _ = run("llava", labels=made("llava")[1].ids)
    got, _, _ = run("llava", labels=given.ids, num_items_in_batch=torch.tensor(10))
    assert got.loss > wanted.loss


HANDLED = {
    **dict.fromkeys(SHORTENED, "shortened, or left to the model"),
    "logits_to_keep": "by the caller's positions",
    "inputs_embeds": "refused with images",
    **dict.fromkeys(("past_key_values", "cache", "use_cache"), "filled caches are refused with images"),
    **dict.fromkeys(("mm_encoder_outputs", "image_hidden_states"), "features encoded elsewhere: refused"),
    **dict.fromkeys(("output_attentions", "output_hidden_states", "return_dict", "kwargs", "lm_kwargs"), "no tensor"),
    **dict.fromkeys(("output_router_logits", "is_causal", "max_length_q", "max_length_k"), "no tensor"),
    **dict.fromkeys(("cu_seq_lens_q", "cu_seq_lens_k", "seq_idx"), "refused by their shape or sum"),
    "num_items_in_batch": "a number",
    "pixel_values_images": "a former name of pixel_values",
    "rope_deltas": "(B, 1): the model computes it anew",
    **dict.fromkeys(("pixel_values_videos", "video_grid_thw", "second_per_grid_ts", "image_sizes_videos"), "videos"),
    **dict.fromkeys(("vision_aspect_ratio", "vision_feature_layer", "vision_feature_layers"), "options of encoding"),
    "vision_feature_select_strategy": "an option of encoding",
    "image_sizes": "of images; models whose adapter does not name it do not read it",
}
"""Arguments of the served models that are no images, and what becomes of them."""


def test_every_argument_of_the_served_models_is_known() -> None:
    """A new one is looked at by a person; until then, the rules above refuse it if it runs along the prompt."""
    kinds = (getattr(hf.utils.generic, name, None) for name in ("TransformersKwargs", "LossKwargs"))
    asked = {name for kind in (FlashAttentionKwargs, *kinds) for name in getattr(kind, "__annotations__", ())}
    registry, models_of = scope.default_registry(), hf.AutoModelForImageTextToText._model_mapping
    for name in registry.names("adapter"):
        adapter = registry.build_named("adapter", name)
        family = getattr(adapter, "model_type", None)
        kind = type(hf.AutoConfig.for_model(family)) if family in hf.CONFIG_MAPPING else None
        if kind in models_of:  # older releases list some models elsewhere
            forward = models_of[kind].forward
            asked |= parameters(forward) - set(adapter.image_inputs) - {"self"}
    assert len(asked) > 20
    assert sorted(asked - set(HANDLED)) == []


# `logits_to_keep`: on transformers where the model takes it


@ALL
@pytest.mark.parametrize(
    "asked",
    [1, 3, [-1, -3], slice(-3, None), torch.tensor([-4, -2]), "first", "both", 0],
    ids=["1", "3", "list", "slice", "tensor", "first", "both", "0"],
)
@pytest.mark.parametrize("alike", [True, False], ids=["alike", "mixed"])
def test_logits_to_keep(kind: str, asked: Any, alike: bool) -> None:
    if "logits_to_keep" not in parameters(type(made(kind)[0]).forward):
        pytest.skip("this model of the installed transformers has no logits_to_keep")
    asked = {"first": [0, 2], "both": [1, -1]}.get(asked, asked) if isinstance(asked, str) else asked
    if not alike and isinstance(asked, list) and min(asked) >= -1:  # at other places in each prompt
        return refused(kind, "logits_to_keep", "different places", "pruning.expand", logits_to_keep=asked)
    whole, _, pruning = run(kind, alike)
    got, _, _ = run(kind, alike, logits_to_keep=asked)
    if isinstance(asked, int) and asked == 0:
        assert torch.equal(got.logits, whole.logits)
        return None
    full = pruning.expand(whole.logits, torch.nan)
    wanted = full[:, slice(-asked, None) if isinstance(asked, int) else asked]
    assert not wanted.isnan().any()
    torch.testing.assert_close(got.logits, wanted, atol=1e-4, rtol=1e-4)
    return None


@ALL
def test_logits_to_keep_of_dropped_positions_are_refused(kind: str) -> None:
    _, given, pruning = run(kind, True)
    dropped = sorted(set(range(given.length)) - set(places(pruning)[0]))
    if "logits_to_keep" in parameters(type(made(kind)[0]).forward):
        for asked in (given.length, [dropped[0]], torch.tensor([-1, dropped[-1]])):
            refused(kind, "logits_to_keep", "dropped", alike=True, logits_to_keep=asked)
        refused(kind, "does not fit", alike=True, logits_to_keep=[given.length])


def test_logits_to_keep_before_pruning_inside() -> None:
    model, given = models.llava(), models.batch([3, "image", 4], [2, "image", 1, "image", 5])
    spec = {
        "recipe": "top_k_attention",
        "saliency": {"name": "prompt_attention", "layer": 1},
        "budget": 4,
        "at": "decoder[1]",
    }
    with torch.no_grad(), scope.Pruner(spec).attach(model) as pruning:
        whole = pruning.expand(model(**given.inputs).logits, torch.nan)
        got = model(**given.inputs, logits_to_keep=4).logits
        for asked in ([-1], 6, given.length):
            with pytest.raises(scope.AttachError, match="logits_to_keep"):
                model(**given.inputs, logits_to_keep=asked)
        right = models.batch([3, "image", 4], [2, "image", 1, "image", 5], side="right")
        with pytest.raises(scope.AttachError, match="logits_to_keep"):
            model(**right.inputs, logits_to_keep=1)
    torch.testing.assert_close(got, whole[:, -4:], atol=1e-4, rtol=1e-4)


# outputs


@ALL
def test_outputs_are_laid_out_along_the_prompt(kind: str) -> None:
    """Hidden states of every layer, and both axes of attention maps; dropped positions get the fill."""
    out, given, pruning = run(kind, attention="eager", output_hidden_states=True, output_attentions=True)
    head = made(kind, attention="eager")[0].lm_head
    kept = torch.zeros_like(given.ids, dtype=torch.bool)
    for row, at in enumerate(places(pruning)):
        kept[row, [p for p in at if p >= 0]] = True
    states = [pruning.expand(state, torch.nan) for state in out.hidden_states]
    assert all(torch.equal(~state[..., 0].isnan(), kept) for state in states)
    logits = pruning.expand(out.logits, torch.nan)
    torch.testing.assert_close(head(states[-1])[kept], logits[kept], atol=1e-4, rtol=1e-4)
    for layer in out.attentions:
        full = pruning.expand(pruning.expand(layer, axis=2), axis=3)
        assert full.shape[2:] == (given.length, given.length)
        sums = full.sum(-1).transpose(1, 2)
        torch.testing.assert_close(sums[kept & (given.mask != 0)].mean(), torch.tensor(1.0), atol=1e-4, rtol=1e-4)
        assert (full.transpose(1, 2)[~kept] == 0).all()
        assert (full.movedim(3, 1)[~kept] == 0).all()
    with pytest.raises(scope.AttachError, match="first two axes"):
        pruning.expand(out.attentions[0])


@ALL
def test_outputs_of_generate(kind: str) -> None:
    """Scores are of new tokens alone; states of the first step run along the prompt, a row for each beam."""
    model, given, pruner = made(kind, attention="eager")
    options = {"max_new_tokens": 3, "do_sample": False, "num_beams": 2, "return_dict_in_generate": True}
    with pruner.attach(model) as pruning:
        out = model.generate(**given.inputs, **options, output_hidden_states=True, output_scores=True)
        states = pruning.expand(out.hidden_states[0][-1], torch.nan)
        with torch.no_grad():
            once = pruning.expand(model(**given.inputs, output_hidden_states=True).hidden_states[-1], torch.nan)
    assert len(out.scores) == 3
    torch.testing.assert_close(states, once.repeat_interleave(2, 0), atol=1e-4, rtol=1e-4, equal_nan=True)
    assert out.hidden_states[1][-1].shape[1] == 1


def test_signature_of_the_general_rule() -> None:
    """What ``generate`` reads itself is not refused, whatever its shape."""
    model, given, pruner = made("llava")
    same = torch.full((3, given.length), 20)
    with pruner.attach(model):
        model.generate(**given.inputs, max_new_tokens=1, guidance_scale=2.0, negative_prompt_ids=same)
    assert "negative_prompt_ids" in inspect.signature(type(model).generate).parameters
