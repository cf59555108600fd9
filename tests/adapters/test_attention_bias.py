"""Attention bias: a row that stands for g tokens gets the attention of g equal rows.

The oracle is the language model itself, unpruned and in float64: every merged row is repeated as often as the tokens it
stands for, at one position, and the copies see each other, since the row sees itself.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters import models, qwen
from scope_core.adapters import Asked, attention_bias

MERGED = {"recipe": "tome", "budget": 5, "attention_bias": "merged"}
NEAREST = {"recipe": "scope", "budget": 5, "attention_bias": "nearest"}
RESTORE = {**MERGED, "positions": "original", "attention_bias": "restore"}
SPECS = {
    "tome": MERGED,
    "prumerge": {"recipe": "prumerge", "budget": 6, "attention_bias": "merged"},
    "scope": NEAREST,
    "restore": RESTORE,
}
NEW = 4
GREEDY = {"max_new_tokens": NEW, "do_sample": False}


def language(model: Any) -> Any:
    return model.model.language_model


class Entered:
    """What the language model was given by the first pass: embeddings and positions."""

    def __init__(self, model: Any) -> None:
        self.hook = language(model).register_forward_pre_hook(self.look, with_kwargs=True)
        self.embeds: Tensor | None = None
        self.numbers: Tensor | None = None

    def look(self, _module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        if self.embeds is None:
            self.embeds, self.numbers = kwargs["inputs_embeds"].clone(), kwargs.get("position_ids")

    def __enter__(self) -> Entered:
        return self

    def __exit__(self, *_: Any) -> None:
        self.hook.remove()


def counted(selection: Any, by: str, row: int) -> list[float]:
    """Tokens of each row of one image, counted one by one."""
    if by == "nearest":
        unit = torch.nn.functional.normalize(selection.tokens.features[row].double(), dim=1)
        kept = selection.kept[row].tolist()
        homes = [t if t in kept else max(kept, key=lambda k: float(unit[t] @ unit[k])) for t in range(len(unit))]
        return [float(homes.count(k)) for k in kept]
    weights = selection.weights[row].double().abs()
    sizes = []
    for one in range(selection.row_counts[row]):
        shares = [float(weights[one, t] / weights[:, t].sum()) for t in range(weights.shape[1]) if weights[:, t].any()]
        sizes.append(sum(shares))
    return sizes


def reference(model: Any, entered: Entered, sizes: list[float], image: Tensor) -> Tensor:
    """(L', V) logits of one prompt, each row of its image repeated as often as it counts."""
    assert entered.embeds is not None
    embeds = entered.embeds.double()
    each = torch.ones(embeds.shape[1], dtype=torch.int64)
    each[image] = torch.tensor([round(size) for size in sizes])
    owner = torch.arange(embeds.shape[1]).repeat_interleave(each)
    numbers = torch.arange(embeds.shape[1])[None] if entered.numbers is None else entered.numbers[:1]
    mask = torch.zeros(1, 1, len(owner), len(owner), dtype=torch.float64)
    mask[0, 0, owner[None, :] > owner[:, None]] = torch.finfo(torch.float64).min
    out = language(model)(
        inputs_embeds=embeds[:, owner], attention_mask=mask, position_ids=numbers[:, owner], use_cache=False
    )
    last = each.cumsum(0) - 1
    return model.lm_head(out.last_hidden_state)[0, last]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("spec", [MERGED, NEAREST], ids=["tome", "scope"])
def test_a_row_counts_as_often_as_the_tokens_it_stands_for(spec: dict[str, Any], attention: str) -> None:
    model = models.llava(attention=attention, dtype=torch.float64)
    given = models.batch([3, "image", 4, 5], dtype=torch.float64)
    with torch.no_grad(), scope.Pruner(spec).attach(model) as pruning, Entered(model) as entered:
        logits = model(**given.inputs).logits
        receipt = pruning.receipt
    sizes = counted(receipt.selection, str(spec["attention_bias"]), 0)
    assert sum(sizes) == pytest.approx(models.PATCHES)
    assert max(sizes) > 1.5
    short = torch.zeros(logits.shape[1], dtype=torch.bool)
    short[4:9] = True  # after the first id and three of text
    with torch.no_grad():
        expected = reference(model, entered, sizes, short)
        plain = reference(model, entered, [1.0] * 5, short)
    near = 1e-9 if attention == "sdpa" else 1e-5  # eager attention takes the softmax in float32
    torch.testing.assert_close(logits[0], expected, rtol=near, atol=near)
    assert (plain - expected).abs().max() > 1e-3
    (note,) = [note for note in receipt.notes if "attention" in note]
    assert f"{min(sizes):.3g} to {max(sizes):.3g} tokens" in note


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_caches_and_beams_see_the_same_bias(name: str, side: str) -> None:
    model = models.llava(dtype=torch.float64)
    given = models.batch(
        [3, "image", 4, 5, 6], [7, 8], [9, "image", 10, "image", 11, 12, 13], side=side, dtype=torch.float64
    )
    spec = SPECS[name]
    cached = [True] if spec.get("positions") == "original" else [True, False]
    with torch.no_grad(), scope.Pruner(spec).attach(model) as pruning:
        if side == "left":
            for options in (GREEDY, {**GREEDY, "num_beams": 2}):
                together = [model.generate(**given.inputs, use_cache=use, **options) for use in cached]
                if "num_beams" not in options:
                    static = {**options, "cache_implementation": "static"}
                    together.append(model.generate(**given.inputs, **static))
                for ids in together:
                    assert torch.equal(ids, together[0])
                for row in (0, 2):
                    alone = given.row(row)
                    out = model.generate(**alone.inputs, **options)
                    assert torch.equal(out[0, alone.length :], together[0][row, given.length :])
        logits = model(**given.inputs).logits
        whole = pruning.expand(logits)
        for row in (0, 2):
            alone = model(**given.row(row).inputs).logits
            expanded = pruning.expand(alone)[0]
            mine = whole[row][given.mask[row].bool()]
            # rotary embeddings are float32, and padding moves positions
            torch.testing.assert_close(mine, expanded, rtol=1e-4, atol=1e-4, equal_nan=True)
    with scope.Pruner({**spec, "attention_bias": "none"}).attach(model):
        plain = model(**given.inputs).logits
    assert (plain - logits).abs().max() > 1e-3


def test_answers_about_encoded_images_have_the_bias() -> None:
    model = models.llava()
    given = models.batch([3, "image", 4, 5])
    pruner = scope.Pruner(NEAREST)
    with torch.no_grad(), pruner.attach(model) as pruning:
        expected = model.generate(**given.inputs, **GREEDY)[0, given.length :].tolist()
        encoding = pruning.encode(given.inputs)
        selection = pruner.prune(encoding.tokens, encoding.layout)
        asked = [Asked(given.inputs, encoding, selection)] * 2
        answers = pruning.answer(asked, max_new_tokens=NEW)
    assert [ids.tolist() for ids in answers] == [expected, expected]


def test_detaching_leaves_the_model_as_it_was() -> None:
    model = models.llava()
    given = models.batch([3, "image", 4, 5])
    with torch.no_grad():
        before = model(**given.inputs).logits
        with scope.Pruner(MERGED).attach(model):
            out = model(**given.inputs, use_cache=True)
        assert torch.equal(model(**given.inputs).logits, before)
        with pytest.raises(scope.AttachError, match="attention_bias: merged"):
            model(input_ids=torch.tensor([[5]]), past_key_values=copy.copy(out.past_key_values))
        with scope.Pruner("tome@5").attach(model), pytest.raises(scope.AttachError, match="with an attention bias"):
            model(input_ids=torch.tensor([[5]]), past_key_values=out.past_key_values)


def test_restore_adds_for_rows_whose_tokens_were_far_apart() -> None:
    features = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    table = {"selector": {"name": "bipartite", "similarity": "cosine", "fold": True}, "merger": "average"}
    selection = scope.Pruner({**table, "budget": 3}).select(features)
    frequencies, places = torch.tensor([1.0, 0.1]), torch.tensor([[0, 1, 2, 10, 11, 12]])
    merged = attention_bias(selection, "merged")
    restored = attention_bias(selection, "restore", places=places, frequencies=frequencies)
    for row, kept in enumerate(selection.rows[0].tolist()):
        mine = selection.weights[0, row].nonzero()[:, 0].tolist()
        cosines = [float(torch.cos(float(places[0, t] - places[0, kept]) * frequencies.double()).mean()) for t in mine]
        size = torch.tensor(float(len(mine)), dtype=torch.float64)
        assert merged[0, row] == size.log()
        torch.testing.assert_close(
            restored[0, row], size.log() + torch.tensor(2 - sum(cosines) / len(mine)).double().log()
        )
    with pytest.raises(scope.TokensError, match="compares positions"):
        attention_bias(selection, "restore")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": "scope"}, "attention_bias: nearest"),
        ({"recipe": "fastv", "attention_bias": "nearest"}, "inside it"),
        ({"attention_bias": "merge"}, "'merged'"),
    ],
)
def test_specs_that_make_no_sense_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(scope.SpecError, match=words):
        scope.Pruner({**MERGED, **change})


def test_attention_without_an_additive_mask_is_refused() -> None:
    model = models.llava()
    pruner = scope.Pruner(NEAREST)
    with pruner.attach(model):
        language(model).config._attn_implementation = "flash_attention_2"
        with pytest.raises(scope.AttachError, match=r"flash_attention_2.*set_attn_implementation\('sdpa'\)"):
            model(**models.batch([3, "image", 4]).inputs)
        language(model).config._attn_implementation = "sdpa"
    with pytest.raises(scope.AdapterError, match="attention_bias: nearest"):
        pruner.check(models_without_layers())


def models_without_layers() -> Any:
    """A model whose language model is of no served type."""
    model = models.llava()
    model.config.get_text_config().model_type = "opt"
    return model


def test_positions_of_several_axes_refuse_restore_and_take_the_others() -> None:
    model = qwen.shared("qwen2_vl")
    given = qwen.prompts([3, (6, 10), 4])
    spec = {"recipe": "divprune", "budget": 3, "merger": "average"}
    outputs = []
    with torch.no_grad():
        for by in ("none", "merged", "nearest"):
            with scope.Pruner({**spec, "attention_bias": by}).attach(model):
                outputs.append(model(**given.inputs).logits)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-4
    with pytest.raises(scope.AttachError, match="several axes"):
        scope.Pruner({**spec, "attention_bias": "restore"}).check(model)
