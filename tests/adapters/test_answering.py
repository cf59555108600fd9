"""Images encoded once: the same answers as an ordinary call, whoever selects and however prompts are batched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters import models
from adapters.test_conformance import CASES, MARKS, Case
from scope_core.adapters import Asked

LENGTH = 5
ALONG = ("attention_mask", "token_type_ids", "mm_token_type_ids")


class Kept(dict[str, Tensor]):
    """A memo that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = self.hits = 0

    def get(self, key: str) -> Tensor | None:  # type: ignore[override]
        found = super().get(key)
        self.hits += found is not None
        return found

    def put(self, key: str, tensor: Tensor) -> None:
        self.puts += 1
        self[key] = tensor.clone()


def questions(inputs: dict[str, Any], count: int = 3) -> list[dict[str, Any]]:
    """The prompt, and prompts about the same images that end differently, each a little longer."""
    made = [inputs]
    for number in range(1, count):
        more = torch.full((1, number), 20 + number)
        longer = {"input_ids": torch.cat([inputs["input_ids"], more], 1)}
        for name in ALONG:
            if inputs.get(name) is not None:
                fill = torch.ones_like(more) if name == "attention_mask" else torch.zeros_like(more)
                longer[name] = torch.cat([inputs[name], fill.to(inputs[name])], 1)
        made.append({**inputs, **longer})
    return made


def plainly(model: Any, pruner: scope.Pruner, inputs: dict[str, Any]) -> list[int]:
    with pruner.attach(model):
        out = model.generate(**inputs, max_new_tokens=LENGTH, do_sample=False)
    return out[0, inputs["input_ids"].shape[1] :].tolist()


SPECS = (
    {"recipe": "uniform_grid", "budget": 0.4, "at": "projected"},
    {
        "recipe": "scope",
        "saliency": "feature_norm",
        "budget": {"name": "tokens", "keep": 3, "if_short": "keep_all"},
        "at": "projected",
    },
)


KINDS = [(name, kind) for name, cases in CASES.items() for kind in cases if name != "generic" or kind == "aya_vision"]


@pytest.mark.parametrize(
    ("adapter", "kind"), [pytest.param(*one, marks=MARKS.get(one, ()), id="-".join(one)) for one in KINDS]
)
def test_answers_are_those_of_generate(adapter: str, kind: str) -> None:
    """For every adapter that says it reuses, and several prompts about each of two sets of images."""
    case: Case = CASES[adapter][kind]
    model, given = case.make()
    for spec in SPECS:
        pruner = scope.Pruner(spec)
        with pruner.attach(model, adapter=adapter) as pruning:
            if not pruning.adapter.reuses:
                with pytest.raises(scope.AttachError, match="call the model's own generate"):
                    pruning.encode(given.row(0).inputs)
                return
        prompts = [questions(dict(given.row(row).inputs)) for row in (0, 2)]
        wanted = [plainly(model, pruner, inputs) for mine in prompts for inputs in mine]
        with pruner.attach(model, adapter=adapter) as pruning:
            asked = []
            for mine in prompts:
                encoding = pruning.encode(mine[0])
                selection = pruner.prune(encoding.tokens, encoding.layout)
                asked += [Asked(inputs, encoding, selection) for inputs in mine]
            together = [ids.tolist() for ids in pruning.answer(asked, max_new_tokens=LENGTH)]
            mixed = [ids.tolist() for ids in pruning.answer(asked[::2], max_new_tokens=LENGTH)]
        assert together == wanted
        assert mixed == wanted[::2]
    assert len({tuple(ids) for ids in wanted}) > 1, "the answers do not depend on the prompt"


COUNTING: dict[str, dict[str, Any]] = {
    "max_length": {"max_length": 24 + 3},
    "min_length": {"min_length": 24 + 4, "eos_token_id": list(range(100)), "max_new_tokens": LENGTH},
    "repetition_penalty": {"repetition_penalty": 5.0, "max_new_tokens": LENGTH},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1, "max_new_tokens": LENGTH},
    "begin_suppress_tokens": {"begin_suppress_tokens": list(range(100)), "max_new_tokens": LENGTH},
    "logits_processor": {
        "logits_processor": [lambda ids, scores: scores.scatter(1, ids[:, :24], -torch.inf)],
        "max_new_tokens": LENGTH,
    },
}


@pytest.mark.parametrize("name", COUNTING)
def test_options_that_count_or_read_the_prompt(name: str) -> None:
    """A beginning that prompts share is computed once; to options, each prompt is whole."""
    model, pruner = models.shared("clip"), scope.Pruner("scope@5")
    one = dict(models.batch([3, "image", 4]).inputs)
    prompts = [{**one, "input_ids": one["input_ids"].index_fill(1, torch.tensor(23), last)} for last in (20, 21, 22)]
    with pruner.attach(model) as pruning:
        encoding = pruning.encode(prompts[0])
        selection = pruner.prune(encoding.tokens, encoding.layout)
        found = pruning.answer([Asked(inputs, encoding, selection) for inputs in prompts], **COUNTING[name])
        for inputs, ids in zip(prompts, found, strict=True):
            wanted = model.generate(**inputs, do_sample=False, **COUNTING[name])[0, 24:]
            assert ids.tolist() == wanted.tolist()


def test_prompts_without_images_beside_others() -> None:
    model, pruner = models.shared("clip"), scope.Pruner("scope@5")
    one, bare = models.batch([3, "image", 4]).inputs, models.batch([6]).inputs
    with pruner.attach(model) as pruning:
        encoding = pruning.encode(one)
        seen = Asked(one, encoding, pruner.prune(encoding.tokens, encoding.layout))
        both = [ids.tolist() for ids in pruning.answer([Asked(bare), seen], max_new_tokens=LENGTH)]
        alone = [ids.tolist() for ids in pruning.answer([Asked(bare)], max_new_tokens=LENGTH)]
        assert pruning.answer([], max_new_tokens=LENGTH) == []
    assert both == [plainly(model, pruner, bare), plainly(model, pruner, one)]
    assert alone == both[:1]


def test_one_encoding_serves_pruners_with_other_needs() -> None:
    """Signals are taken by whoever encodes; the others only select."""
    model = models.shared("clip")
    reader, other = scope.Pruner("scope@5"), scope.Pruner("top_k_attention@3")
    one = models.batch([3, "image", 4]).inputs
    with reader.attach(model) as pruning:
        encoding = pruning.encode(one)
    with other.attach(model) as pruning:
        selection = other.prune(encoding.tokens, encoding.layout)
        (ids,) = pruning.answer([Asked(one, encoding, selection)], max_new_tokens=LENGTH)
    assert ids.tolist() == plainly(model, other, one)


def test_answers_end_where_they_end() -> None:
    """Prompts of a batch end at different steps; what fills up the shorter ones is not part of them."""
    model, pruner = models.shared("clip"), scope.Pruner("scope@5")
    prompts = questions(dict(models.batch([3, "image", 4]).inputs), 4)
    with pruner.attach(model) as pruning:
        encoding = pruning.encode(prompts[0])
        selection = pruner.prune(encoding.tokens, encoding.layout)
        asked = [Asked(inputs, encoding, selection) for inputs in prompts]
        whole = [ids.tolist() for ids in pruning.answer(asked, max_new_tokens=LENGTH)]
        ends = [whole[0][1], whole[1][3]]
        found = [ids.tolist() for ids in pruning.answer(asked, max_new_tokens=LENGTH, eos_token_id=ends)]
        for inputs, ids in zip(prompts, found, strict=True):
            out = model.generate(**inputs, max_new_tokens=LENGTH, do_sample=False, eos_token_id=ends)
            assert ids == out[0, inputs["input_ids"].shape[1] :].tolist()
    assert len({len(ids) for ids in found}) > 1


@pytest.mark.parametrize("position", ["compact", "original"])
@pytest.mark.parametrize("keep", [1, 7, 16])
def test_positions_and_budgets(position: str, keep: int) -> None:
    model, pruner = models.shared("dinov2"), scope.Pruner("scope", budget=keep, positions=position)
    prompts = questions(dict(models.batch([3, "image", 4]).inputs), 4)
    with pruner.attach(model) as pruning:
        encoding = pruning.encode(prompts[0])
        selection = pruner.prune(encoding.tokens, encoding.layout)
        found = pruning.answer([Asked(p, encoding, selection) for p in prompts], max_new_tokens=LENGTH)
    assert [ids.tolist() for ids in found] == [plainly(model, pruner, inputs) for inputs in prompts]


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "clip-two-layers", "clip-positive-layer", "clip-eager"])
def test_what_the_tower_kept_is_as_good_as_new(kind: str) -> None:
    """Bit for bit, for features and signals alike."""
    model, memo = models.shared(kind), Kept()
    saliency = "received_attention" if kind == "siglip" else "cls_attention"
    pruner = scope.Pruner({"recipe": "scope", "saliency": saliency, "budget": 4})
    one = models.batch([3, "image", 4]).inputs
    with pruner.attach(model) as pruning:
        plain = pruning.encode(one)
        first = pruning.encode(one, memo=memo)
        again = pruning.encode(one, memo=memo)
        other = pruning.encode({**one, "pixel_values": one["pixel_values"] + 1e-3}, memo=memo)
    assert (memo.puts, memo.hits) == (2, 1)
    for kept in (first, again):
        assert torch.equal(kept.tokens.features, plain.tokens.features)
        assert torch.equal(kept.held.rows[0], plain.held.rows[0])
        for name in pruner.needs:
            assert torch.equal(kept.tokens.signals[name], plain.tokens.signals[name])
    assert not torch.equal(other.tokens.features, plain.tokens.features)


def test_layers_below_are_not_run_again() -> None:
    """What is kept is taken at its word: zeros in its place change what comes out."""
    memo, pruner, one = Kept(), scope.Pruner("scope@4"), models.batch([3, "image", 4]).inputs
    with pruner.attach(models.shared("clip")) as pruning:
        first = pruning.encode(one, memo=memo)
        for tensor in memo.values():
            tensor.zero_()
        assert not torch.equal(pruning.encode(one, memo=memo).tokens.features, first.tokens.features)


def test_another_tower_does_not_find_what_the_first_one_kept() -> None:
    memo, pruner = Kept(), scope.Pruner("scope@4")
    one = models.batch([3, "image", 4]).inputs
    for seed in (0, 1):
        with pruner.attach(models.llava("clip", seed=seed)) as pruning:
            pruning.encode(one, memo=memo)
    assert (memo.puts, memo.hits) == (2, 0)


def test_what_does_not_fit_is_refused() -> None:
    model, pruner = models.shared("clip"), scope.Pruner("scope@4")
    one, two = models.batch([3, "image", 4]).inputs, models.batch([3, "image", 2, "image", 4]).inputs
    with pruner.attach(model) as pruning:
        encoding = pruning.encode(one)
        selection = pruner.prune(encoding.tokens, encoding.layout)
        with pytest.raises(scope.AttachError, match="placeholders"):
            pruning.answer([Asked(two, encoding, selection)])
        with pytest.raises(scope.AttachError, match="one prompt at a time"):
            pruning.answer([Asked({"input_ids": one["input_ids"][0]}, encoding, selection)])
        odd = {**one, "position_ids": torch.arange(one["input_ids"].shape[1])[None]}
        with pytest.raises(scope.AttachError, match="position_ids, which cannot be batched"):
            pruning.answer([Asked(odd, encoding, selection)])
        for options in ({"num_beams": 2}, {"do_sample": True}, {"num_return_sequences": 2}):
            with pytest.raises(scope.AttachError, match=f"{next(iter(options))}.*one greedy sequence a prompt"):
                pruning.answer([Asked(one, encoding, selection)], **options)
        with pytest.raises(scope.AttachError, match="custom_generate"):
            pruning.answer([Asked(one, encoding, selection)], custom_generate="here")
        longer = {"input_ids": torch.cat([one["input_ids"], one["input_ids"][:, -1:]], 1)}
        with pytest.raises(scope.AttachError, match="differ in length; give max_new_tokens"):
            pruning.answer([Asked(one, encoding, selection), Asked(longer, encoding, selection)], max_length=30)
    with pytest.raises(scope.AttachError, match="detached"):
        pruning.answer([Asked(one, encoding, selection)])
