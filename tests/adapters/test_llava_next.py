"""LLaVA-NeXT: geometry, layouts, newlines and budgets, against plain loops and the processor's own arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import oracles
import pytest
import torch
from fakes import with_part
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlavaNextProcessor

import scope_core as scope
from adapters.anyres import CANVASES, GRID, PATCHES, Prompts, canvas_of, next_model, prompts, tiles_of
from adapters.guests import registry
from adapters.installed import features_of
from adapters.models import PLACEHOLDER, eager
from scope_core.parts import PositionPolicy
from scope_core.testing import diff, snapshot

GREEDY = {"max_new_tokens": 4, "do_sample": False}
MIXED = ([3, (40, 50), 4], [5], [2, (25, 56), 3, (100, 30), 5])
WIDE = ([2, (27, 141), 3], [1, (29, 29), 2, (90, 31), 2, (57, 56), 1])
REAL = {"side": 336, "patch": 14, "canvases": ((1, 2), (2, 1), (2, 2), (1, 3), (3, 1))}
"""The checkpoints' own geometry: 576 patches a tile, 2 to 4 tiles beside the overview."""


def pruner(keep: Sequence[int] | int | dict[str, Any], *, recipe: str = "scope", **adapter: Any) -> scope.Pruner:
    """``keep`` tokens of each image, or a budget in full."""
    budget = {"name": "listed", "keep": list(keep)} if isinstance(keep, Sequence) else keep
    spec = {"recipe": recipe, "budget": budget, "adapter": {"name": "llava_next", **adapter}}
    return scope.Pruner(spec, registry=registry())


def logits(model: Any, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return model(**inputs).logits


# by hand: which packed row is which patch, what SCOPE picks, and the embeddings that remain


def seen_by_tower(model: Any, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(T * n, D) features, (T * n,) saliency, (T * n, D') projected."""
    with torch.no_grad():
        out = eager(model).model.vision_tower(image, output_hidden_states=True, output_attentions=True)
        features = out.hidden_states[-2][:, 1:]
        projected = model.model.multi_modal_projector(features)
    return features.flatten(0, 1), out.attentions[-2][:, :, 0, 1:].sum(1).flatten(), projected.flatten(0, 1)


def sources(model: Any, given: Prompts) -> list[list[int]]:
    """The patch of each row that the model itself packs, found by looking for equal vectors; -1 for newlines."""
    images = {name: given.inputs[name] for name in ("pixel_values", "image_sizes")}
    with torch.no_grad():
        packed = features_of(model, **images)
    found = []
    for image, rows in zip(given.pixels, packed, strict=True):
        vectors = torch.cat([seen_by_tower(model, image)[2], model.model.image_newline[None].detach()])
        apart = torch.cdist(rows.double(), vectors.double())
        assert apart.min(1).values.max() < 1e-4
        found.append([-1 if int(i) == len(vectors) - 1 else int(i) for i in apart.argmin(1)])
    return found


def whole(model: Any, size: tuple[int, int]) -> list[int]:
    """``paper2880``: the overview, then the canvas row by row, whatever is padding."""
    rows, cols = canvas_of(model, size)
    patches = list(range(PATCHES))
    for y in range(rows * GRID):
        for x in range(cols * GRID):
            patches.append((1 + y // GRID * cols + x // GRID) * PATCHES + y % GRID * GRID + x % GRID)
    return patches


def picked(model: Any, image: Tensor, candidates: Sequence[int], count: int) -> set[int]:
    """The patches that SCOPE keeps, by the float64 oracle."""
    features, saliency, _ = seen_by_tower(model, image)
    cosine = oracles.cosine_matrix(features[list(candidates)].numpy())
    picks, _, _ = oracles.scope_picks(cosine, saliency[list(candidates)].numpy(), count)
    return {candidates[pick] for pick in picks}


def by_hand(model: Any, given: Prompts, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Embeddings of one prompt whose images are the given patches, -1 for a newline."""
    table, image, made, inside = model.get_input_embeddings().weight, 0, [], False
    for token in given.ids[0].tolist():
        if token == PLACEHOLDER and not inside:
            vectors = torch.cat([seen_by_tower(model, given.pixels[image])[2], model.model.image_newline[None]])
            made += [vectors[patch] for patch in rows[image]]
            image += 1
        elif token != PLACEHOLDER:
            made.append(table[token])
        inside = token == PLACEHOLDER
    embeds = torch.stack(made)[None].detach()
    return {"inputs_embeds": embeds, "attention_mask": torch.ones(embeds.shape[:2], dtype=torch.int64)}


def lines(row: Sequence[int]) -> list[list[int]]:
    """Packed rows cut behind every newline; the overview belongs to no line."""
    made: list[list[int]] = [[]]
    for patch in row[PATCHES:]:
        made[-1].append(patch)
        if patch < 0:
            made.append([])
    return made[:-1]


def remaining(row: Sequence[int], kept: set[int], newlines: str) -> list[int]:
    """What a policy leaves of packed rows."""
    made = [patch for patch in row[:PATCHES] if patch in kept]
    for line in lines(row):
        here = [patch for patch in line[:-1] if patch in kept]
        made += here + [-1] * (newlines == "keep" or (newlines == "keep_if_row_kept" and bool(here)))
    return made


@pytest.mark.parametrize("decoder", ["llama", "mistral"])
@pytest.mark.parametrize("newlines", ["keep", "drop", "keep_if_row_kept"])
@pytest.mark.parametrize("row", [MIXED[0], MIXED[2], *WIDE], ids=str)
def test_kept_tokens_are_those_of_the_oracle_and_logits_those_of_hand_built_embeddings(
    row: Any, newlines: str, decoder: str
) -> None:
    model = next_model(decoder)
    given = prompts(model, row)
    packed = sources(model, given)
    tokens = [sorted(patch for patch in image if patch >= 0) for image in packed]
    keep = [1 + len(patches) // 9 for patches in tokens]
    kept = [picked(model, *case) for case in zip(given.pixels, tokens, keep, strict=True)]
    with pruner(keep, newlines=newlines).attach(model) as pruning:
        got, ids = logits(model, given.inputs), model.generate(**given.inputs, **GREEDY, num_beams=2)
        assert torch.equal(logits(model, given.flat), got)
    wanted = [remaining(*case, newlines) for case in zip(packed, kept, strict=True)]
    hand = by_hand(model, given, wanted)
    torch.testing.assert_close(got, logits(model, hand), atol=1e-4, rtol=1e-4)
    assert torch.equal(ids[:, given.length :], model.generate(**hand, **GREEDY, num_beams=2))
    selection = pruning.receipt.selection
    for image, (patches, mine) in enumerate(zip(tokens, kept, strict=True)):
        assert {patches[i] for i in selection.kept[image, : keep[image]].tolist()} == mine
        assert selection.tokens.tile[image, : len(patches)].tolist() == [patch // PATCHES for patch in patches]
        assert selection.tokens.row[image, : len(patches)].tolist() == [patch % PATCHES // GRID for patch in patches]
        assert selection.tokens.col[image, : len(patches)].tolist() == [patch % GRID for patch in patches]
        receipt = pruning.receipt.images[image]
        assert receipt.separators == wanted[image].count(-1)
        assert (receipt.tokens, receipt.patches) == (len(patches), PATCHES * len(given.pixels[image]))


# paper2880


@pytest.mark.parametrize("padding", ["excluded", "competes"])
@pytest.mark.parametrize("row", [MIXED[0], MIXED[2], *WIDE], ids=str)
def test_paper2880_reads_patches_of_the_whole_canvas(row: Any, padding: str) -> None:
    model = next_model()
    given = prompts(model, row)
    real = [sorted(patch for patch in image if patch >= 0) for image in sources(model, given)]
    every = [list(range(PATCHES * len(image))) for image in given.pixels]
    tokens = real if padding == "excluded" else every
    keep = [1 + len(patches) // 7 for patches in tokens]
    kept = [picked(model, *case) for case in zip(given.pixels, tokens, keep, strict=True)]
    with pruner(keep, layout="paper2880", padding=padding).attach(model) as pruning:
        got, ids = logits(model, given.inputs), model.generate(**given.inputs, **GREEDY, num_beams=2)
        assert torch.equal(logits(model, given.flat), got)
    wanted = [
        [patch for patch in whole(model, size) if patch in mine] for size, mine in zip(given.sizes, kept, strict=True)
    ]
    hand = by_hand(model, given, wanted)
    torch.testing.assert_close(got, logits(model, hand), atol=1e-4, rtol=1e-4)
    assert torch.equal(ids[:, given.length :], model.generate(**hand, **GREEDY, num_beams=2))
    for image, (patches, candidates) in enumerate(zip(every, tokens, strict=True)):
        receipt = pruning.receipt.images[image]
        assert (receipt.tokens, receipt.kept, receipt.separators) == (len(candidates), keep[image], 0)
        assert receipt.patches == len(patches)


@pytest.mark.parametrize("decoder", ["llama", "mistral"])
def test_paper2880_keeping_everything_is_the_whole_canvas(decoder: str) -> None:
    """It cannot be what the unpruned model reads; it is what papers' tables call the upper bound."""
    model = next_model(decoder)
    given = prompts(model, [3, (56, 56), 2, (28, 56), 4])
    with pruner({"name": "ratio", "keep_ratio": 1.0}, layout="paper2880").attach(model) as pruning:
        got = logits(model, given.inputs)
    hand = by_hand(model, given, [whole(model, size) for size in given.sizes])
    torch.testing.assert_close(got, logits(model, hand), atol=1e-4, rtol=1e-4)
    assert [(image.tokens, image.kept, image.patches) for image in pruning.receipt.images] == [(80,) * 3, (48,) * 3]


def test_padding_is_never_picked_unless_it_competes() -> None:
    model = next_model()
    given = prompts(model, [3, (56, 33), 4])
    visible = {patch for patch in sources(model, given)[0] if patch >= 0}
    padding = 5 * PATCHES - len(visible)
    assert padding > 20
    for options, count in (({}, len(visible)), ({"padding": "competes"}, 5 * PATCHES - 10)):
        with pruner([count], layout="paper2880", **options).attach(model) as pruning:
            if count > given.placeholders[0]:
                with pytest.raises(
                    scope.AttachError, match=rf"image 0: {count} tokens .* has {given.placeholders[0]} placeh"
                ):
                    logits(model, given.inputs)
                continue
            logits(model, given.inputs)
            tokens = pruning.receipt.selection.tokens
            patches = tokens.tile * PATCHES + tokens.row * GRID + tokens.col
            assert set(patches[tokens.valid].tolist()) == visible


def test_more_tokens_than_placeholders_are_refused_before_the_model_runs() -> None:
    model = next_model()
    given = prompts(model, [3, (56, 33), 4])
    before = snapshot(model)
    with pruner([80], layout="paper2880", padding="competes").attach(model):
        with pytest.raises(scope.AttachError, match="prompts can only be shortened; keep at most"):
            model.generate(**given.inputs, **GREEDY)
        with pytest.raises(scope.AttachError, match="prompts can only be shortened; keep at most"):
            logits(model, given.inputs)
    assert diff(before, snapshot(model)) == []


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "paper2880"},
        {"layout": "paper2880", "padding": "competes"},
        {"newlines": "drop"},
        {"newlines": "keep_if_row_kept"},
    ],
    ids=str,
)
def test_other_layouts_keep_the_other_promises(options: dict[str, str]) -> None:
    """All but those that compare with the unpruned model, which reads another layout."""
    from scope_core.testing import check_adapter

    model = next_model()
    given = prompts(model, *MIXED)
    sizes = [given.sizes[:1], [], given.sizes[1:]]
    properties = [
        "detaching_restores_the_model",
        "keeping_fewer_tokens_changes_outputs",
        "offered_signals_are_delivered",
        "plans_come_true",
        "calls_do_not_affect_later_ones",
    ]
    if "padding" not in options:  # or more tokens than placeholders would be asked for
        properties += ["batches_match_single_prompts", "images_may_keep_no_tokens"]
    check_adapter({"name": "llava_next", **options}, model, given.rows, sizes=sizes, only=properties)


def test_competing_padding_in_a_ragged_batch() -> None:
    model, keep = next_model(), [40, 20, 31]
    given = prompts(model, *MIXED)
    options = {"layout": "paper2880", "padding": "competes"}
    with pruner(keep, **options).attach(model):
        together = model.generate(**given.inputs, **GREEDY, num_beams=2)[:, given.length :]
    for number, count in enumerate(given.images):
        alone = given.row(number)
        with pruner(keep[given.owned(number)] or [1], **options).attach(model):
            single = model.generate(**alone.inputs, **GREEDY, num_beams=2)[:, alone.length :]
        assert torch.equal(together[number : number + 1], single), count


def test_contradictions_are_refused() -> None:
    with pytest.raises(scope.SpecError, match=r"adapter: padding 'competes' needs layout 'paper2880'"):
        pruner(4, padding="competes")
    with pytest.raises(scope.SpecError, match=r"adapter: newlines 'keep_if_row_kept' needs layout 'faithful'"):
        pruner(4, layout="paper2880", newlines="keep_if_row_kept")
    with pytest.raises(scope.SpecError, match="paper2880"):
        pruner(4, layout="paper")
    spec = pruner(4, layout="paper2880", padding="competes").spec
    again = scope.Pruner(spec.to_dict(registry()), registry=registry()).spec
    assert again.adapter == spec.adapter


# budgets, with the checkpoints' own 24 x 24 patches a tile


def processor(model: Any) -> LlavaNextProcessor:
    """The processor's arithmetic alone; it needs no tokenizer."""
    made = object.__new__(LlavaNextProcessor)
    made.image_processor = SimpleNamespace(image_grid_pinpoints=model.config.image_grid_pinpoints)
    made.patch_size, made.num_additional_image_tokens = model.config.vision_config.patch_size, 1
    return made


SIZES = st.tuples(st.integers(1, 3000), st.integers(1, 3000)) | st.tuples(st.integers(1, 60), st.integers(1, 60))


@settings(max_examples=60)
@cases(size=SIZES, real=st.booleans())
def test_plans_are_what_the_processor_counts(size: tuple[int, int], real: bool) -> None:
    model = next_model(**REAL) if real else next_model()
    vision = model.config.vision_config
    (image,) = pruner(1).plan([size], model=model).layout.images
    wanted = processor(model)._get_number_of_features(*size, vision.image_size, vision.image_size) - 1
    assert image.tokens + image.separators == wanted
    assert len(image.tiles) == tiles_of(model, size)
    assert image.tiles[0] == (576 if real else PATCHES)
    assert image.patches == len(image.tiles) * image.tiles[0]
    (paper,) = pruner(1, layout="paper2880").plan([size], model=model).layout.images
    assert (paper.tiles, paper.patches, paper.separators) == (image.tiles, image.patches, 0)
    (all_of_it,) = pruner(1, layout="paper2880", padding="competes").plan([size], model=model).layout.images
    assert all_of_it.tiles == (image.tiles[0],) * len(image.tiles)


@settings(max_examples=40)
@cases(
    sizes=st.lists(SIZES, min_size=1, max_size=4),
    keep=st.sampled_from([640, 320, 160]),
    per=st.sampled_from(["image", "total", "tile"]),
)
def test_budgets_are_exact(sizes: list[tuple[int, int]], keep: int, per: str) -> None:
    """Per image and in total the sum is the number itself, unless an image has fewer tokens altogether."""
    model = next_model(**REAL)
    short = {"name": "tokens", "keep": keep // (5 if per == "tile" else 1), "per": per, "if_short": "keep_all"}
    plan = pruner(short).plan(sizes, model=model)
    images = plan.layout.images
    if per == "image":
        assert plan.images == tuple(min(keep, image.tokens) for image in images)
    elif per == "total":
        assert plan.total == min(keep, sum(image.tokens for image in images))
    else:
        assert plan.images == tuple(sum(min(keep // 5, tile) for tile in image.tiles) for image in images)
    by_tile = pruner(short).spec.model_copy(update={})
    split = scope.Pruner({**by_tile.to_dict(registry()), "partition": "tile"}, registry=registry()).plan(
        sizes, model=model
    )
    assert split.images == plan.images
    assert all(count <= span.tokens for (span,), count in zip(split.groups, split.counts, strict=True))


@pytest.mark.parametrize("size", [(672, 672), (500, 700), (336, 900), (1000, 120), (333, 334)], ids=str)
@pytest.mark.parametrize("layout", ["faithful", "paper2880"])
def test_640_320_160_are_kept_exactly(size: tuple[int, int], layout: str) -> None:
    model = next_model(**REAL)
    given = prompts(model, [3, size, 4])
    for keep in (640, 320, 160):
        with pruner(keep, recipe="top_k_attention", layout=layout).attach(model) as pruning:
            got = logits(model, {**given.inputs, "logits_to_keep": 1})
            planned = pruning.plan([size])
        (image,) = pruning.receipt.images
        assert image.kept == keep == planned.total
        stayed = image.separators if layout == "faithful" else 0
        assert pruning.positions.shape[1] == given.length - given.placeholders[0] + keep + stayed
        assert image.patches == 576 * tiles_of(model, size)
        assert got.isfinite().all()


@settings(max_examples=30)
@cases(
    sizes=st.lists(st.tuples(st.integers(4, 400), st.integers(4, 400)), min_size=1, max_size=3),
    share=st.floats(0.1, 1.0),
    options=st.sampled_from([{}, {"newlines": "drop"}, {"newlines": "keep_if_row_kept"}, {"layout": "paper2880"}]),
)
def test_what_is_planned_happens(sizes: list[tuple[int, int]], share: float, options: dict[str, str]) -> None:
    """On pictures of any sizes, seen from the prompt that the language model gets."""
    model = next_model()
    given = prompts(model, [2, *[piece for size in sizes for piece in (size, 1)]], [4])
    with pruner({"name": "ratio", "keep_ratio": share}, **options).attach(model) as pruning:
        logits(model, given.inputs)
        plan = pruning.plan(sizes)
    images = pruning.receipt.images
    assert tuple(image.kept for image in images) == plan.images
    assert [image.tokens for image in images] == [image.tokens for image in plan.layout.images]
    left = (given.ids[0, pruning.positions[0].clamp(min=0)] == PLACEHOLDER) & (pruning.positions[0] >= 0)
    assert int(left.sum()) == sum(image.kept + image.separators for image in images)
    for image, before in zip(images, plan.layout.images, strict=True):
        assert image.separators <= before.separators
        assert image.separators == before.separators or options.get("newlines") == "keep_if_row_kept"


def test_an_overview_and_four_tiles_are_2880() -> None:
    model = next_model(**REAL)
    for options in ({}, {"layout": "paper2880"}):
        (image,) = pruner(640, **options).plan([(672, 672)], model=model).layout.images
        assert (image.tokens, image.patches) == (2880, 2880)
    (image,) = pruner(640, layout="paper2880", padding="competes").plan([(500, 700)], model=model).layout.images
    assert (image.tokens, image.patches) == (2880, 2880)
    receipt_of = pruner(640, layout="paper2880").plan([(500, 700)], model=model).layout.images[0]
    assert receipt_of.tokens < receipt_of.patches == 2880


def test_published_code_keeps_as_many_of_every_tile() -> None:
    """Five tiles, 128 of each: the 640 of papers' tables. Of three tiles it keeps 213 each, so 639."""
    model = next_model(**REAL)
    budget = {"name": "tokens", "keep": 128, "per": "tile"}
    spec = {"recipe": "top_k_attention", "budget": budget, "partition": "tile"}
    adapter = {"name": "llava_next", "layout": "paper2880", "padding": "competes"}
    given = prompts(model, [3, (500, 700), 4])
    with scope.Pruner({**spec, "adapter": adapter}).attach(model) as pruning:
        logits(model, {**given.inputs, "logits_to_keep": 1})
    selection = pruning.receipt.selection
    assert selection.tokens.tile[0, selection.kept[0]].bincount().tolist() == [128] * 5
    assert pruning.receipt.kept == 640
    exact = scope.Pruner({"recipe": "scope", "budget": 640, "partition": "tile"})
    assert exact.plan(scope.Layout.of([[576] * 3])).counts == (214, 213, 213)


@pytest.mark.parametrize("size", [(7, 200), (300, 11), (1, 900)], ids=str)
def test_images_that_are_nothing_but_padding_beside_the_overview(size: tuple[int, int]) -> None:
    model = next_model()
    given = prompts(model, [3, size, 4], [2, (40, 50), 3])
    with pruner([6, 9]).attach(model) as pruning:
        got = logits(model, given.inputs)
        planned = pruning.plan([size, (40, 50)])
    image = pruning.receipt.images[0]
    assert planned.layout.images[0].tiles[0] == PATCHES
    assert image.tokens + planned.layout.images[0].separators == given.placeholders[0]
    assert (image.kept, planned.images) == (6, (6, 9))
    assert got.isfinite().all()


def test_tiles_without_tokens_are_tiles_still() -> None:
    model = next_model()
    (image,) = pruner(1).plan([(7, 200)], model=model).layout.images
    assert image.tiles == (PATCHES, 0, 0, 0, 0, 0)
    assert image.tokens == PATCHES
    assert image.patches == 6 * PATCHES


@pytest.mark.parametrize("canvas", CANVASES, ids=str)
def test_every_number_of_tiles(canvas: tuple[int, int]) -> None:
    """2 to 6 with the overview; squeezed so that unpadding cuts odd numbers of patches."""
    model = next_model()
    height, width = canvas[0] * 28, canvas[1] * 28
    for size in ((height, width), (math.ceil(height * 0.8), width), (height, math.ceil(width * 0.8))):
        given = prompts(model, [2, size, 3])
        (row,) = sources(model, given)
        (image,) = pruner(1).plan([size], model=model).layout.images
        assert image.tiles == tuple(
            sum(p // PATCHES == tile for p in row if p >= 0) for tile in range(len(image.tiles))
        )
        assert image.separators == row.count(-1) == len(lines(row))


# what can go wrong


def test_moved_packing_is_an_error_before_anything_is_hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.models.llava_next.modeling_llava_next as home

    model = next_model()
    before = snapshot(model)
    with monkeypatch.context() as patch:
        patch.delattr(type(model.model), "pack_image_features")
        with pytest.raises(scope.AdapterError, match="'pack_image_features'"):
            pruner(4).attach(model)
    for name in ("image_size_to_num_patches", "get_anyres_image_grid_shape"):
        with monkeypatch.context() as patch:
            patch.delattr(home, name)
            with pytest.raises(
                scope.AdapterError, match=rf"transformers\.models\.llava_next\S* has no function '{name}'"
            ):
                pruner(4).attach(model)
    assert diff(before, snapshot(model)) == []


def test_short_images_are_refused_by_name() -> None:
    model = next_model()
    given = prompts(model, [3, (40, 50), 4], [2, (28, 30), 3])
    with (
        pruner(60).attach(model),
        pytest.raises(scope.BudgetError, match=r"image 1 has \d+ tokens.*if_short: keep_all"),
    ):
        logits(model, given.inputs)
    with (
        pruner({"name": "tokens", "keep": 14, "per": "tile"}).attach(model),
        pytest.raises(scope.BudgetError, match=r"image 0, tile \d"),
    ):
        logits(model, given.inputs)


def test_a_prompt_cut_short_is_refused() -> None:
    model = next_model()
    given = prompts(model, [3, (40, 50), 4])
    for options in ({}, {"layout": "paper2880"}):
        with (
            pruner(4, **options).attach(model),
            pytest.raises(scope.AttachError, match="image placeholders left for image 0"),
        ):
            logits(model, {**given.inputs, "input_ids": given.ids[:, 6:], "attention_mask": given.mask[:, 6:]})


def test_positions_by_placeholder_are_refused_where_tokens_have_none() -> None:
    """In ``paper2880`` kept tokens take the first placeholders, whichever they are."""
    parts = with_part(
        registry(), PositionPolicy, "acme.own", position_ids=lambda _, full, index, kept: full.gather(1, index)
    )
    model = next_model()
    given = prompts(model, [3, (40, 50), 4])
    spec = {"recipe": "scope", "budget": 9, "positions": "acme.own"}
    with scope.Pruner(spec, registry=parts).attach(model):
        assert logits(model, given.inputs).isfinite().all()
    paper = {"name": "llava_next", "layout": "paper2880"}
    with (
        scope.Pruner({**spec, "adapter": paper}, registry=parts).attach(model),
        pytest.raises(
            scope.AttachError, match=r"'acme.own' .* needs a placeholder for each token, .* adapter 'llava_next'"
        ),
    ):
        logits(model, given.inputs)


@pytest.mark.parametrize("layout", ["faithful", "paper2880"])
def test_training_reaches_the_projector(layout: str) -> None:
    """Rows are not cut off from the graph, whichever layout they come from."""
    model = next_model()
    given = prompts(model, [3, (40, 50), 4])
    labels = given.ids.masked_fill(given.ids == PLACEHOLDER, -100)
    with pruner(9, layout=layout).attach(model):
        model(**given.inputs, labels=labels).loss.backward()
    weight = model.model.multi_modal_projector.linear_1.weight
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    model.zero_grad(set_to_none=True)


def test_no_images_and_no_sizes() -> None:
    model = next_model()
    given = prompts(model, [3], [5])
    with pruner(4).attach(model) as pruning:
        assert torch.equal(logits(model, given.inputs), logits(model, given.inputs))
        assert pruning.plan([]).images == ()
    assert not pruning.receipt


def test_an_order_that_newlines_stand_in_the_way_of_is_refused_when_attaching() -> None:
    model = next_model()
    given, before = prompts(model, [3, (40, 50), 4]), snapshot(model)
    why = "visionzip@8: with `order: stages`.*`adapter: {name: llava_next, newlines: drop}`, or set `order: raster`"
    with pytest.raises(scope.AdapterError, match=why):
        scope.Pruner("visionzip@8").attach(model)
    assert not diff(before, snapshot(model))
    paper = {"name": "llava_next", "layout": "paper2880"}
    for way in ({"adapter": {"name": "llava_next", "newlines": "drop"}}, {"order": "raster"}, {"adapter": paper}):
        with scope.Pruner({"recipe": "visionzip", "budget": 8, **way}).attach(model) as pruning:
            logits(model, given.inputs)
        assert pruning.receipt.kept == 8
