"""Pruning inside the language model against references that know nothing of hooks or caches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope
from adapters.decoders import (
    COMPACT,
    DECODERS,
    ENCODER_FIRST,
    GREEDY,
    MERGING,
    ONE_STAGE,
    TWO_STAGES,
    deep,
    hidden_columns,
    kept_places,
    layer_by_layer,
    numbered_afresh,
    places,
)
from adapters.installed import beams_mended
from adapters.models import PLACEHOLDER, batch
from adapters.reference import embeddings

PAIR = ([3, "image", 2, "image", 4],)
"""One prompt, two images, text before, between and behind."""


def both(model: Any, given: Any, spec: dict[str, Any]) -> tuple[Any, torch.Tensor, dict[str, torch.Tensor]]:
    """The receipt, the logits of each step, and ids of greedy search and beams."""
    with scope.Pruner(spec).attach(model) as pruning, torch.no_grad():
        out = model.generate(**given.inputs, **GREEDY, return_dict_in_generate=True, output_logits=True)
        ids = {"greedy": out.sequences, "beams": model.generate(**given.inputs, **GREEDY, num_beams=3)}
    return pruning.receipt, torch.cat(out.logits), ids


@pytest.mark.parametrize("spec", [ONE_STAGE, TWO_STAGES], ids=["one", "two"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_full_length_with_hidden_columns(decoder: str, attention: str, spec: dict[str, Any]) -> None:
    """Original positions: dropping equals hiding, in logits of every step and in ids."""
    model, given = deep(decoder, attention), batch(*PAIR)
    receipt, logits, ids = both(model, given, spec)
    kept = kept_places(given, receipt)
    assert len(kept) == 1 + len(spec.get("then", ()))
    assert all(len(k) < given.length for k in kept.values())
    with torch.no_grad():
        plain = model(**given.inputs).logits[0, -1]
    with hidden_columns(model, given.length, kept), torch.no_grad():
        steps = [
            model(input_ids=ids["greedy"][:, :stop], pixel_values=given.pixels).logits[0, -1]
            for stop in range(given.length, given.length + 6)
        ]
        wanted = {
            "greedy": model.generate(**given.inputs, **GREEDY, use_cache=False),
        }
        with beams_mended(model, given.images):
            wanted["beams"] = model.generate(**given.inputs, **GREEDY, num_beams=3, use_cache=False)
    torch.testing.assert_close(logits, torch.stack(steps), atol=2e-4, rtol=0)
    for mode, sequence in wanted.items():
        assert torch.equal(ids[mode], sequence), mode
    assert float((logits[0] - plain).abs().max()) > 1e-2  # else nothing above would prove anything


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_an_encoder_stage_before(attention: str) -> None:
    """Stages inside count what the encoder left; positions are those of the shortened prompt."""
    model, given = deep("llama", attention), batch(*PAIR)
    receipt, logits, ids = both(model, given, ENCODER_FIRST)
    kept = kept_places(given, receipt)
    assert [len(kept[layer]) - 10 for layer in (0, 2, 4)] == [18, 12, 6]
    entered = kept[0]
    inside = {layer: torch.searchsorted(entered, positions) for layer, positions in kept.items() if layer}
    keep = [row[row >= 0].tolist() for row in receipt.selection.kept]
    embeds = embeddings(model, given, keep)["inputs_embeds"]
    new = model.get_input_embeddings()(ids["greedy"][:, given.length :])
    with hidden_columns(model, len(entered), inside), torch.no_grad():
        steps = [model(inputs_embeds=torch.cat([embeds, new[:, :count]], 1)).logits[0, -1] for count in range(6)]
    torch.testing.assert_close(logits, torch.stack(steps), atol=2e-4, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_numbered_afresh_at_every_stage(decoder: str, attention: str) -> None:
    """Compact positions, layer by layer."""
    model, given = deep(decoder, attention), batch(*PAIR)
    with scope.Pruner(COMPACT).attach(model) as pruning, torch.no_grad():
        got = model(**given.inputs).logits[0]
    kept = kept_places(given, pruning.receipt)
    later = torch.searchsorted(kept[2], kept[4])
    stages = {2: lambda s, _: numbered_afresh(s, kept[2]), 4: lambda s, _: numbered_afresh(s, later)}
    torch.testing.assert_close(got, layer_by_layer(model, given, stages), atol=2e-4, rtol=0)
    assert torch.equal(pruning.positions[0], kept[4])
    gapped = {2: lambda s, n: (s[kept[2]], n[kept[2]]), 4: lambda s, n: (s[later], n[later])}
    assert float((got - layer_by_layer(model, given, gapped)).abs().max()) > 1e-3


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_merging_between_layers(attention: str) -> None:
    """Means of clusters in rows of their own, behind what is kept of the image, and kept rows as they were."""
    model, given = deep("llama", attention), batch([3, "image", 4])
    with scope.Pruner(MERGING).attach(model) as pruning, torch.no_grad():
        got = model(**given.inputs).logits[0]
    spans = [places(given, 0, 0)]
    before, after = int(spans[0][0]), given.length - 1 - int(spans[0][-1])
    stages = {}
    for layer, receipt in zip((2, 4), (pruning.receipt, *pruning.receipt.later), strict=True):
        weights = receipt.selection.weights[0]
        assert weights.shape[0] == receipt.images[0].kept > receipt.selection.counts[0]
        torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))

        def change(states: torch.Tensor, _: Any, weights: torch.Tensor = weights) -> tuple[Any, Any]:
            image = states[before : len(states) - after]
            made = torch.cat([states[:before], weights @ image, states[len(states) - after :]])
            return made, torch.arange(len(made))

        stages[layer] = change
    wanted = layer_by_layer(model, given, stages)
    assert got.shape == wanted.shape == (before + 6 + after, wanted.shape[1])
    torch.testing.assert_close(got, wanted, atol=2e-4, rtol=0)


def test_selections_are_those_of_attention_maps() -> None:
    """FastV's and PyramidDrop's rows, from the maps that eager attention returns and a hand-run of later layers."""
    model, given = deep("llama", "eager"), batch([3, "image", 4])
    mine = places(given, 0, 0)
    with torch.no_grad():
        maps = model(**given.inputs, output_attentions=True).attentions
    last = maps[1][0].mean(0)[-1, mine]
    off = maps[1][0].mean(0).clone()
    off.fill_diagonal_(0)
    received = off[:, mine].sum(0) / (given.length - 1)
    for queries, wanted in (("last", last), ("all", received)):
        spec = {**ONE_STAGE, "saliency": {"name": "prompt_attention", "layer": 1, "queries": queries}}
        with scope.Pruner(spec).attach(model) as pruning, torch.no_grad():
            model(**given.inputs)
        selection = pruning.receipt.selection
        name = f"decoder.{'last_query' if queries == 'last' else 'received'}_attention[1]"
        torch.testing.assert_close(selection.tokens.signal(name)[0].mean(0), wanted, atol=1e-6, rtol=1e-4)
        assert selection.picks[0].tolist() == wanted.argsort(descending=True)[:7].tolist()


def test_placeholders_are_there() -> None:
    """What the tests above count on."""
    given = batch(*PAIR)
    assert int((given.ids == PLACEHOLDER).sum()) == 32
