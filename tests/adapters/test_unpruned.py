"""Calls of an attached model that run unpruned say so: once, by name, and in the receipt."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import scope_core as scope
from adapters import qwen
from adapters.guests import keeping
from adapters.installed import cache_of, cached
from adapters.models import TWO, Batch, batch, shared
from adapters.test_conformance import CASES

GREEDY = {"max_new_tokens": 3, "do_sample": False}
ENCODED = {"recipe": "uniform_grid", "budget": {"name": "ratio", "keep_ratio": 0.3}, "at": "projected"}


WAYS: dict[str, tuple[Callable[[Any, Batch], Any], str]] = {
    "base model": (lambda m, g: m.model(**g.inputs), r"LlavaModel was called directly, below LlavaForConditional"),
    "base model, positional": (lambda m, g: m.model(g.ids, g.pixels), "LlavaModel was called directly"),
    "base model, embeddings": (
        lambda m, g: m.model(inputs_embeds=m.get_input_embeddings()(g.ids)),
        "LlavaModel was called directly",
    ),
    "language model": (
        lambda m, g: m.model.language_model(inputs_embeds=m.get_input_embeddings()(g.ids)),
        "LlamaModel was called directly, with embeddings",
    ),
    "features of the base model": (
        lambda m, g: m.model.get_image_features(pixel_values=g.pixels),
        r"get_image_features\(\) was called directly",
    ),
    "features": (
        lambda m, g: getattr(m, "get_image_features", m.model.get_image_features)(pixel_values=g.pixels),
        r"get_image_features\(\) was called directly",
    ),
    "no pixels": (lambda m, g: m(g.ids, attention_mask=g.mask), "holds image placeholders .id 150., but pixel_values"),
    "no pixels, generate": (lambda m, g: m.generate(g.ids, **GREEDY), "holds image placeholders"),
    "embeddings": (lambda m, g: m(inputs_embeds=m.get_input_embeddings()(g.ids)), "inputs_embeds may hold features"),
    "embeddings, generate": (
        lambda m, g: m.generate(inputs_embeds=m.get_input_embeddings()(g.ids), **GREEDY),
        "inputs_embeds may hold features",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
def test_one_warning_by_name_and_a_falsy_receipt(way: str) -> None:
    model, given = shared("clip"), batch(*TWO)
    call, words = WAYS[way]
    with keeping(4).attach(model) as pruning:
        model.generate(**given.inputs, **GREEDY)
        assert pruning.receipt
        with pytest.warns(UserWarning, match=rf"is attached, but this call runs unpruned: .*{words}") as caught:
            call(model, given)
        told = [str(warning.message) for warning in caught if "runs unpruned" in str(warning.message)]
        assert len(told) == 1
        assert not pruning.receipt
        assert pruning.receipt.unpruned in told[0]
        assert pruning.receipt.unpruned in str(pruning.receipt)
        assert pruning.receipt.to_dict()["unpruned"] == pruning.receipt.unpruned
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            call(model, given)
            assert not pruning.receipt
            model.generate(**given.inputs, **GREEDY)
        assert pruning.receipt
        assert pruning.receipt.calls == 2
        assert not pruning.receipt.unpruned


HOSTS = {
    adapter: next(iter(CASES[adapter].values())).make
    for adapter in ("llava", "llava_next", "idefics3", "paligemma", "gemma3", "qwen2_vl", "qwen3_vl", "internvl")
}
BY_HOST = pytest.mark.parametrize(
    "host", [pytest.param(name, marks=qwen.qwen3_vl if name == "qwen3_vl" else ()) for name in HOSTS]
)


@BY_HOST
@torch.no_grad()
def test_pruned_calls_and_texts_do_not_warn(host: str) -> None:
    model, given = HOSTS[host]()
    text = torch.tensor([[1, 20, 21]])
    with scope.Pruner(ENCODED).attach(model) as pruning, warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*runs unpruned")
        model(**given.inputs)
        model.generate(**given.inputs, **GREEDY)
        model.generate(**given.inputs, **GREEDY, num_beams=2)
        receipt = pruning.receipt
        model(text)
        model.model(text)
        model.generate(text, **GREEDY)
        assert pruning.receipt is receipt
        if pruning.adapter.reuses:
            pruning.encode(given.row(0).inputs)


@BY_HOST
@torch.no_grad()
def test_the_base_model_of_every_host(host: str) -> None:
    model, given = HOSTS[host]()
    inputs = given.row(0).inputs
    with scope.Pruner(ENCODED).attach(model) as pruning:
        with pytest.warns(UserWarning, match="runs unpruned: .* was called directly, below"):
            model.model(**inputs)
        assert not pruning.receipt
        without = {name: value for name, value in inputs.items() if name in ("input_ids", "attention_mask")}
        with pytest.warns(UserWarning, match="runs unpruned: input_ids holds image placeholders"):
            model(**without)


def _tried(model: Any, inputs: dict[str, Any], **features: Any) -> None:
    with contextlib.suppress(
        TypeError, ValueError, RuntimeError, IndexError
    ):  # releases differ in whether they take it
        model(**inputs, **features)


def test_features_under_a_name_of_their_own() -> None:
    model, given = HOSTS["idefics3"]()
    inputs = {name: value for name, value in given.row(0).inputs.items() if not name.startswith("pixel")}
    with scope.Pruner(ENCODED).attach(model) as pruning, torch.no_grad():
        rows = torch.randn(3, 4, model.config.get_text_config().hidden_size)
        with pytest.warns(UserWarning, match="image_hidden_states holds features that were computed elsewhere"):
            _tried(model, inputs, image_hidden_states=rows)
        assert "image_hidden_states" in pruning.receipt.unpruned


@torch.no_grad()
def test_parts_of_the_model_do_not_take_the_cache_of_a_pruned_prompt() -> None:
    model, given = shared("clip"), batch(*TWO)
    with keeping(4).attach(model):
        cache = cache_of(model(**given.inputs, use_cache=True))
        step = torch.full((len(given.ids), 1), 20)
        for part, call in (
            ("LlavaModel", lambda: model.model(step, **cached(model.model, cache))),
            (
                "LlamaModel",
                lambda: model.model.language_model(
                    inputs_embeds=model.get_input_embeddings()(step), **cached(model.model.language_model, cache)
                ),
            ),
        ):
            with pytest.raises(scope.AttachError, match=f"{part} was called directly with the cache of a prompt that"):
                call()
        model(step, **cached(model, cache))
