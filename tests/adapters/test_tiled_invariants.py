"""What has to hold of every pruned model (design, section 6), on families whose tokens are merged, tiled or typed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters.guests import keeping
from adapters.models import PLACEHOLDER
from adapters.snapshot import differences, snapshot
from adapters.tiled import (
    FAMILIES,
    blocks,
    by_hand,
    features,
    generate_whole,
    greedy_by_hand,
    projected,
    prompts,
    scope_kept,
    shared,
    tower_pass,
)

GREEDY = {"max_new_tokens": 4, "do_sample": False}
MODES: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": {**GREEDY, "num_beams": 2},
    "no cache": {**GREEDY, "use_cache": False},
}
ONE = ([3, "1x2", 4],)
MIXED = ([3, "1x2", 4], [6], [2, "1", 3, "2x1", 5])
"""Images of 3, 1 and 3 tiles where there are tiles, and a prompt without."""


def pruner(name: str, keep: Any, **options: Any) -> scope.Pruner:
    return keeping(keep, **{"saliency": FAMILIES[name].saliency, **options})


def logits(model: Any, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return model(**inputs).logits


def generate(model: Any, inputs: dict[str, Any], mode: str) -> Tensor:
    return model.generate(**inputs, **MODES[mode])


@pytest.mark.parametrize("name", FAMILIES)
def test_keeping_everything_changes_nothing_and_images_matter(name: str) -> None:
    model, given = shared(name), prompts(name, *MIXED)
    wanted = logits(model, given.inputs), {mode: generate_whole(name, given, **MODES[mode]) for mode in MODES}
    other = dict(given.inputs)
    other["pixel_values"] = given.pictures["pixel_values"] * -1
    moved = (logits(model, other) - wanted[0])[:, -1].abs().amax(1)
    assert (moved[[0, 2]] > 0.05).all()
    assert moved[1] == 0
    with pruner(name, given.counts).attach(model) as pruning:
        got = logits(model, given.inputs), {mode: generate(model, given.inputs, mode) for mode in MODES}
    assert torch.equal(got[0], wanted[0])
    for mode in MODES:
        assert wanted[1][mode] is None or torch.equal(got[1][mode], wanted[1][mode]), mode
    assert [(image.prompt, image.tokens, image.kept) for image in pruning.receipt.images] == [
        (row, count, count) for row, count in zip(given.owners, given.counts, strict=True)
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_kept_tokens_are_the_published_ones_and_logits_those_of_hand_built_embeddings(name: str) -> None:
    """A batch in which every image keeps its own number of tokens; then one prompt, whose logits are the same bits."""
    model, given, keep = shared(name), prompts(name, *MIXED), [3, 0 if name == "gemma3" else 2, 4]
    kept = scope_kept(name, given, keep)
    seen: list[Tensor] = []
    hook = model.model.register_forward_pre_hook(lambda _, __, kw: seen.append(kw["input_ids"]), with_kwargs=True)
    try:
        with pruner(name, keep).attach(model) as pruning:
            got = logits(model, given.inputs)
    finally:
        hook.remove()
    selection = pruning.receipt.selection
    assert [row[:count].tolist() for row, count in zip(selection.kept, keep, strict=True)] == kept
    assert [image.kept for image in pruning.receipt.images] == keep
    held = [row.tolist().count(PLACEHOLDER) for row in seen[-1]]
    assert held == [keep[0], 0, keep[1] + keep[2]]
    wanted = logits(model, by_hand(name, given, kept))
    real = pruning.positions >= 0
    real &= given.mask.gather(1, pruning.positions.clamp(min=0)).bool()
    assert got.shape == wanted.shape
    torch.testing.assert_close(got[real], wanted[real], atol=2e-4, rtol=0)
    everything = logits(model, given.inputs)
    assert (everything[[0, 2], -1] - got[[0, 2], -1]).abs().amax(1).min() > 0.05


@pytest.mark.parametrize("name", FAMILIES)
def test_one_prompt_generates_what_hand_built_embeddings_generate(name: str) -> None:
    model, given = shared(name), prompts(name, *ONE)
    hand = by_hand(name, given, scope_kept(name, given, [4]))
    with pruner(name, 4).attach(model):
        pruned = logits(model, given.inputs)
        got = {mode: generate(model, given.inputs, mode) for mode in MODES}
    assert torch.equal(pruned, logits(model, hand))
    length = given.ids.shape[1]
    new = {mode: ids[:, length:] for mode, ids in got.items()}
    assert all(torch.equal(ids[:, :length], given.ids) for ids in got.values())
    assert torch.equal(new["greedy"], greedy_by_hand(name, hand, GREEDY["max_new_tokens"]))
    assert torch.equal(new["no cache"], new["greedy"])
    if not name.startswith(("paligemma", "gemma3")):  # they do not generate from embeddings
        assert torch.equal(new["beams"], generate(model, hand, "beams")[:, -GREEDY["max_new_tokens"] :])


@pytest.mark.parametrize("name", FAMILIES)
def test_ragged_batch_equals_single_runs(name: str) -> None:
    model, given, keep = shared(name), prompts(name, *MIXED), (4, 0, 3)
    with pruner(name, keep).attach(model):
        together = {mode: generate(model, given.inputs, mode)[:, given.ids.shape[1] :] for mode in MODES}
    for number in range(len(MIXED)):
        alone = given.row(number)
        with pruner(name, keep[given.owned(number)] or (0,)).attach(model) as pruning:
            for mode in MODES:
                single = generate(model, alone.inputs, mode)[:, alone.ids.shape[1] :]
                assert torch.equal(together[mode][number : number + 1], single), (number, mode)
        assert bool(pruning.receipt) == bool(alone.images)


@pytest.mark.parametrize("per", ["tile", "image", "total"])
@pytest.mark.parametrize("name", ["internvl", "idefics3", "idefics3-of-three", "smolvlm", "gemma3"])
def test_budgets_count_tiles_and_images(name: str, per: str) -> None:
    model, given = shared(name), prompts(name, *MIXED)
    budget = {"name": "tokens", "keep": 3, "per": per}
    options = {"partition": "tile" if per == "tile" else "image", "saliency": FAMILIES[name].saliency}
    with scope.Pruner("scope", budget=budget, **options).attach(model) as pruning:
        logits(model, given.inputs)
    tiles = [len(image) for image in given.images]
    tokens = pruning.receipt.selection.tokens
    assert [row[valid].bincount().tolist() for row, valid in zip(tokens.tile, tokens.valid, strict=True)] == [
        [FAMILIES[name].tokens] * count for count in tiles
    ]
    kept = [image.kept for image in pruning.receipt.images]
    if per == "tile":
        assert kept == [3 * count for count in tiles]
        for row, count in zip(tokens.tile.masked_fill(~pruning.receipt.selection.mask, 99), tiles, strict=True):
            assert row.bincount()[:count].tolist() == [3] * count
    elif per == "image":
        assert kept == [3] * len(tiles)
    else:
        assert sum(kept) == 3


@pytest.mark.parametrize("failure", ["none", "body", "tower", "decoder", "plugin", "budget", "prompt"])
@pytest.mark.parametrize("name", ["vipllava", "paligemma", "internvl", "smolvlm", "gemma3"])
def test_detached_tree_is_as_it_was_found(name: str, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = shared(name), prompts(name, *MIXED)
    generate(model, given.inputs, "greedy")  # the library puts its own hooks in on the first call
    before = snapshot(model)
    error = {"plugin": ZeroDivisionError, "budget": scope.BudgetError, "prompt": scope.AttachError}.get(
        failure, RuntimeError
    )
    used = pruner(name, 99 if failure == "budget" else 5, **({"saliency": "broken"} if failure == "plugin" else {}))
    inputs = dict(given.inputs)
    if failure == "prompt":
        inputs["input_ids"] = given.ids.masked_fill((given.ids == PLACEHOLDER).cumsum(1) == 1, 7)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    def use() -> None:
        with used.attach(model):
            if failure == "none":
                assert differences(before, snapshot(model)) != []
            decoder = getattr(model.model, "language_model", None) or model.model.text_model
            broken = {"tower": getattr(model.model, FAMILIES[name].tower), "decoder": decoder.layers[1]}.get(failure)
            with monkeypatch.context() as patch:
                if broken is not None:
                    patch.setattr(broken, "forward", fail)
                generate(model, inputs, "greedy")
                logits(model, inputs)
            if failure == "body":
                fail()

    if failure == "none":
        use()
    else:
        with pytest.raises(error):
            use()
    assert differences(before, snapshot(model)) == []


@pytest.mark.parametrize("name", ["vipllava", "paligemma", "internvl", "smolvlm", "gemma3"])
def test_no_memory_of_an_earlier_call(name: str) -> None:
    model, first, second = shared(name), prompts(name, *MIXED), prompts(name, [2, "3x1", 2], [4, "1", 1], seed=2)
    with pruner(name, 4).attach(model):
        fresh = logits(model, second.inputs), generate(model, second.inputs, "beams")
    with pruner(name, 4).attach(model) as pruning:
        logits(model, first.inputs)
        generate(model, first.inputs, "beams")
        assert torch.equal(logits(model, second.inputs), fresh[0])
        assert torch.equal(generate(model, second.inputs, "beams"), fresh[1])
        text = prompts(name, [5])
        assert torch.equal(generate(model, text.inputs, "greedy"), model.generate(text.ids, **GREEDY))
    assert pruning.receipt.calls == 4


@pytest.mark.parametrize("name", FAMILIES)
def test_signals_are_those_of_the_eager_tower(name: str) -> None:
    """At several layers, per head, over several tiles; attention summed over a token's patches, the rest averaged."""
    model, given, family = shared(name), prompts(name, *ONE), FAMILIES[name]
    kinds = ["received_attention", "keys", "hidden", *(["cls_attention"] if family.cls else [])]
    names = [f"vision.{kind}[{layer}]" for kind in kinds for layer in (-1, -2, 1)]
    with pruner(name, 4, saliency={"name": "reader", "names": names}).attach(model) as pruning:
        logits(model, given.inputs)
    tokens, out = pruning.receipt.selection.tokens, tower_pass(name, given.images[0])
    for layer, place in ((-1, 3), (-2, 2), (1, 0)):
        maps = out.attentions[place]
        for kind, patches in (("received_attention", maps.mean(2)), ("cls_attention", maps[:, :, 0])):
            if kind in kinds:
                got = tokens.signal(f"vision.{kind}[{layer}]")[0]
                wanted = blocks(name, patches[..., -36:].movedim(2, 1)).sum(2).flatten(0, 1).T
                torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
                assert got.std() > 1e-3
        wanted = blocks(name, out.hidden_states[place + 1][:, -36:]).mean(2).flatten(0, 1)
        torch.testing.assert_close(tokens.signal(f"vision.hidden[{layer}]")[0], wanted, atol=1e-4, rtol=1e-4)
        wanted = blocks(name, out.keys[place][:, -36:]).mean(2).flatten(0, 1).unflatten(1, (4, 8)).movedim(1, 0)
        torch.testing.assert_close(tokens.signal(f"vision.keys[{layer}]")[0], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("at", ["vision", "projected"])
@pytest.mark.parametrize("name", FAMILIES)
def test_features_and_cells(name: str, at: str) -> None:
    model, given, family = shared(name), prompts(name, *MIXED), FAMILIES[name]
    with pruner(name, 4, at=at, saliency="uniform").attach(model) as pruning:
        logits(model, given.inputs)
    tokens = pruning.receipt.selection.tokens
    got = tokens.features[tokens.valid]
    if at == "projected":
        assert torch.equal(got, projected(name, given))
    else:
        wanted = torch.cat([features(name, image).flatten(0, 1) for image in given.images])
        torch.testing.assert_close(got.sort(-1).values, wanted.sort(-1).values, atol=1e-4, rtol=1e-4)
    side = 6 // family.square
    cells = [[row, col] for row in range(side) for col in range(side)] * sum(len(image) for image in given.images)
    assert torch.stack([tokens.row[tokens.valid], tokens.col[tokens.valid]], 1).tolist() == cells


@pytest.mark.parametrize("name", ["paligemma", "smolvlm", "idefics3", "gemma3"])
def test_a_recipe_that_needs_cls_is_refused_when_attaching(name: str) -> None:
    with pytest.raises(scope.SignalError) as caught:
        keeping(4).attach(shared(name))
    for word in (
        "'cls_attention'",
        "vision.cls_attention[-2]",
        type(shared(name)).__name__,
        "no CLS token",
        "received_attention",
    ):
        assert word in str(caught.value)
    assert "forward" not in vars(shared(name))


@pytest.mark.parametrize("name", ["vipllava", "internvl", "smolvlm", "gemma3"])
def test_half_precision(name: str) -> None:
    """Selection computes in float32; keeping everything is exact, and ragged batches run."""
    model, given = copy.deepcopy(shared(name)).to(torch.bfloat16), prompts(name, *MIXED)
    inputs = {**given.inputs, "pixel_values": given.inputs["pixel_values"].bfloat16()}
    wanted = logits(model, inputs)
    with pruner(name, given.counts).attach(model) as pruning:
        assert torch.equal(logits(model, inputs), wanted)
    assert pruning.receipt.selection.tokens.features.dtype == torch.float32
    with pruner(name, [3, 2, 4]).attach(model) as pruning:
        generate(model, inputs, "beams")
    assert [image.kept for image in pruning.receipt.images] == [3, 2, 4]
