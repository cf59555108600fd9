"""The original LLaVA codebase's shape, on a stand-in: what has to hold of every pruned model, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import offers
import oracles
import pytest
import torch
import transformers as hf
from fakes import with_part
from torch import Tensor, nn

import scope_core as scope
from adapters.guests import keeping
from adapters.installed import cache_of, with_attention
from adapters.models import PLACEHOLDER, llava
from adapters.original_llava import (
    IGNORE_INDEX,
    IMAGE_TOKEN_INDEX,
    KINDS,
    PATCH,
    SIDE,
    Prompts,
    best_canvas,
    prompts,
    shared,
)
from adapters.snapshot import differences, snapshot
from scope_core.parts import Merger, PositionPolicy
from scope_core.pruning.compatibility import find_adapter
from scope_core.testing import check_adapter

WIDE, TALL, ODD = (90, 33), (28, 100), (40, 30)
MIXED = ([3, ODD, 4], [6], [2, WIDE, 1, TALL, 5])
"""A short prompt, one without an image, and one with two."""
GREEDY = {"max_new_tokens": 5, "do_sample": False}
MODES: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": {**GREEDY, "num_beams": 2},
    "no cache": {**GREEDY, "use_cache": False},
}
GRID = SIDE // PATCH


def logits(model: Any, given: Prompts, **options: Any) -> Tensor:
    with torch.no_grad():
        return model(given.ids, **given.inputs, **options).logits


def generate(model: Any, given: Prompts, mode: str = "greedy", **options: Any) -> Tensor:
    return model.generate(given.ids, **given.inputs, **{**MODES[mode], **options})


def everything() -> scope.Pruner:
    return scope.Pruner({"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 1.0}})


def rows_of(kind: str, size: tuple[int, int]) -> list[int | None]:
    """Which patch (tile * n + patch) each row of an image is, None for newlines; by loops over the canvas."""
    count = GRID * GRID + (kind == "1.5 cls")
    if kind.startswith("1.5"):
        return list(range(count))
    across, down = (length // SIDE for length in best_canvas(size, shared(kind).config.image_grid_pinpoints))
    if kind == "flat":
        return list(range((1 + across * down) * count))
    rows: list[int | None] = list(range(count))
    height, width = down * GRID, across * GRID
    inside = [(0, height), (0, width)]
    if kind == "1.6" and size[0] / size[1] > width / height:
        spare = (height - int(size[1] * (width / size[0]))) // 2
        inside[0] = (spare, height - spare)
    elif kind == "1.6":
        spare = (width - int(size[0] * (height / size[1]))) // 2
        inside[1] = (spare, width - spare)
    for row in range(*inside[0]):
        for col in range(*inside[1]):
            tile = 1 + row // GRID * across + col // GRID
            rows.append(tile * count + row % GRID * GRID + col % GRID)
        rows += [None] if kind == "1.6" else []
    return rows


def tower_pass(model: Any, given: Prompts) -> tuple[list[Tensor], list[Tensor]]:
    """Features and CLS attention of the patches of each image, tiles one after another, by eager attention maps."""
    wrapper = model.get_vision_tower()
    tower = with_attention(wrapper.vision_tower, "eager")
    first = int(wrapper.select_feature == "patch")
    features, scores = [], []
    for image in given.images:
        with torch.no_grad():
            out = tower(image if image.ndim == 4 else image[None], output_hidden_states=True, output_attentions=True)
        features.append(out.hidden_states[wrapper.select_layer][:, first:].flatten(0, 1))
        scores.append(out.attentions[-2][:, :, 0, first:].sum(1).flatten())
    return features, scores


def by_hand(model: Any, kind: str, given: Prompts, keep: Sequence[int], newlines: str = "keep") -> dict[str, Tensor]:
    """``inputs_embeds`` and mask with only SCOPE's picks in them, picked by the float64 oracles."""
    features, scores = tower_pass(model, given)
    counts = iter(keep)
    parts: list[Tensor] = []
    for image, (own, score) in enumerate(zip(features, scores, strict=True)):
        rows = rows_of(kind, given.sizes[image])
        candidates = sorted(row for row in rows if row is not None)
        seen = bool((given.ids[given.owners[image]] == IMAGE_TOKEN_INDEX).any())
        if not seen:
            parts.append(torch.empty(0))
            continue
        cosine = oracles.cosine_matrix(own[candidates].numpy())
        picks, _, _ = oracles.scope_picks(cosine, score[candidates].numpy(), next(counts))
        kept = {candidates[pick] for pick in picks}
        with torch.no_grad():
            projected = model.get_model().mm_projector(own)
        part, line = [], []
        for number, row in enumerate(rows):
            if row is not None:
                line += [projected[row]] if row in kept else []
            elif newlines == "keep" or (newlines == "keep_if_row_kept" and line):
                line.append(model.get_model().image_newline)
            if row is None or number == GRID * GRID - 1:  # the overview has no newline to keep alive
                part, line = part + line, []
        parts.append(torch.stack(part + line) if part + line else torch.empty(0, 64))
    made = []
    for number, (ids, mask) in enumerate(zip(given.ids, given.mask.bool(), strict=True)):
        own_parts = iter([parts[i] for i, row in enumerate(given.owners) if row == number])
        table = model.get_model().embed_tokens.weight
        pieces = [next(own_parts) if i == IMAGE_TOKEN_INDEX else table[i][None] for i in ids[mask].tolist()]
        made.append(torch.cat(pieces))
    longest = max(map(len, made))
    embeds, attended = torch.zeros(len(made), longest, 64), torch.zeros(len(made), longest, dtype=torch.int64)
    for number, row in enumerate(made):
        where = slice(longest - len(row), None) if model.config.tokenizer_padding_side == "left" else slice(len(row))
        embeds[number, where], attended[number, where] = row.detach(), 1
    return {"inputs_embeds": embeds, "attention_mask": attended}


def twin(model: Any, kind: str) -> Any:
    """Hugging Face's own model with the same weights."""
    text = hf.LlamaConfig(**{name: getattr(model.config, name) for name in (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "vocab_size", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id",
    )})  # fmt: skip
    wrapper = model.get_vision_tower()
    options = {
        "vision_config": hf.CLIPVisionConfig(**model.config.tower), "text_config": text, "image_token_id": PLACEHOLDER,
        "vision_feature_layer": wrapper.select_layer,
        "vision_feature_select_strategy": "default" if wrapper.select_feature == "patch" else "full",
    }  # fmt: skip
    if kind == "1.6":
        points = [[height, width] for width, height in model.config.image_grid_pinpoints]
        made = hf.LlavaNextForConditionalGeneration(hf.LlavaNextConfig(**options, image_grid_pinpoints=points))
        made.model.image_newline.data = model.model.image_newline.data
    else:
        made = hf.LlavaForConditionalGeneration(hf.LlavaConfig(**options, image_seq_length=16))
    made.model.vision_tower.load_state_dict(wrapper.vision_tower.state_dict())
    made.model.multi_modal_projector.linear_1.load_state_dict(model.model.mm_projector[0].state_dict())
    made.model.multi_modal_projector.linear_2.load_state_dict(model.model.mm_projector[2].state_dict())
    decoder = {name for name, _ in made.model.language_model.named_parameters()}
    made.model.language_model.load_state_dict({n: w for n, w in model.model.state_dict().items() if n in decoder})
    made.lm_head.load_state_dict(model.lm_head.state_dict())
    for name, value in {"eos_token_id": None, "pad_token_id": 0, "suppress_tokens": [PLACEHOLDER]}.items():
        setattr(made.generation_config, name, value)
    return made.eval()


def twin_inputs(kind: str, given: Prompts) -> dict[str, Any]:
    """The same prompts as a Hugging Face processor writes them: a placeholder for every row."""
    real = [i for i, row in enumerate(given.owners) if bool((given.ids[row] == IMAGE_TOKEN_INDEX).any())]
    counts = iter(len(rows_of(kind, given.sizes[i])) for i in real)
    rows = []
    for ids, mask in zip(given.ids, given.mask.bool(), strict=True):
        row: list[int] = []
        for token in ids[mask].tolist():
            row += [PLACEHOLDER] * next(counts) if token == IMAGE_TOKEN_INDEX else [token]
        rows.append(row)
    longest = max(map(len, rows))
    made = {
        "input_ids": torch.tensor([[0] * (longest - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows]),
    }
    if kind != "1.6":
        return {**made, "pixel_values": torch.stack([given.images[i] for i in real])}
    most = max(len(given.images[i]) for i in real)
    pixels = torch.zeros(len(real), most, 3, SIDE, SIDE)
    for number, image in enumerate(real):
        pixels[number, : len(given.images[image])] = given.images[image]
    return {**made, "pixel_values": pixels, "image_sizes": torch.tensor([given.sizes[i][::-1] for i in real])}


@pytest.mark.parametrize("kind", ["1.5", "1.5 cls", "1.5 last layer", "1.6"])
def test_the_stand_in_is_a_llava(kind: str) -> None:
    """Unpruned and pruned, it computes what Hugging Face's own models with the same weights compute."""
    model, given = shared(kind), prompts(kind, *MIXED)
    other, inputs = twin(model, kind), twin_inputs(kind, given)
    for pruner in (None, keeping([5, 3, 9]), keeping([9, 16, 2], at="projected", saliency="received_attention")):
        with pruner.attach(model) if pruner else nullcontext() as here, torch.no_grad():
            got, ids = model(given.ids, **given.inputs).logits, generate(model, given)
        with pruner.attach(other) if pruner else nullcontext() as there, torch.no_grad():
            wanted, full = other(**inputs).logits, other.generate(**inputs, **GREEDY)
        assert got.shape == wanted.shape
        lengths = torch.tensor(starts(kind, given)[0]) if here is None else (here.positions >= 0).sum(1)
        real = torch.arange(got.shape[1]) >= got.shape[1] - lengths[:, None]
        torch.testing.assert_close(got[real], wanted[real], atol=2e-4, rtol=0)
        assert torch.equal(ids, full[:, inputs["input_ids"].shape[1] :])
        if pruner:
            assert torch.equal(here.receipt.selection.picks, there.receipt.selection.picks)
            assert here.receipt.images == tuple(
                dataclasses.replace(image, patches=mine.patches)
                for image, mine in zip(there.receipt.images, here.receipt.images, strict=True)
            )


def starts(kind: str, given: Prompts) -> tuple[list[int], list[list[int]]]:
    """How long each row is with its images in it, and where in it the images begin."""
    sizes = iter(given.sizes)
    lengths, begins = [], []
    for ids, mask in zip(given.ids, given.mask.bool(), strict=True):
        at, own = 0, []
        for token in ids[mask].tolist():
            own += [at] if token == IMAGE_TOKEN_INDEX else []
            at += len(rows_of(kind, next(sizes))) if token == IMAGE_TOKEN_INDEX else 1
        if not own:
            next(sizes)  # what a prompt without an image takes all the same
        lengths.append(at)
        begins.append(own)
    return lengths, begins


@pytest.mark.parametrize("kind", KINDS)
def test_models_read_their_images(kind: str) -> None:
    model, given = shared(kind), prompts(kind, [3, ODD, 4], [2, ODD, 5])
    swapped = given.images[::-1] if isinstance(given.images, list) else given.images.flip(0)
    other = dataclasses.replace(given, images=swapped)
    assert ((logits(model, given) - logits(model, other))[:, -1].abs().amax(1) > 0.1).all()
    with keeping(5).attach(model):
        few = generate(model, given)
    assert (few != generate(model, given)).any(1).all()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_keeping_everything_changes_nothing(kind: str, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = shared(kind), prompts(kind, *MIXED, side=side)
    monkeypatch.setattr(model.config, "tokenizer_padding_side", side)
    labels = given.ids.masked_fill(given.ids == IMAGE_TOKEN_INDEX, IGNORE_INDEX)
    numbers = torch.arange(given.ids.shape[1]).expand_as(given.ids)
    bare = dataclasses.replace(prompts(kind, MIXED[0]), mask=None)

    def results() -> list[Tensor]:
        with torch.no_grad():
            loss = model(given.ids, **given.inputs, labels=labels).loss
        made = [logits(model, given), logits(model, given, position_ids=numbers), loss, logits(model, bare)]
        return made + [generate(model, given, mode) for mode in MODES]

    wanted = results()
    with everything().attach(model) as pruning:
        got = results()
        whole = logits(model, given)
        real = pruning.positions >= 0
        assert torch.equal(pruning.expand(whole)[real], whole[real])
        assert torch.equal(pruning.positions[real], torch.arange(whole.shape[1]).expand_as(real)[real])
    assert all(torch.equal(one, other) for one, other in zip(got, wanted, strict=True))
    assert pruning.receipt.kept == pruning.receipt.tokens
    assert pruning.receipt.calls == len(got) + 1


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_kept_tokens_are_those_of_the_oracle(kind: str, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = shared(kind), prompts(kind, *MIXED, side=side)
    monkeypatch.setattr(model.config, "tokenizer_padding_side", side)
    inputs = by_hand(model, kind, given, [5, 3, 9])
    with torch.no_grad():
        wanted = model(**inputs).logits
    with keeping([5, 3, 9]).attach(model) as pruning:
        got = logits(model, given)
    assert torch.equal(pruning.positions >= 0, inputs["attention_mask"].bool())
    assert got.shape == wanted.shape
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(got[real], wanted[real], atol=2e-4, rtol=0)


@pytest.mark.parametrize("kind", ["1.5", "1.6"])
def test_one_prompt_generates_what_hand_built_embeddings_generate(kind: str) -> None:
    model, given = shared(kind), prompts(kind, MIXED[0])
    inputs = by_hand(model, kind, given, [6])
    with keeping(6).attach(model):
        got = {mode: generate(model, given, mode) for mode in MODES}
    for mode, options in MODES.items():
        assert torch.equal(got[mode], hf.LlamaForCausalLM.generate(model, **inputs, **options)), mode


@pytest.mark.parametrize("keep", [(5, 3, 9), (0, 4, 2), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("kind", ["1.5", "1.6", "flat"])
def test_ragged_batch_equals_single_runs(kind: str, keep: tuple[int, ...]) -> None:
    model, given = shared(kind), prompts(kind, *MIXED)
    with keeping(keep).attach(model):
        together = {mode: generate(model, given, mode) for mode in MODES}
    for number, own in enumerate([keep[:1], (), keep[1:]]):
        alone = given.row(number)
        with keeping(own).attach(model) if own else nullcontext():
            for mode in MODES:
                assert torch.equal(together[mode][number : number + 1], generate(model, alone, mode)), (number, mode)


@pytest.mark.parametrize("newlines", ["keep", "drop", "keep_if_row_kept"])
def test_newlines(newlines: str) -> None:
    model, given = shared("1.6"), prompts("1.6", *MIXED)
    spec = {"name": "llava_original", "newlines": newlines}
    inputs = by_hand(model, "1.6", given, [5, 3, 9], newlines)
    with keeping([5, 3, 9], adapter=spec).attach(model) as pruning, torch.no_grad():
        got, wanted = logits(model, given), model(**inputs).logits
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(got[real], wanted[real], atol=2e-4, rtol=0)
    shown = [image.separators for image in pruning.receipt.images]
    lines = [sum(row is None for row in rows_of("1.6", size)) for size in (ODD, WIDE, TALL)]
    assert {"keep": shown == lines, "drop": shown == [0] * 3, "keep_if_row_kept": 0 < sum(shown) < sum(lines)}[newlines]
    visual = (pruning.positions >= 0).sum(1) - torch.tensor([8, 7, 9])
    assert visual.tolist() == [5 + shown[0], 0, 12 + shown[1] + shown[2]]


@pytest.mark.parametrize("kind", ["1.5", "1.5 cls", "1.6", "1.6 padded"])
def test_plans_are_what_happens(kind: str) -> None:
    """On odd sizes, one to four tiles, extreme shapes, and with every image in a list."""
    model = shared(kind)
    sizes = [(40, 30), (33, 33), (100, 7), (7, 100), (29, 57), (84, 28), (61, 20), (1, 1), (3000, 2000), (56, 56)]
    given = prompts(kind, *([2, size] for size in sizes))
    for budget in ({"name": "ratio", "keep_ratio": 0.4}, 5, {"name": "tokens", "keep": 37, "per": "total"}):
        with scope.Pruner({"recipe": "scope", "budget": budget}).attach(model) as pruning:
            plan = pruning.plan([size[::-1] for size in sizes])
            logits(model, given)
        receipt = pruning.receipt
        assert plan.images == tuple(image.kept for image in receipt.images)
        planned = [(image.tokens, image.separators, image.patches) for image in plan.layout.images]
        assert planned == [(image.tokens, image.separators, image.patches) for image in receipt.images]
        for image, row in enumerate(pruning.positions):
            assert int((row >= 0).sum()) == 3 + receipt.images[image].kept + receipt.images[image].separators


def test_a_plan_needs_the_number_of_tiles() -> None:
    with pytest.raises(scope.AdapterError, match=r"40 x 30 pixels has; plan by counts instead: plan\(Layout"):
        scope.Pruner("scope@5").plan([(40, 30)], model=shared("flat"))


def test_positions_say_where_everything_was() -> None:
    model, given = shared("1.6"), prompts("1.6", *MIXED)
    whole = logits(model, given)
    with keeping([5, 3, 9]).attach(model) as pruning:
        short = logits(model, given)
        spread = pruning.expand(short, float("nan"))
    assert spread.shape == whole.shape
    assert torch.equal(spread.isnan().all(-1).sum(1), whole.shape[1] - (pruning.positions >= 0).sum(1))
    lengths, begins = starts("1.6", given)
    picks = iter(pruning.receipt.selection.kept.tolist())
    sizes = iter((ODD, WIDE, TALL))
    for row, length, own in zip(pruning.positions.tolist(), lengths, begins, strict=True):
        visual: list[int] = []
        for begin in own:
            rows = rows_of("1.6", next(sizes))
            candidates = sorted(patch for patch in rows if patch is not None)
            kept = {candidates[pick] for pick in next(picks) if pick >= 0}
            first = whole.shape[1] - length + begin
            visual += range(first, first + len(rows))
            assert [p for p in row if first <= p < first + len(rows)] == [
                first + number for number, patch in enumerate(rows) if patch is None or patch in kept
            ]
        text = [p for p in range(whole.shape[1] - length, whole.shape[1]) if p not in visual]
        assert [p for p in row if p >= 0 and p not in visual] == text


def test_labels_follow_their_tokens_and_gradients_flow() -> None:
    model, given = copy.deepcopy(shared("1.6")), prompts("1.6", *MIXED)
    labels = given.ids.masked_fill(given.ids == IMAGE_TOKEN_INDEX, IGNORE_INDEX)
    with keeping([5, 3, 9]).attach(model) as pruning:
        made = model.prepare_inputs_labels_for_multimodal(
            given.ids, None, given.mask, None, labels, given.images, given.sizes
        )[-1]
        model(given.ids, **given.inputs, labels=labels).loss.backward()
    wanted = [row[mask & (row >= 0)].tolist() for row, mask in zip(labels, given.mask.bool(), strict=True)]
    wanted[2] = wanted[2][1:]  # the longest row began at the very front, where nothing predicts its first token
    assert [row[row >= 0].tolist() for row in made] == wanted
    assert made.shape == pruning.positions.shape
    assert model.model.mm_projector[0].weight.grad.abs().max() > 0
    assert model.model.image_newline.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=offers.half_products)], ids=str)
def test_half_precision(dtype: torch.dtype) -> None:
    """Row numbers stay exact, and so does keeping everything."""
    model, given = copy.deepcopy(shared("1.6")).to(dtype), prompts("1.6", *MIXED, dtype=dtype)
    wanted = logits(model, given)
    with everything().attach(model) as pruning:
        assert torch.equal(logits(model, given), wanted)
    assert pruning.receipt.selection.tokens.features.dtype == torch.float32
    with keeping([5, 3, 9]).attach(model):
        assert logits(model, given).isfinite().all()


@pytest.mark.parametrize("failure", ["none", "body", "tower", "decoder", "plugin", "budget"])
def test_detached_tree_is_as_it_was_found(failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = shared("1.6"), prompts("1.6", *MIXED)
    generate(model, given)
    before = snapshot(model)
    error: type[Exception] = {"plugin": ZeroDivisionError, "budget": scope.BudgetError}.get(failure, RuntimeError)
    used = keeping(999 if failure == "budget" else 5, **({"saliency": "broken"} if failure == "plugin" else {}))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    def use() -> None:
        with used.attach(model):
            assert differences(before, snapshot(model)) != []
            broken = {"tower": model.get_vision_tower().vision_tower, "decoder": model.model.layers[1]}.get(failure)
            with monkeypatch.context() as patch:
                if broken is not None:
                    patch.setattr(broken, "forward", fail)
                generate(model, given)
                logits(model, given)
            if failure == "body":
                fail()

    with nullcontext() if failure == "none" else pytest.raises(error):
        use()
    assert differences(before, snapshot(model)) == []


def test_no_call_remembers_another() -> None:
    model, one, two = shared("1.6"), prompts("1.6", *MIXED), prompts("1.6", [1, TALL, 2, ODD])
    with keeping(4).attach(model):
        first = logits(model, one)
    with keeping(4).attach(model):
        logits(model, two)
        with pytest.raises(scope.AttachError):
            model(one.ids, attention_mask=one.mask, images=one.images[:2], image_sizes=one.sizes)
        generate(model, dataclasses.replace(two, images=[image * 3 for image in two.images]))
        assert torch.equal(logits(model, one), first)


def test_calls_without_images_pass() -> None:
    model = shared("1.5")
    ids = torch.randint(10, 140, (2, 7), generator=torch.Generator().manual_seed(0))
    text = prompts("1.5", [4], [6])
    with torch.no_grad():
        wanted = model(ids).logits, model.generate(ids, **GREEDY), logits(model, text), generate(model, text)
        with keeping(5).attach(model) as pruning:
            got = model(ids).logits, model.generate(ids, **GREEDY), logits(model, text), generate(model, text)
    assert all(torch.equal(one, other) for one, other in zip(got, wanted, strict=True))
    assert not pruning.receipt


def test_prompts_are_cut_after_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = shared("1.5"), prompts("1.5", [3, ODD, 20], [2, ODD, 4])
    long = logits(model, given)
    monkeypatch.setattr(model.config, "tokenizer_model_max_length", 30)
    cut = logits(model, given)
    assert (long.shape[1], cut.shape[1]) == (40, 30)
    with everything().attach(model):
        assert torch.equal(logits(model, given), cut)
    with keeping(5).attach(model) as pruning:
        short = logits(model, given)
    assert short.shape[1] == 29  # 4 + 5 + 20: nothing is lost that pruning made room for
    assert pruning.receipt.kept == 10
    monkeypatch.setattr(model.config, "tokenizer_model_max_length", 7)
    with keeping(5).attach(model), pytest.raises(scope.AttachError, match="would cut 2 kept tokens of image 0"):
        logits(model, given)


def test_a_tower_that_fsdp_keeps_in_a_list_and_a_wrapper_like_peft() -> None:
    model, given = shared("1.5", listed=True), prompts("1.5", *MIXED)
    wanted = logits(shared("1.5"), given)

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def get_base_model(self) -> Any:
            return self.inner

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.inner(*args, **kwargs)

    wrapped = Wrapper()
    with keeping([5, 3, 9]).attach(wrapped) as pruning:
        got = logits(wrapped, given)
        with pytest.raises(scope.AttachError, match="already attached to this LlavaForCausalLM"):
            keeping(3).attach(model)
    assert pruning.receipt.kept == 17
    assert got.shape[1] < wanted.shape[1]


def test_a_tower_without_cls() -> None:
    """Wrapped SigLIP: attention from CLS is refused by name, what is received works."""
    model, given = copy.deepcopy(shared("1.5")), prompts("1.5", *MIXED)
    wrapper = model.get_vision_tower()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = hf.SiglipVisionConfig(**model.config.tower, vision_use_head=False)
        wrapper.vision_tower = hf.SiglipVisionModel(config).eval()
    wrapper.select_feature = "cls_patch"
    before = snapshot(model)
    why = r"'cls_attention'.*vision\.cls_attention\[-2\].*LlavaForCausalLM.*no CLS token.*received_attention"
    with pytest.raises(scope.SignalError, match=why):
        scope.Pruner("scope@5").attach(model)
    assert differences(before, snapshot(model)) == []
    wanted = logits(model, given)
    with keeping(16, saliency="received_attention").attach(model) as pruning:
        assert torch.equal(logits(model, given), wanted)
    assert not pruning.declaration.has_cls


def test_merging_reaches_the_language_model() -> None:
    """Kept rows are mixed with the others where a merger says so; newlines and text are left alone."""

    def weights(_: Any, selection: scope.Selection) -> Tensor:
        batch, count, _ = selection.tokens.shape
        own = torch.eye(count).expand(batch, -1, -1)
        mean = selection.tokens.valid / selection.tokens.valid.sum(1, keepdim=True)
        return selection.gather(own / 2 + mean[:, None] / 2)

    registry = with_part(scope.default_registry(), Merger, "acme.mean", weights=weights)
    model, given = shared("1.6"), prompts("1.6", *MIXED)
    call = (given.ids, None, given.mask, None, None, given.images, given.sizes)
    with torch.no_grad():
        whole = model.prepare_inputs_labels_for_multimodal(*call)[4]
        spec = {"recipe": "scope", "budget": 5, "merger": "acme.mean", "at": "projected"}
        with scope.Pruner(spec, registry=registry).attach(model) as pruning:
            got = model.prepare_inputs_labels_for_multimodal(*call)[4]
    lengths, begins = starts("1.6", given)
    first, rows = whole.shape[1] - lengths[0] + begins[0][0], rows_of("1.6", ODD)
    places = [first + number for number, patch in enumerate(rows) if patch is not None]
    mean = whole[0, places].mean(0)
    for now, before in enumerate(pruning.positions[0].tolist()):
        if before >= 0:
            wanted = (whole[0, before] + mean) / 2 if before in places else whole[0, before]
            torch.testing.assert_close(got[0, now], wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("masked", [True, False], ids=["mask", "no mask"])
def test_positions_with_gaps(masked: bool) -> None:
    """A policy that keeps old numbers gets a mask beside them, without which gaps look like packed prompts."""

    def position_ids(_: Any, full: Tensor, index: Tensor, kept: Tensor) -> Tensor:
        return full.gather(1, index).masked_fill(~kept, 0)

    registry = with_part(scope.default_registry(), PositionPolicy, "acme.old", position_ids=position_ids)
    spec = {"recipe": "scope", "budget": 5, "positions": "acme.old"}
    model, given = shared("1.6"), prompts("1.6", MIXED[2])
    inputs = by_hand(model, "1.6", given, [5, 5])
    call = given if masked else dataclasses.replace(given, mask=None)
    with scope.Pruner(spec, registry=registry).attach(model) as pruning, torch.no_grad():
        got = logits(model, call, use_cache=False)
        wanted = model(**inputs, position_ids=pruning.positions, use_cache=False).logits
        torch.testing.assert_close(got, wanted, atol=2e-4, rtol=0)
        assert (wanted - model(**inputs).logits).abs().max() > 1e-2
        ids = generate(model, call)
    options = {**inputs, "position_ids": pruning.positions, **GREEDY}
    assert torch.equal(ids, hf.LlamaForCausalLM.generate(model, **options))


def test_images_as_lists_and_as_one_tensor() -> None:
    model, given = shared("1.6"), prompts("1.6", [2, (56, 56), 3], [4, (50, 52)])
    assert [len(image) for image in given.images] == [5, 5]
    whole = dataclasses.replace(given, images=torch.stack(given.images))
    single = dataclasses.replace(given, images=[image[0] for image in given.images])
    with keeping(5).attach(model) as pruning:
        assert torch.equal(logits(model, given), logits(model, whole))
        logits(model, single)
    assert [dataclasses.astuple(image)[1:5] for image in pruning.receipt.images] == [(16, 5, 1, 16)] * 2
    wanted = logits(model, single)
    with keeping(16).attach(model):
        assert torch.equal(logits(model, single), wanted)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"images": 2}, r"2 images were given, but the prompts take 4: they hold \[1, 0, 2\] placeholders"),
        ({"images": 5}, "5 images were given, but the prompts take 4"),
        ({"max_length": 90}, "max_length counts the prompt.*give max_new_tokens"),
        ({"generation_config": hf.GenerationConfig(min_length=60)}, "min_length counts the prompt.*min_new_tokens"),
    ],
    ids=["too few", "too many", "max_length", "min_length"],
)
def test_calls_that_would_go_wrong_are_refused(change: dict[str, Any], wanted: str) -> None:
    model, given = shared("1.5"), prompts("1.5", *MIXED)
    if "images" in change:
        given = dataclasses.replace(given, images=given.images.repeat(2, 1, 1, 1)[: change["images"]])
        change = GREEDY
    before = snapshot(model)
    with keeping(5).attach(model), pytest.raises(scope.AttachError, match=wanted):
        model.generate(given.ids, **given.inputs, **change)
    assert differences(before, snapshot(model)) == []


def test_a_filled_cache_is_refused() -> None:
    model, given = shared("1.5"), prompts("1.5", MIXED[0])
    with keeping(5).attach(model), torch.no_grad():
        cache = model(given.ids, **given.inputs, use_cache=True).past_key_values
        with pytest.raises(scope.AttachError, match="whole conversation"):
            model(given.ids, **given.inputs, past_key_values=cache)


def test_a_cache_handed_back() -> None:
    """By ``forward``, with no mask or with that of what pruning left: what the whole conversation gives at once."""
    model, given = shared("1.5"), prompts("1.5", MIXED[0])
    new = torch.tensor([[20, 21]])
    whole = dataclasses.replace(given, ids=torch.cat([given.ids, new], 1), mask=torch.cat([given.mask, new > 0], 1))
    with keeping(5).attach(model) as pruning, torch.no_grad():
        wanted = model(whole.ids, **whole.inputs).logits[:, -2:]
        for kind in ("none", "short", "whole"):
            cache = cache_of(model(given.ids, **given.inputs, use_cache=True))
            length = {"none": 0, "short": cache.get_seq_length(), "whole": pruning.prompt_length}[kind] + 2
            mask = None if kind == "none" else torch.ones(1, length, dtype=torch.long)
            call = {"attention_mask": mask, "past_key_values": cache}
            if kind == "whole":
                with pytest.raises(scope.AttachError, match=f"counts {length} positions, but the cache holds"):
                    model(new, **call)
            else:
                torch.testing.assert_close(model(new, **call).logits, wanted)
        cache = cache_of(model(given.ids, **given.inputs, use_cache=True))
        for more in ({}, given.inputs):
            with pytest.raises(scope.AttachError, match="cannot continue from a cache"):
                model.generate(given.ids, **more, **GREEDY, past_key_values=cache)
    with scope.Pruner("scope@5", positions="original").attach(model), torch.no_grad():
        cache = cache_of(model(given.ids, **given.inputs, use_cache=True))
        with pytest.raises(scope.AttachError, match="positions with gaps"):
            model(new, past_key_values=cache)


def test_models_of_other_shapes_are_refused() -> None:
    """At attaching, by the attribute that is in the way, and nothing is left behind."""
    original = type(shared("1.5"))

    class Fork(original):
        def prepare_inputs_labels_for_multimodal(self, input_ids, attention_mask, images, cameras):
            return input_ids

    def fork(model: Any) -> None:
        model.__class__ = Fork

    def scales(model: Any) -> None:
        model.get_vision_tower().s2_scales = [28, 56]

    def joined(model: Any) -> None:
        picked = model.get_vision_tower().picked
        model.get_vision_tower().picked = lambda pictures: picked(pictures) * 2

    def shrinking(model: Any) -> None:
        model.model.mm_projector.insert(0, nn.MaxPool2d((2, 1)))

    def scaled(model: Any) -> None:
        model.encode_images = lambda pictures: original.encode_images(model, pictures) * 2

    def replaced(model: Any) -> None:
        model.prepare_inputs_labels_for_multimodal = lambda *args: args

    def unloaded(model: Any) -> None:
        del model.get_vision_tower().vision_tower
        model.get_vision_tower().is_loaded = False

    def towerless(model: Any) -> None:
        model.model.vision_tower = None

    def skipping(model: Any) -> None:
        model.config.use_pos_skipping = True

    def feature(model: Any) -> None:
        model.get_vision_tower().select_feature = "slicefour_patch"

    for change, wanted in {
        fork: "takes input_ids, attention_mask, images, cameras; labels, past_key_values, position_ids is missing",
        scales: r"get_vision_tower\(\).s2_scales.*S2.*docs/write-an-adapter.md",
        joined: r"the input of get_model\(\).mm_projector is not one hidden state.*docs/write-an-adapter.md",
        shrinking: r"mm_projector turns \(1, 16\) \(images, tokens\) into \(1, 8\).*docs/write-an-adapter.md",
        scaled: "encode_images changes the output.*docs/write-an-adapter.md",
        replaced: "replaced on this instance",
        unloaded: r"call model.get_vision_tower\(\).load_model\(\) first",
        towerless: r"get_vision_tower\(\) is None",
        skipping: "config.use_pos_skipping.*docs/write-an-adapter.md",
        feature: "select_feature = 'slicefour_patch' is not supported.*docs/write-an-adapter.md",
    }.items():
        model = copy.deepcopy(shared("1.5"))
        change(model)
        before = snapshot(model)
        with pytest.raises(scope.AdapterError, match=wanted):
            keeping(5).attach(model)
        assert differences(before, snapshot(model)) == []
    with pytest.raises(scope.AdapterError, match="there is no 'encode_images' in LlavaForConditionalGeneration"):
        keeping(5).attach(llava(), adapter="llava_original")


@pytest.mark.parametrize("kind", ["pooled", "shifted"])
def test_features_that_are_changed_on_their_way_are_refused(kind: str) -> None:
    """A fork that pools, or adds something to features, would make every row somebody else's."""
    original = type(shared("1.6"))

    class Fork(original):
        def merged(self, tiles: Tensor, size: Any) -> Tensor:
            rows = super().merged(tiles, size)
            return (rows[::2] + rows[1::2]) / 2 if kind == "pooled" else rows + 0.5

    model = copy.deepcopy(shared("1.6"))
    model.__class__ = Fork
    why = "mm_patch_merge_type = 'spatial_unpad'.*features changed between encode_images.*docs/write-an-adapter.md"
    with pytest.raises(scope.AdapterError, match=why):
        keeping(5).attach(model)


def test_an_order_that_newlines_stand_in_the_way_of_is_refused() -> None:
    model, given = shared("1.6"), prompts("1.6", *MIXED)
    before = snapshot(model)
    why = "`order: stages`.*`adapter: {name: llava_original, newlines: drop}`, or set `order: raster`"
    with pytest.raises(scope.AdapterError, match=why):
        scope.Pruner("visionzip@8").attach(model)
    assert differences(before, snapshot(model)) == []
    for way in ({"adapter": {"name": "llava_original", "newlines": "drop"}}, {"order": "raster"}):
        with scope.Pruner({"recipe": "visionzip", "budget": 8, **way}).attach(model) as pruning:
            logits(model, given)
        assert pruning.receipt.kept == 24
    with scope.Pruner("visionzip@8").attach(shared("1.6 padded")) as pruning:
        logits(shared("1.6 padded"), prompts("1.6 padded", *MIXED))
    assert pruning.receipt.kept == 24


def test_only_this_adapter_matches() -> None:
    pruner = keeping(5)
    assert find_adapter(shared("1.6"), pruner).spec.name == "llava_original"
    assert find_adapter(llava(), pruner).spec.name == "llava"


@pytest.mark.parametrize("kind", ["1.5", "1.6", "flat"])
def test_it_keeps_what_adapters_promise(kind: str) -> None:
    """The public kit. Its prompts' images have five tiles each, so that they fit in one tensor."""
    sizes = {0: [(50, 52)], 1: [(56, 56)], 2: [(44, 56), (56, 41)]}
    whole = prompts(kind, [3, *sizes[0], 4], [6], [2, sizes[2][0], 1, sizes[2][1], 5])
    pictures = torch.randn(4, 5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    whole = dataclasses.replace(whole, images=pictures if isinstance(whole.images, list) else pictures[:, 0])
    whole = dataclasses.replace(whole, sizes=sizes[0] + sizes[1] + sizes[2])

    def make_inputs(rows: Sequence[int]) -> dict[str, Any]:
        own = [image for row in rows for image in range(4) if whole.owners[image] == row]
        empty = int((whole.mask[list(rows)].sum(0) == 0).sum())
        return {
            "input_ids": whole.ids[list(rows), empty:],
            "attention_mask": whole.mask[list(rows), empty:],
            "images": whole.images[own],
            "image_sizes": [whole.sizes[image] for image in own],
        }

    planned = None if kind == "flat" else [[size[::-1] for size in sizes[row]] for row in (0, 2)]
    planned = planned and [planned[0], [], planned[1]]
    tried = check_adapter("llava_original", shared(kind), make_inputs, sizes=planned)
    plans = {"plans_come_true"} if kind == "flat" else set()
    assert set(tried.skipped) == {"logits_match_hand_built_embeddings"} | plans
