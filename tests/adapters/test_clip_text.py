"""Relevance to the question from a CLIP text tower that the caller supplies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import CLIPConfig, CLIPModel

import scope_core as scope
from scope_adapters.towers.clip_text import ClipTextSimilarity
from scope_core.parts import SaliencySource

from .models import PATCHES, PLACEHOLDER, batch, llava

LONGEST = 6
RECIPE = {
    "saliency": "acme.nearest",
    "coverage": "modular",
    "combiner": "saliency_only",
    "optimizer": "top_k",
    "budget": 4,
}
NAME = "clip.text_similarity"


def clip_of(model: Any) -> CLIPModel:
    """A whole CLIP whose vision half is the model's tower, weights included."""
    text = {
        "vocab_size": 200,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LONGEST,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=model.config.vision_config.to_dict(), projection_dim=8))
    clip.vision_model.load_state_dict(model.base_model.vision_tower.state_dict(), strict=False)
    return clip.eval()


class Letters:
    """A tokenizer of CLIP's kind: one token per letter between a first and a last one."""

    def __call__(self, text: str, return_tensors: str) -> dict[str, Tensor]:
        assert return_tensors == "pt"
        ids = torch.tensor([[1, *(3 + ord(letter) % 190 for letter in text), 2]])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


class Words:
    """A language model's tokenizer, as far as it is asked."""

    def decode(self, ids: Tensor, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(chr(97 + int(i) % 26) for i in ids if int(i) not in (0, 1, PLACEHOLDER))


def by_hand(clip: CLIPModel, hidden: Tensor, text: str) -> Tensor:
    """(T, N) in float64, one pair at a time, the text cut into CLIP's context lengths."""
    ids = Letters()(text, "pt")["input_ids"][0].tolist()
    rows = []
    patches = clip.visual_projection(clip.vision_model.post_layernorm(hidden)).double()
    for start in range(0, len(ids), LONGEST):
        piece = ids[start : start + LONGEST]
        fill = LONGEST - len(piece)
        given = {
            "input_ids": torch.tensor([piece + [0] * fill]),
            "attention_mask": torch.tensor([[1] * len(piece) + [0] * fill]),
        }
        embedded = clip.get_text_features(**given)
        embedded = getattr(embedded, "pooler_output", embedded)[0].double()
        rows.append([float(cosine_similarity(patch, embedded, dim=0)) for patch in patches])
    return torch.tensor(rows, dtype=torch.float64)


def with_nearest() -> scope.Registry:
    """Saliency that reads the signal: the best of the chunks."""
    from fakes import with_part

    return with_part(
        scope.default_registry(),
        SaliencySource,
        "acme.nearest",
        needs=property(lambda self: frozenset({NAME})),
        nonnegative=False,
        score=lambda self, tokens: tokens.signal(NAME).amax(1),
    )


@torch.no_grad()
def test_cosines_are_those_of_clip_in_its_own_space() -> None:
    model = llava()
    clip, given = clip_of(model), batch([3, "image", 4, "image", 2], [2, "image", 1])
    texts = ["dog", "a much longer question", "x"]
    hidden = model.base_model.vision_tower(given.pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    read: list[Tensor] = []

    def questions(inputs: Mapping[str, Any]) -> Sequence[str]:
        assert inputs["prompts"] == [0, 0, 1]
        assert torch.equal(inputs["input_ids"], given.ids)
        return texts

    relevance = ClipTextSimilarity(clip, Letters(), questions)

    def watched(inputs: Mapping[str, Any], tokens: scope.VisualTokens) -> Tensor:
        read.append(relevance(inputs, tokens))
        return read[-1]

    watched.needs = relevance.needs  # type: ignore[attr-defined]
    pruner = scope.Pruner(RECIPE, registry=with_nearest())
    with pruner.attach(model, signals={NAME: watched}) as pruning:
        model.generate(**given.inputs, max_new_tokens=2, do_sample=False)
    (made,) = read
    assert made.shape == (3, 4, PATCHES)
    for image, text in enumerate(texts):
        wanted = by_hand(clip, hidden[image], text)
        torch.testing.assert_close(made[image, : len(wanted)].double(), wanted, atol=1e-5, rtol=0)
        assert not made[image, len(wanted) :].any()
        best = wanted.amax(0).argsort(descending=True)[:4].sort().values
        if len(wanted) == made.shape[1]:
            assert torch.equal(pruning.receipt.selection.kept[image], best)


@torch.no_grad()
def test_a_tokenizer_of_the_language_model_reads_the_prompts_themselves() -> None:
    model = llava()
    clip, given = clip_of(model), batch([3, "image", 4], [2, "image", 1])
    seen: list[str] = []

    class Noting(Letters):
        def __call__(self, text: str, return_tensors: str) -> dict[str, Tensor]:
            seen.append(text)
            return super().__call__(text, return_tensors)

    relevance = ClipTextSimilarity(clip, Noting(), Words())
    with scope.Pruner(RECIPE, registry=with_nearest()).attach(model, signals={NAME: relevance}):
        model.generate(**given.inputs, max_new_tokens=2, do_sample=False)
    assert seen == [Words().decode(row, True) for row in given.ids]
    assert [len(text) for text in seen] == [7, 3]


def test_another_clip_or_too_few_questions_are_refused() -> None:
    model = llava()
    given = batch([3, "image", 4], [2, "image", 1])
    registry = with_nearest()
    few = ClipTextSimilarity(clip_of(model), Letters(), lambda _: ["one"])
    with (
        scope.Pruner(RECIPE, registry=registry).attach(model, signals={NAME: few}),
        pytest.raises(scope.AttachError, match="1 questions were given for 2 images"),
    ):
        model.generate(**given.inputs, max_new_tokens=2)
    other = clip_of(model)
    other.visual_projection = torch.nn.Linear(24, 8, bias=False)
    wrong = ClipTextSimilarity(other, Letters(), lambda _: ["one", "two"])
    with (
        scope.Pruner(RECIPE, registry=registry).attach(model, signals={NAME: wrong}),
        pytest.raises(scope.AttachError, match="width 32, but the given CLIP model 24"),
    ):
        model.generate(**given.inputs, max_new_tokens=2)


def test_without_the_signal_the_model_cannot_give_it() -> None:
    model = llava()
    with pytest.raises(scope.SignalError, match=r"clip\.text_similarity.*attach\(model, signals="):
        scope.Pruner(RECIPE, registry=with_nearest()).attach(model)
