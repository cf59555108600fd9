"""LLaVA-OneVision: exact and interpolated images, prompts of several images, against plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import oracles
import pytest
import torch
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import LlavaOnevisionProcessor

import scope_core as scope
from adapters.anyres import GRID, PATCHES, VIDEO, Prompts, canvas_of, onevision_model, prompts, shared_prompts, tiles_of
from adapters.guests import registry
from adapters.installed import tower_layers
from adapters.models import PLACEHOLDER, eager
from scope_core.parts import SaliencySource
from scope_core.testing import diff, snapshot

GREEDY = {"max_new_tokens": 4, "do_sample": False}
MIXED = ([3, (40, 50), 4], [5], [2, (25, 56), 3, (100, 30), 5])
"""Of these three images the second has one tile beside its overview; the others are interpolated beyond 2 tiles."""


def logits(model: Any, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return model(**inputs).logits


def pruner(keep: Sequence[int] | dict[str, Any], *, at: str = "vision", **adapter: Any) -> scope.Pruner:
    """``keep`` tokens of each image, or a budget in full."""
    spec = {"recipe": "scope", "saliency": "received_attention", "at": at}
    budget = keep if isinstance(keep, dict) else {"name": "listed", "keep": list(keep)}
    adapter = {"name": "llava_onevision", **adapter}
    return scope.Pruner({**spec, "budget": budget, "adapter": adapter}, registry=registry())


EVERYTHING = {"name": "ratio", "keep_ratio": 1.0}


def laid_out(model: Any, size: tuple[int, int], tiles: Tensor) -> tuple[Tensor, list[int]]:
    """By hand, (R, C) rows of (T, n, C) tiles without newlines, and the lengths of lines behind the overview."""
    if len(tiles) == 1:
        return tiles[0], []
    rows, cols = canvas_of(model, size)
    canvas = torch.empty(rows * GRID, cols * GRID, tiles.shape[2], dtype=tiles.dtype)
    for y in range(rows * GRID):
        for x in range(cols * GRID):
            canvas[y, x] = tiles[1 + y // GRID * cols + x // GRID, y % GRID * GRID + x % GRID]
    height, width = canvas.shape[:2]
    if size[1] / size[0] > width / height:
        cut = (height - int(round(size[0] * width / size[1], 7))) // 2
        canvas = canvas[cut : height - cut]
    else:
        cut = (width - int(round(size[1] * height / size[0], 7))) // 2
        canvas = canvas[:, cut : width - cut]
    height, width = canvas.shape[:2]
    limit = int(model.config.vision_aspect_ratio.removeprefix("anyres_max_"))
    ratio = math.sqrt(height * width / (limit * GRID**2))
    if ratio > 1.1:
        target = (int(height // ratio), int(width // ratio))
        canvas = nn.functional.interpolate(canvas.permute(2, 0, 1)[None], target, mode="bilinear")[0].permute(1, 2, 0)
    return torch.cat([tiles[0], canvas.flatten(0, 1)]), [canvas.shape[1]] * canvas.shape[0]


def seen_by_tower(model: Any, image: Tensor) -> dict[str, Tensor]:
    """(T, n, C) of what tokens carry."""
    with torch.no_grad():
        out = eager(model).model.vision_tower(image, output_hidden_states=True, output_attentions=True)
        features = out.hidden_states[-1]
        return {
            "vision": features,
            "projected": model.model.multi_modal_projector(features),
            "saliency": out.attentions[-2].mean(2).sum(1)[..., None],
        }


def rows_of(model: Any, given: Prompts, number: int) -> tuple[dict[str, Tensor], list[int]]:
    """(N, C) of each of an image's tokens in the order in which they are read, and the lengths of its lines."""
    seen = seen_by_tower(model, given.pixels[number])
    made = {name: laid_out(model, given.sizes[number], tiles) for name, tiles in seen.items()}
    return {name: rows for name, (rows, _) in made.items()}, made["vision"][1]


def ends(tokens: int, lines: Sequence[int]) -> list[int]:
    """The last token of every line: a newline follows it. A lone tile is one line."""
    return [PATCHES - 1 + sum(lines[: number + 1]) for number in range(len(lines))] or [tokens - 1]


def by_hand(model: Any, given: Prompts, kept: Sequence[set[int]], newlines: str) -> dict[str, Tensor]:
    """Embeddings of one prompt with only the kept tokens of its images."""
    table, image, made, inside = model.get_input_embeddings().weight, 0, [], False
    for token in given.ids[0].tolist():
        if token == PLACEHOLDER and not inside:
            rows, lines = rows_of(model, given, image)
            stop, alive = ends(len(rows["vision"]), lines), False
            for place, vector in enumerate(rows["projected"]):
                if lines and place == PATCHES:
                    alive = False
                if place in kept[image]:
                    made.append(vector)
                    alive = True
                if place in stop:
                    made += [model.model.image_newline] * (
                        newlines == "keep" or (newlines == "keep_if_row_kept" and alive)
                    )
                    alive = False
            image += 1
        elif token != PLACEHOLDER:
            made.append(table[token])
        inside = token == PLACEHOLDER
    embeds = torch.stack(made)[None].detach()
    return {"inputs_embeds": embeds, "attention_mask": torch.ones(embeds.shape[:2], dtype=torch.int64)}


def reading_order(model: Any, given: Prompts) -> list[list[int]]:
    """For each candidate, its place among its image's tokens as they are read: found by equal projected vectors."""
    with pruner(EVERYTHING, at="projected").attach(model) as pruning:
        logits(model, given.inputs)
    tokens, orders = pruning.receipt.selection.tokens, []
    for number, image in enumerate(pruning.receipt.images):
        rows = rows_of(model, given, number)[0]["projected"]
        apart = torch.cdist(tokens.features[number, : image.tokens].double(), rows.double())
        assert apart.min(1).values.max() < 1e-4
        orders.append(apart.argmin(1).tolist())
        assert sorted(orders[-1]) == list(range(len(rows)))
    return orders


ROWS = [MIXED[0], MIXED[2], [1, (27, 141), 2], [1, (57, 56), 2, (29, 29), 2, (141, 27), 1]]


@pytest.mark.parametrize("newlines", ["keep", "drop", "keep_if_row_kept"])
@pytest.mark.parametrize(
    "grouped", [pytest.param(False, id="tiled"), pytest.param(True, id="grouped", marks=shared_prompts)]
)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_kept_tokens_are_those_of_the_oracle_and_logits_those_of_hand_built_embeddings(
    row: Any, grouped: bool, newlines: str
) -> None:
    model = onevision_model()
    given = prompts(model, row, grouped=grouped)
    orders = reading_order(model, given)
    keep = [1 + len(order) // 6 for order in orders]
    with pruner(keep, newlines=newlines).attach(model) as pruning:
        got, ids = logits(model, given.inputs), model.generate(**given.inputs, **GREEDY, num_beams=2)
        assert torch.equal(logits(model, given.flat), got)
    selection, kept = pruning.receipt.selection, []
    for number, (order, count) in enumerate(zip(orders, keep, strict=True)):
        rows, lines = rows_of(model, given, number)
        features, saliency = rows["vision"][order], rows["saliency"][order, 0]
        tokens = selection.tokens
        torch.testing.assert_close(tokens.features[number, : len(order)], features, atol=1e-5, rtol=1e-4)
        attention = tokens.signal("vision.received_attention[-2]")[number, :, : len(order)]
        torch.testing.assert_close(attention.sum(0), saliency, atol=1e-6, rtol=1e-4)
        picks, _, _ = oracles.scope_picks(oracles.cosine_matrix(features.numpy()), saliency.numpy(), count)
        assert set(selection.kept[number, :count].tolist()) == set(picks)
        kept.append({order[pick] for pick in picks})
        alone = len(given.pixels[number]) == 1
        assert pruning.receipt.images[number].patches == PATCHES * len(given.pixels[number])
        assert alone == (grouped and len(orders) > 1)
        assert bool(lines) != alone
    hand = by_hand(model, given, kept, newlines)
    torch.testing.assert_close(got, logits(model, hand), atol=1e-4, rtol=1e-4)
    assert torch.equal(ids[:, given.length :], model.generate(**hand, **GREEDY, num_beams=2))
    said = sum(image.kept + image.separators for image in pruning.receipt.images)
    assert hand["inputs_embeds"].shape[1] == (given.ids != PLACEHOLDER).sum() + said


def test_other_signals_of_interpolated_tokens_are_packed_like_their_features() -> None:
    model = onevision_model()
    given = prompts(model, *MIXED)
    orders = reading_order(model, given)
    needs = ("vision.hidden[-1]", "vision.hidden[1]", "vision.keys[-2]", "projected")

    class Reads(SaliencySource[Any]):
        @property
        def needs(self) -> frozenset[str]:
            return frozenset(needs)

        def score(self, tokens: scope.VisualTokens) -> Tensor:
            return tokens.signal("vision.hidden[1]").norm(dim=-1)

    from fakes import with_part

    reads = with_part(registry(), SaliencySource, "acme.reads", **dict(vars(Reads)))
    spec = {"recipe": "scope", "saliency": "acme.reads", "budget": {"name": "ratio", "keep_ratio": 0.5}}
    with scope.Pruner(spec, registry=reads).attach(model) as pruning:
        logits(model, given.inputs)
    tokens = pruning.receipt.selection.tokens
    for number, order in enumerate(orders):
        image, size = given.pixels[number], given.sizes[number]
        with torch.no_grad():
            out = eager(model).model.vision_tower(image, output_hidden_states=True)
            key = tower_layers(model.model.vision_tower)[-2].self_attn.k_proj(
                tower_layers(model.model.vision_tower)[-2].layer_norm1(out.hidden_states[-3])
            )
        rows = rows_of(model, given, number)[0]
        wanted = {
            "vision.hidden[-1]": rows["vision"],
            "vision.hidden[1]": laid_out(model, size, out.hidden_states[1])[0],
            "projected": rows["projected"],
        }
        for name, value in wanted.items():
            torch.testing.assert_close(tokens.signal(name)[number, : len(order)], value[order], atol=1e-5, rtol=1e-4)
        keys = tokens.signal("vision.keys[-2]")[number, :, : len(order)].transpose(0, 1).flatten(1)
        torch.testing.assert_close(keys, laid_out(model, size, key)[0][order], atol=1e-5, rtol=1e-4)


def test_cells_and_tiles() -> None:
    """Of a patch in its tile; of the token in the picture that interpolation made, which is one tile."""
    model = onevision_model()
    given = prompts(model, [3, (40, 50), 4], [2, (25, 56), 3])
    with pruner([5, 5]).attach(model) as pruning:
        logits(model, given.inputs)
    tokens, images = pruning.receipt.selection.tokens, pruning.receipt.images
    lines = rows_of(model, given, 0)[1]
    beyond = [(1, y, x) for y, width in enumerate(lines) for x in range(width)]
    overview = [(0, y, x) for y in range(GRID) for x in range(GRID)]
    assert images[0].tokens == len(overview + beyond) < images[0].patches
    planes = [
        torch.stack([tokens.tile, tokens.row, tokens.col], -1)[n, : i.tokens].tolist() for n, i in enumerate(images)
    ]
    assert [tuple(cell) for cell in planes[0]] == overview + beyond
    assert {tile for tile, _, _ in planes[1]} == {0, 1, 2}
    assert planes[1][: len(overview)] == [list(cell) for cell in overview]
    assert not tokens.valid[0, images[0].tokens :].any()
    assert tokens.valid.sum(1).tolist() == [image.tokens for image in images]


@pytest.mark.parametrize("limit", [1, 2, 9])
def test_kit_for_other_newline_policies(limit: int) -> None:
    from scope_core.testing import check_adapter

    model = onevision_model(limit=limit)
    given = prompts(model, *MIXED)
    only = [
        "detaching_restores_the_model",
        "keeping_fewer_tokens_changes_outputs",
        "batches_match_single_prompts",
        "images_may_keep_no_tokens",
        "offered_signals_are_delivered",
        "plans_come_true",
        "calls_do_not_affect_later_ones",
    ]
    for newlines in ("drop", "keep_if_row_kept"):
        adapter = {"name": "llava_onevision", "newlines": newlines}
        check_adapter(adapter, model, given.rows, sizes=[given.sizes[:1], [], given.sizes[1:]], only=only)


def processor(model: Any) -> LlavaOnevisionProcessor:
    """The processor's arithmetic alone; it needs no tokenizer."""
    made = object.__new__(LlavaOnevisionProcessor)
    made.image_processor = SimpleNamespace(image_grid_pinpoints=model.config.image_grid_pinpoints)
    made.num_image_tokens, made.vision_aspect_ratio = PATCHES, model.config.vision_aspect_ratio
    return made


SIZES = st.tuples(st.integers(5, 3000), st.integers(5, 3000)) | st.tuples(st.integers(5, 60), st.integers(5, 60))


@settings(max_examples=60)
@cases(size=SIZES, limit=st.sampled_from([1, 2, 4, 9]))
def test_plans_are_what_the_processor_counts(size: tuple[int, int], limit: int) -> None:
    model = onevision_model(limit=limit)
    (image,) = pruner([1]).plan([size], model=model).layout.images
    assert image.tokens + image.separators == processor(model)._get_number_of_features(*size, 28, 28)
    assert image.tiles[0] == PATCHES
    assert image.patches == PATCHES * tiles_of(model, size)


def test_budgets_over_interpolated_and_exact_images() -> None:
    model = onevision_model()
    given = prompts(model, *MIXED)
    for per, keep in (("image", 24), ("total", 50), ("tile", 7)):
        budget = {"name": "tokens", "keep": keep, "per": per}
        with pruner(budget).attach(model) as pruning:
            logits(model, given.inputs)
            plan = pruning.plan(given.sizes)
        counts = tuple(image.kept for image in pruning.receipt.images)
        assert counts == plan.images
        wanted = {"image": (24,) * 3, "total": None, "tile": tuple(7 * len(i.tiles) for i in plan.layout.images)}[per]
        assert wanted in (None, counts)
        assert per != "total" or sum(counts) == 50


@shared_prompts
def test_images_of_one_prompt_are_a_tile_each() -> None:
    model = onevision_model()
    given = prompts(model, *MIXED, grouped=True)
    wanted = logits(model, given.inputs)
    with pruner(EVERYTHING).attach(model) as pruning:
        assert torch.equal(logits(model, given.inputs), wanted)
        assert pruning.plan([(40, 50), (25, 56)]).layout.images[1].prompt == 1
    assert [(image.tokens, image.separators) for image in pruning.receipt.images][1:] == [(PATCHES, 1)] * 2


def test_no_cls_is_said_and_frames_of_no_video_are_refused() -> None:
    model = onevision_model()
    before = snapshot(model)
    with pytest.raises(
        scope.SignalError, match=r"cls_attention.*SiglipVisionModel tower has no CLS token.*received_attention"
    ):
        scope.Pruner("scope@4").attach(model)
    given = prompts(model, [3, (40, 50), 4])
    with pruner([4]).attach(model), pytest.raises(scope.AttachError, match="1 videos were given, but the prompts"):
        model(**given.inputs, pixel_values_videos=torch.zeros(1, 2, 3, 28, 28))
    assert diff(before, snapshot(model)) == []
    assert VIDEO in model.generation_config.suppress_tokens
