"""The original codebase's own models, pruned: what has to hold, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import by_hand
import pytest
import tiny
import torch
from adapters.guests import keeping
from adapters.snapshot import differences, snapshot
from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from torch import Tensor

import scope_core as scope
from scope_core.pruning.compatibility import find_adapter
from scope_core.testing import check_adapter

ODD, WIDE, TALL = (40, 30), (90, 33), (28, 100)
BATCHES = {
    "one prompt": [[3, ODD, 4]],
    "two prompts": [[3, ODD, 4], [1, TALL, 2]],
    "two images a row": [[2, WIDE, 1, TALL, 5]],
    "a row without an image": [[3, ODD, 4], [6], [2, WIDE, 1, TALL, 5]],
}
KEPT = {"one prompt": [5], "two prompts": [5, 3], "two images a row": [3, 9], "a row without an image": [5, 3, 9]}
MIXED = BATCHES["a row without an image"]
GREEDY = {"max_new_tokens": 5, "do_sample": False}
MODES: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": {**GREEDY, "num_beams": 3},
    "no cache": {**GREEDY, "use_cache": False},
    "sampling": {"max_new_tokens": 5, "do_sample": True, "temperature": 0.7, "top_k": 20},
}
Shared = Callable[..., Any]


def logits(model: Any, given: tiny.Prompts, **options: Any) -> Tensor:
    with torch.no_grad():
        return model(given.ids, **given.inputs, **options).logits


def generate(model: Any, given: tiny.Prompts, mode: str = "greedy") -> Tensor:
    torch.manual_seed(0)
    return model.generate(given.ids, **given.inputs, **MODES[mode])


def everything() -> scope.Pruner:
    return scope.Pruner({"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 1.0}})


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_models_read_their_images(shared: Shared, kind: str, family: str) -> None:
    model = shared(kind, family)
    given = tiny.prompts(model, [3, ODD, 4], [2, ODD, 5])
    swapped = given.with_images(given.images[::-1] if isinstance(given.images, list) else given.images.flip(0))
    assert ((logits(model, given) - logits(model, swapped))[:, -1].abs().amax(1) > 0.1).all()
    with keeping(5).attach(model) as pruning:
        few = generate(model, given)
    assert find_adapter(model, pruning.pruner).spec.name == "llava_original"
    assert (few != generate(model, given)).any()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_keeping_everything_changes_nothing(
    shared: Shared, family: str, kind: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shared(kind, family)
    monkeypatch.setattr(model.config, "tokenizer_padding_side", side)
    for rows in BATCHES.values():
        given = tiny.prompts(model, *rows, side=side)

        def results(given: tiny.Prompts = given) -> list[Tensor]:
            with torch.no_grad():
                loss = model(given.ids, **given.inputs, labels=given.labels).loss
                bare = model(given.ids, images=given.images, image_sizes=given.sizes).logits
            return [logits(model, given), loss, bare, *(generate(model, given, mode) for mode in MODES)]

        wanted = results()
        with everything().attach(model) as pruning:
            got = results()
        assert all(torch.equal(one, other) for one, other in zip(got, wanted, strict=True))
        assert pruning.receipt.kept == pruning.receipt.tokens > 0
        assert pruning.receipt.calls == len(got)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_kept_tokens_are_those_of_hand_built_embeddings(
    shared: Shared, family: str, kind: str, rows: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shared(kind, family)
    monkeypatch.setattr(model.config, "tokenizer_padding_side", side)
    given = tiny.prompts(model, *BATCHES[rows], side=side)
    inputs = by_hand.pruned(model, kind, given, KEPT[rows])
    with torch.no_grad():
        wanted = model(**inputs).logits
    with keeping(KEPT[rows]).attach(model) as pruning:
        got = logits(model, given)
    real = inputs["attention_mask"].bool()
    assert torch.equal(pruning.positions >= 0, real)
    torch.testing.assert_close(got[real], wanted[real], atol=2e-4, rtol=0)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_cache_handed_back(shared: Shared, family: str) -> None:
    """With no mask, or that of what pruning left: what the whole conversation gives at once; else refused."""
    model = shared("1.5", family)
    given, new = tiny.prompts(model, [3, ODD, 4]), torch.tensor([[20, 21]])
    whole = replace(
        given, ids=torch.cat([given.ids, new], 1), mask=torch.cat([given.mask, torch.ones_like(new) > 0], 1)
    )
    with keeping(5).attach(model) as pruning, torch.no_grad():
        wanted = model(whole.ids, **whole.inputs).logits[:, -2:]

        def cached() -> Any:
            return model(given.ids, **given.inputs, use_cache=True).past_key_values

        left = cached()[0][0].shape[2]
        for length in (0, left + 2):
            mask = torch.ones(1, length, dtype=torch.bool) if length else None
            got = model(new, attention_mask=mask, past_key_values=cached()).logits
            torch.testing.assert_close(got, wanted, atol=2e-4, rtol=0)
        long = torch.ones(1, pruning.prompt_length + 2, dtype=torch.bool)
        with pytest.raises(scope.AttachError, match="positions, but the cache holds"):
            model(new, attention_mask=long, past_key_values=cached())
        with pytest.raises(scope.AttachError, match="whole conversation"):
            model(given.ids, **given.inputs, past_key_values=cached())
        with pytest.raises(scope.AttachError, match="cannot continue from a cache"):
            model.generate(given.ids, **given.inputs, **GREEDY, past_key_values=cached())
    with pytest.raises(scope.AdapterError, match="rotations up in a table that ends at the number of tokens"):
        scope.Pruner("scope@5", positions="original").attach(model)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_generation_goes_on_from_hand_built_embeddings(shared: Shared, family: str, kind: str) -> None:
    model = shared(kind, family)
    plain = type(model).__mro__[1].generate  # Llama's or Mistral's own, which knows nothing of images
    for rows in BATCHES:
        given = tiny.prompts(model, *BATCHES[rows])
        inputs = by_hand.pruned(model, kind, given, KEPT[rows])
        with keeping(KEPT[rows]).attach(model):
            got = {mode: generate(model, given, mode) for mode in MODES}
        for mode, options in MODES.items():
            torch.manual_seed(0)
            assert torch.equal(got[mode], plain(model, **inputs, **options)), (rows, mode)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_labels_and_gradients(tower: str, kind: str) -> None:
    model = tiny.build(tower, kind).train()
    given = tiny.prompts(model, *MIXED)
    inputs = by_hand.pruned(model, kind, given, [5, 3, 9])
    with keeping([5, 3, 9]).attach(model) as pruning:
        loss = model(given.ids, **given.inputs, labels=given.labels).loss
        loss.backward()
    words = iter(given.labels[given.mask.bool() & (given.ids != IMAGE_TOKEN_INDEX)].tolist())
    labels = torch.full_like(inputs["attention_mask"], IGNORE_INDEX)
    table = model.get_input_embeddings().weight.detach()
    for place in inputs["attention_mask"].nonzero().tolist():
        row = inputs["inputs_embeds"][place[0], place[1]]
        if (table == row).all(1).any():
            labels[place[0], place[1]] = next(words)
    assert next(words, None) is None
    with torch.no_grad():
        wanted = model(**inputs, labels=labels).loss
    torch.testing.assert_close(loss.detach(), wanted, atol=1e-5, rtol=1e-5)
    assert model.get_model().mm_projector[0].weight.grad.abs().max() > 0
    assert pruning.receipt.kept == 17


@pytest.mark.parametrize("failure", ["none", "body", "tower", "decoder", "plugin", "budget"])
@pytest.mark.parametrize("kind", ["1.5", "1.6 spatial_unpad"])
def test_detached_models_are_as_they_were(tower: str, kind: str, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.build(tower, kind)  # one that never ran
    before, attributes = snapshot(model), dict(vars(model))
    given = tiny.prompts(model, *MIXED)
    error: type[Exception] = {"plugin": ZeroDivisionError, "budget": scope.BudgetError}.get(failure, RuntimeError)
    used = keeping(999 if failure == "budget" else 5, **({"saliency": "broken"} if failure == "plugin" else {}))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    with nullcontext() if failure == "none" else pytest.raises(error), used.attach(model):
        assert differences(before, snapshot(model)) != []
        broken = {"tower": model.get_vision_tower().vision_tower, "decoder": model.model.layers[1]}.get(failure)
        with monkeypatch.context() as patch:
            if broken is not None:
                patch.setattr(broken, "forward", fail)
            generate(model, given)
            logits(model, given)
        if failure == "body":
            fail()
    assert differences(before, snapshot(model)) == []
    assert {name: id(value) for name, value in vars(model).items()} == {n: id(v) for n, v in attributes.items()}


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_ids_of_the_caller_stay_as_they_are(shared: Shared, kind: str) -> None:
    model = shared(kind)
    given = tiny.prompts(model, *MIXED)
    ids, mask, labels = given.ids.clone(), given.mask.clone(), given.labels
    own = labels.clone()
    with keeping([5, 3, 9]).attach(model):
        logits(model, given, labels=labels)
        generate(model, given)
    assert torch.equal(given.ids, ids)
    assert torch.equal(given.mask, mask)
    assert torch.equal(labels, own)


def test_towers_that_are_not_loaded_yet(tower: str) -> None:
    model = tiny.build(tower, "1.5", load=False)
    before = snapshot(model)
    with pytest.raises(scope.AdapterError, match=r"call model.get_vision_tower\(\).load_model\(\) first"):
        keeping(5).attach(model)
    assert differences(before, snapshot(model)) == []
    model.get_vision_tower().load_model()
    given = tiny.prompts(model, *MIXED)
    with keeping(5).attach(model) as pruning:
        logits(model, given)
    assert pruning.receipt.kept == 15


def test_images_as_lists_and_as_one_tensor(shared: Shared) -> None:
    model = shared("1.6 spatial_unpad")
    given = tiny.prompts(model, [2, (56, 56), 3], [4, (50, 52)])
    assert [len(image) for image in given.images] == [5, 5]
    whole, single = given.with_images(torch.stack(given.images)), given.with_images([one[0] for one in given.images])
    with keeping(5).attach(model) as pruning:
        assert torch.equal(logits(model, given), logits(model, whole))
        logits(model, single)
    assert [image.tokens for image in pruning.receipt.images] == [16, 16]
    wanted = logits(model, single)
    with keeping(16).attach(model):
        assert torch.equal(logits(model, single), wanted)


@pytest.mark.parametrize("kind", ["1.5", "1.5 cls_patch", "1.6 spatial_unpad", "1.6 spatial"])
def test_plans_are_what_happens(shared: Shared, kind: str) -> None:
    model = shared(kind)
    sizes = [(40, 30), (33, 33), (100, 7), (7, 100), (29, 57), (84, 28), (1, 1), (3000, 2000), (56, 56)]
    given = tiny.prompts(model, *([2, size] for size in sizes))
    with keeping(2).attach(model) as pruning:
        plan = pruning.plan([size[::-1] for size in sizes])
        logits(model, given)
    assert plan.images == tuple(image.kept for image in pruning.receipt.images)
    planned = [(image.tokens, image.separators) for image in plan.layout.images]
    assert planned == [(image.tokens, image.separators) for image in pruning.receipt.images]


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("spec", ["visionzip@8", "visionzip@official@8", "divprune@8", "fastervlm@8", "prumerge@8"])
def test_other_methods_run_or_are_refused_when_attaching(shared: Shared, kind: str, spec: str) -> None:
    model = shared(kind)
    given = tiny.prompts(model, *MIXED)
    recipe, _, keep = spec.rpartition("@")
    if recipe.startswith("visionzip") and kind == "1.6 spatial_unpad":
        with pytest.raises(scope.AdapterError, match="newlines: drop"):
            scope.Pruner(spec).attach(model)
        pruner = scope.Pruner({"recipe": recipe, "budget": int(keep), "order": "raster"})
    else:
        pruner = scope.Pruner(spec)
    with pruner.attach(model) as pruning:
        assert logits(model, given).isfinite().all()
        generate(model, given)
    assert 0 < pruning.receipt.kept <= 24


def test_prompts_are_cut_after_pruning(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    model = shared("1.5")
    given = tiny.prompts(model, [3, ODD, 20], [2, ODD, 4])
    monkeypatch.setattr(model.config, "tokenizer_model_max_length", 30)
    cut = logits(model, given)
    with everything().attach(model):
        assert torch.equal(logits(model, given), cut)
    with keeping(5).attach(model):
        assert logits(model, given).shape[1] == 29
    monkeypatch.setattr(model.config, "tokenizer_model_max_length", 7)
    with keeping(5).attach(model), pytest.raises(scope.AttachError, match="would cut 2 kept tokens of image 0"):
        logits(model, given)


def test_stages_inside_the_language_model_are_refused(shared: Shared) -> None:
    with pytest.raises(scope.AdapterError, match="the original codebase's generate splices and runs in one call"):
        scope.Pruner("fastv@8").attach(shared("1.5"))


def test_mpt_does_not_run_with_images_unpruned_either(tower: str) -> None:
    """Its forward passes five arguments to a method that takes seven, in this release."""
    from llava.model import LlavaMptConfig, LlavaMptForCausalLM

    options = {"mm_vision_tower": tower, "mm_hidden_size": 32, "mm_projector_type": "linear", "hidden_size": 64}
    config = LlavaMptConfig(
        d_model=64, n_heads=4, n_layers=2, vocab_size=160, max_seq_len=256, mm_vision_select_layer=-2, **options
    )
    model = LlavaMptForCausalLM(config).eval()
    model.get_vision_tower().load_model()
    given = tiny.prompts(model, [3, ODD, 4])
    with pytest.raises(TypeError, match="required positional argument"):
        model(given.ids, attention_mask=given.mask, images=given.images)
    with keeping(5).attach(model), pytest.raises(TypeError, match="required positional argument"):
        model(given.ids, attention_mask=given.mask, images=given.images)


@pytest.mark.parametrize("kind", ["1.5", "1.6 spatial_unpad", "1.6 flat"])
def test_it_keeps_what_adapters_promise(shared: Shared, kind: str) -> None:
    """The public kit. Its prompts' images have five tiles each, so that they fit in one tensor."""
    model = shared(kind)
    whole = tiny.prompts(model, [3, (50, 52), 4], [6], [2, (44, 56), 1, (56, 41), 5])
    whole = replace(whole, sizes=[(50, 52), (56, 56), (44, 56), (56, 41)])
    pictures = torch.randn(4, 5, 3, tiny.SIDE, tiny.SIDE, generator=torch.Generator().manual_seed(2))
    pictures = pictures if isinstance(whole.images, list) else pictures[:, 0]

    def make_inputs(rows: Any) -> dict[str, Any]:
        own = [image for row in rows for image in range(4) if whole.owners[image] == row]
        empty = int((whole.mask[list(rows)].sum(0) == 0).sum())
        return {
            "input_ids": whole.ids[list(rows), empty:],
            "attention_mask": whole.mask[list(rows), empty:],
            "images": pictures[own],
            "image_sizes": [whole.sizes[image] for image in own],
        }

    planned = None if "flat" in kind else [[(52, 50)], [], [(56, 44), (41, 56)]]
    tried = check_adapter("llava_original", copy.deepcopy(model), make_inputs, sizes=planned)
    plans = {"plans_come_true"} if "flat" in kind else set()
    assert set(tried.skipped) == {"logits_match_hand_built_embeddings"} | plans
