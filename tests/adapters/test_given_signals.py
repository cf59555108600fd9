"""Signals that come with the prompt or the caller: ``text.embeddings``, ``vision.cls[l]``, ``attach(signals=...)``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import entry, module
from torch import Tensor

import scope_core as scope
from adapters import anyres, original_llava, tiled
from adapters.models import LAYERS, MIXED, ONE, PATCHES, PLACEHOLDER, TWO, batch, eager, shared
from scope_core import Pruner, SignalError, TokensError, VisualTokens
from scope_core.parts import SaliencySource

TEXT = "clip.text_similarity"


class Reading:
    """A pruner whose saliency reads signals and keeps what it saw."""

    def __init__(self, *names: str, times: int = 1, **options: Any) -> None:
        self.seen: list[dict[str, Tensor]] = []
        self.tokens: list[VisualTokens] = []

        def score(_: Any, tokens: VisualTokens) -> Tensor:
            self.tokens.append(tokens)
            self.seen.append({name: tokens.signal(name) for name in names for _ in range(times)})
            return tokens.valid.to(tokens.features)

        part = entry(SaliencySource, "acme.reading", needs=frozenset(names), score=score)
        registry = scope.default_registry().with_module(module(scope_saliency_sources=[part]))
        self.pruner = Pruner({"recipe": "scope", "saliency": "acme.reading", "budget": 3, **options}, registry=registry)


def run(model: Any, inputs: dict[str, Any]) -> None:
    with torch.no_grad():
        model(**inputs)


def given_similarity(inputs: Any, tokens: VisualTokens) -> Tensor:
    return torch.ones(tokens.shape[0], 2, tokens.shape[1])


class TestGiven:
    def test_computed_once_when_read_from_the_call_and_the_candidates(self) -> None:
        calls: list[tuple[Any, VisualTokens]] = []

        def relevance(inputs: Any, tokens: VisualTokens) -> Tensor:
            calls.append((inputs, tokens))
            return torch.arange(tokens.shape[1]).float().expand(tokens.shape[0], 2, -1) / 7

        reading, given = Reading(TEXT, times=3), batch(*MIXED)
        with reading.pruner.attach(shared("clip"), signals={TEXT: relevance}) as pruning:
            assert calls == []
            run(shared("clip"), given.inputs)
            assert len(calls) == 1
            assert pruning.receipt.signals == (TEXT,)
        ((inputs, tokens),) = calls
        assert inputs["pixel_values"] is given.pixels
        assert torch.equal(inputs["input_ids"], given.ids)
        assert list(inputs["prompts"]) == [0, 2, 2]
        assert tokens.shape[:2] == (3, PATCHES)
        assert torch.equal(reading.seen[0][TEXT], (torch.arange(PATCHES) / 7).expand(3, 2, -1))

    def test_generate_gives_its_arguments(self) -> None:
        seen: list[Any] = []
        reading, given = Reading(TEXT), batch(*ONE)

        def relevance(inputs: Any, tokens: VisualTokens) -> Tensor:
            seen.append(inputs)
            return given_similarity(inputs, tokens)

        with reading.pruner.attach(shared("clip"), signals={TEXT: relevance}):
            shared("clip").generate(**given.inputs, max_new_tokens=3, do_sample=False)
        assert len(seen) == 1
        assert torch.equal(seen[0]["input_ids"], given.ids)

    def test_what_no_part_reads_is_never_computed(self) -> None:
        def never(inputs: Any, tokens: VisualTokens) -> Tensor:
            raise AssertionError

        never.needs = frozenset({"vision.keys[-2]"})
        with Reading("projected").pruner.attach(shared("clip"), signals={TEXT: never}) as pruning:
            assert pruning.needs == {"projected"}
            run(shared("clip"), batch(*ONE).inputs)
            assert pruning.receipt.kept == 3

    def test_signals_that_the_function_reads_are_captured(self) -> None:
        got: list[Tensor] = []

        def relevance(inputs: Any, tokens: VisualTokens) -> Tensor:
            got.append(tokens.signal("vision.hidden[-1]"))
            return given_similarity(inputs, tokens)

        relevance.needs = frozenset({"vision.hidden[-1]"})
        given, model = batch(*ONE), shared("clip")
        with Reading(TEXT).pruner.attach(model, signals={TEXT: relevance}) as pruning:
            assert pruning.needs == {"vision.hidden[-1]"}
            run(model, given.inputs)
        with torch.no_grad():
            states = eager(model).model.vision_tower(given.pixels, output_hidden_states=True).hidden_states
        torch.testing.assert_close(got[0], states[-1][:, 1:], atol=1e-5, rtol=1e-5)

    def test_those_that_the_model_cannot_give_are_refused_at_once(self) -> None:
        def relevance(inputs: Any, tokens: VisualTokens) -> Tensor:
            raise AssertionError

        relevance.needs = frozenset({"vision.cls[-2]"})
        with pytest.raises(
            SignalError, match=r"given for signal 'clip\.text_similarity' needs vision\.cls\[-2\].* no CLS"
        ):
            Reading(TEXT).pruner.attach(shared("siglip"), signals={TEXT: relevance})

    def test_it_stands_in_for_what_the_model_would_give(self) -> None:
        reading = Reading("vision.cls_attention[-2]")
        signals = {"vision.cls_attention[-2]": lambda inputs, tokens: torch.full((1, 1, PATCHES), 0.25)}
        with reading.pruner.attach(shared("clip"), signals=signals) as pruning:
            assert pruning.needs == frozenset()
            run(shared("clip"), batch(*ONE).inputs)
        assert reading.seen[0]["vision.cls_attention[-2]"].unique().tolist() == [0.25]

    def test_a_model_without_it_says_how_to_give_it(self) -> None:
        pruner = Reading(TEXT).pruner
        with pytest.raises(
            SignalError, match=r"or supply it: attach\(model, signals=\{'clip\.text_similarity': function"
        ):
            pruner.attach(shared("clip"))
        with pytest.raises(SignalError):
            pruner.check(shared("clip"))
        assert pruner.check(shared("clip"), signals=[TEXT]).model == "LlavaForConditionalGeneration"

    @pytest.mark.parametrize(
        ("signals", "text"),
        [
            ([TEXT], "signals must map names to functions"),
            ({TEXT: torch.ones(1)}, "signals must map names to functions"),
            ({"No Such Name": given_similarity}, "'No Such Name' is not a signal name"),
        ],
    )
    def test_wrong_tables_are_refused(self, signals: Any, text: str) -> None:
        model = shared("clip")
        with pytest.raises(SignalError, match=text):
            Reading(TEXT).pruner.attach(model, signals=signals)
        with Reading("projected").pruner.attach(model):
            pass  # and nothing is left attached

    @pytest.mark.parametrize(
        ("made", "text"),
        [
            (
                torch.ones(1, PATCHES),
                r"'clip\.text_similarity' has shape \(1, 16\); expected \(B, T, N\) with B=1, N=16",
            ),
            (torch.ones(1, 2, 9), r"'clip\.text_similarity' has shape \(1, 2, 9\)"),
            (torch.ones(1, 2, PATCHES, dtype=torch.int64), "'clip.text_similarity' must be floating point"),
            ("words", "'clip.text_similarity' must be a tensor, not str"),
        ],
    )
    def test_wrong_results_are_named(self, made: Any, text: str) -> None:
        model = shared("clip")
        with (
            Reading(TEXT).pruner.attach(model, signals={TEXT: lambda inputs, tokens: made}),
            pytest.raises(TokensError, match=text),
        ):
            run(model, batch(*ONE).inputs)

    def test_its_exceptions_say_where_they_came_from(self) -> None:
        model = shared("clip")
        with (
            Reading(TEXT).pruner.attach(model, signals={TEXT: lambda inputs, tokens: 1 / 0}),
            pytest.raises(ZeroDivisionError) as caught,
        ):
            run(model, batch(*ONE).inputs)
        assert "raised by the function given for signal 'clip.text_similarity'" in caught.value.__notes__

    def test_tiles_of_an_image_are_one_row(self) -> None:
        model = anyres.next_model()
        given = anyres.prompts(model, [2, (27, 141), 3], [(29, 29), 1])
        reading = Reading(TEXT, partition="tile", budget={"name": "tokens", "keep": 2, "per": "tile"})

        def relevance(inputs: Any, tokens: VisualTokens) -> Tensor:
            assert tokens.shape[0] == 2
            return torch.arange(tokens.shape[1]).float().expand(2, 1, -1)

        with reading.pruner.attach(model, signals={TEXT: relevance}):
            run(model, given.inputs)
        tokens, signal = reading.tokens[0], reading.seen[0][TEXT]
        assert len(tokens.valid) > 2  # groups are tiles; each sees the part of the signal that is its own
        start = 0
        for mask, row in zip(tokens.valid, signal[:, 0], strict=True):
            count = int(mask.sum())
            first = int(row[0])
            assert row[:count].tolist() == list(range(first, first + count))
            assert first in (0, start)
            start = first + count

    def test_in_the_original_codebase_too(self) -> None:
        model, given = original_llava.shared("1.6"), original_llava.prompts("1.6", [3, (40, 56)], [(28, 28), 2])
        seen: list[Any] = []

        def relevance(inputs: Any, tokens: VisualTokens) -> Tensor:
            seen.append(inputs)
            return given_similarity(inputs, tokens)

        with Reading(TEXT).pruner.attach(model, signals={TEXT: relevance}), torch.no_grad():
            model.prepare_inputs_labels_for_multimodal(
                given.ids, None, given.mask, None, None, given.images, given.sizes
            )
        assert torch.equal(seen[0]["input_ids"], given.ids)
        assert list(seen[0]["prompts"]) == [0, 1]


class TestText:
    @pytest.mark.parametrize("side", ["left", "right"])
    @pytest.mark.parametrize("recipe", [ONE, TWO, MIXED])
    def test_every_image_has_the_words_of_its_prompt(self, recipe: Any, side: str) -> None:
        model, given = shared("clip"), batch(*recipe, side=side)
        reading = Reading("text.embeddings")
        with reading.pruner.attach(model):
            run(model, given.inputs)
        table = model.get_input_embeddings().weight.detach()
        words = []
        for ids, mask, count in zip(given.ids.tolist(), given.mask.tolist(), given.images, strict=True):
            own = [token for token, real in zip(ids, mask, strict=True) if real and token not in (0, 1, PLACEHOLDER)]
            words += [own] * count
        got = reading.seen[0]["text.embeddings"]
        assert got.shape == (len(words), max(map(len, words)), table.shape[1])
        for row, own in zip(got, words, strict=True):
            torch.testing.assert_close(row[: len(own)], table[own])
            assert bool((row[len(own) :] == 0).all())

    def test_padding_that_only_the_mask_tells_is_left_out(self) -> None:
        model, given = shared("clip"), batch(*TWO)
        inputs = {**given.inputs, "input_ids": given.ids.masked_fill(given.mask == 0, 42)}
        seen = []
        for each in (given.inputs, inputs):
            reading = Reading("text.embeddings")
            with reading.pruner.attach(model):
                run(model, each)
            seen.append(reading.seen[0]["text.embeddings"])
        assert torch.equal(*seen)

    def test_an_image_without_words(self) -> None:
        model, given = shared("clip"), batch(["image"])
        reading = Reading("text.embeddings")
        with reading.pruner.attach(model):
            run(model, given.inputs)
        assert reading.seen[0]["text.embeddings"].shape == (1, 0, 64)

    def test_the_model_is_not_trained_through_it(self) -> None:
        model, reading = shared("clip"), Reading("text.embeddings")
        with reading.pruner.attach(model):
            model(**batch(*ONE).inputs)
        assert not reading.seen[0]["text.embeddings"].requires_grad

    def test_the_original_codebase_says_that_it_has_none(self) -> None:
        with pytest.raises(SignalError, match=r"needs text\.embeddings, which LlavaForCausalLM cannot give"):
            Reading("text.embeddings").pruner.attach(original_llava.shared("1.5"))


class TestCls:
    @pytest.mark.parametrize("name", ["clip", "clip-full", "clip-last-layer", "dinov2"])
    def test_it_is_the_hidden_state_of_every_layer(self, name: str) -> None:
        model, given = shared(name), batch(*TWO, tokens=PATCHES + (name == "clip-full"))
        layers = [*range(1, LAYERS + 1), *range(-LAYERS, 0)]
        reading = Reading(*(f"vision.cls[{layer}]" for layer in layers))
        with reading.pruner.attach(model):
            run(model, given.inputs)
        with torch.no_grad():
            states = eager(model).model.vision_tower(given.pixels, output_hidden_states=True).hidden_states
        for layer in layers:
            got = reading.seen[0][f"vision.cls[{layer}]"]
            wanted = states[layer][:, :1].expand(-1, got.shape[1], -1)
            assert got.shape[1] == PATCHES + (name == "clip-full")
            torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)

    def test_every_token_has_that_of_its_tile(self) -> None:
        model = anyres.next_model()
        given = anyres.prompts(model, [2, (27, 141), 3])
        reading = Reading("vision.cls[-2]")
        with reading.pruner.attach(model):
            run(model, given.inputs)
        with torch.no_grad():
            states = eager(model).model.vision_tower(given.pixels[0], output_hidden_states=True).hidden_states[-2]
        tokens, got = reading.tokens[0], reading.seen[0]["vision.cls[-2]"]
        assert int(tokens.tile.max()) > 1
        torch.testing.assert_close(got[0], states[tokens.tile[0], 0], atol=1e-5, rtol=1e-5)

    def test_where_a_token_is_several_patches(self) -> None:
        given = tiled.prompts("internvl", [3, "2x1", 4])
        reading = Reading("vision.cls[-2]")
        with reading.pruner.attach(tiled.shared("internvl")):
            run(tiled.shared("internvl"), given.inputs)
        state = tiled.tower_pass("internvl", given.images[0]).hidden_states[-2][:, 0]
        tokens, got = reading.tokens[0], reading.seen[0]["vision.cls[-2]"]
        torch.testing.assert_close(got[0], state[tokens.tile[0]], atol=1e-4, rtol=1e-4)

    def test_in_the_original_codebase(self) -> None:
        model, given = original_llava.shared("1.6"), original_llava.prompts("1.6", [3, (40, 56), 4])
        reading = Reading("vision.cls[-1]")
        with reading.pruner.attach(model), torch.no_grad():
            model.prepare_inputs_labels_for_multimodal(
                given.ids, None, given.mask, None, None, given.images, given.sizes
            )
            tower = model.get_vision_tower().vision_tower
            states = tower(given.images[0], output_hidden_states=True).hidden_states[-1][:, 0]
        tokens, got = reading.tokens[0], reading.seen[0]["vision.cls[-1]"]
        torch.testing.assert_close(got[0], states[tokens.tile[0]], atol=1e-5, rtol=1e-5)

    def test_towers_without_one_say_so(self) -> None:
        with pytest.raises(SignalError, match=r"vision\.cls\[-2\].* has no CLS token"):
            Reading("vision.cls[-2]").pruner.attach(shared("siglip"))
