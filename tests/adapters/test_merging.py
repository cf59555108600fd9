"""Merging tokens inside models: rows mixed by hand, through the projector by hand, spliced by hand.

The merger below weighs by place alone, so the loops need no part of the library: a kept token j becomes
``x_j + 0.5 x_{j+1}``, the r-th row in front is the mean of all tokens times ``r + 1``, one behind that times -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from fakes import entry, module
from torch import Tensor

import scope_core as scope
from adapters import any_type, anyres, guests, original_llava, qwen, tiled, video_llava
from adapters.installed import deepstack_of, features_of
from adapters.mistral3 import mistral3
from adapters.mistral3 import prompts as mistral_prompts
from adapters.models import MIXED, ONE, PATCHES, TWO, Batch, batch, eager, llava, shared
from adapters.reference import embeddings, scope_kept, tower_pass
from adapters.test_llava_next import picked, sources, whole
from scope_core import AdapterError, AttachError, Pruner, SignalError, TokensError
from scope_core.parts import Merger, SaliencySource

LAYER = -2
CLS = f"vision.cls[{LAYER}]"


def weigh(self: Any, selection: scope.Selection) -> Tensor:
    tokens, spec = selection.tokens, self.spec
    groups, count, _ = tokens.shape
    kept = selection.picks.shape[1]
    made = tokens.features.new_zeros(groups, spec.before + kept + spec.after, count + spec.cls)
    for group, mine in enumerate(tokens.valid):
        total = int(mine.sum())
        for row in range(spec.before):
            made[group, row, :count][mine] = (row + 1) / total
        for row in range(spec.after):
            made[group, spec.before + kept + row, :count][mine] = -1 / total
        for row, pick in enumerate(selection.arranged[group].tolist()):
            if pick >= 0:
                made[group, spec.before + row, pick] += 1
                made[group, spec.before + row, (pick + 1) % total] += 0.5
        if spec.cls:
            made[group, 0] = 0
            made[group, 0, -1] = 1
    return made


def by_place(features: Tensor, kept: Sequence[int], before: int = 0, after: int = 0) -> Tensor:
    """(before + K + after, D): what the merger makes of one image's tokens (N, D), in float64."""
    exact = features.double()
    mean = exact.mean(0)
    rows = [mean * (row + 1) for row in range(before)]
    rows += [exact[j] + 0.5 * exact[(j + 1) % len(exact)] for j in kept]
    return torch.stack(rows + [-mean] * after).to(features)


@pytest.fixture(scope="module")
def registry() -> scope.Registry:
    mixing = entry(
        Merger,
        "mixing",
        options={"before": (int, 0), "after": (int, 0), "cls": (bool, False)},
        extra=lambda self, tokens, rows: (self.spec.before, self.spec.after),
        needs=property(lambda self: frozenset({CLS} if self.spec.cls else ())),
        uses_cls=property(lambda self: self.spec.cls),
        weights=weigh,
    )
    same = entry(
        Merger,
        "same",
        weights=lambda self, s: (
            torch.nn.functional.one_hot(s.arranged.clamp(min=0), s.tokens.shape[1]).float()
            * (s.arranged >= 0)[..., None]
        ),
    )
    # a second reader of CLS, at another layer: the merger must get its own
    other = entry(
        SaliencySource,
        "other_cls",
        needs=frozenset({"vision.cls[-1]", "vision.cls_attention[-2]"}),
        score=lambda self, tokens: (
            tokens.signal("vision.cls[-1]")[..., 0] * 0 + tokens.signal("vision.cls_attention[-2]").sum(1)
        ),
    )
    return guests.registry().with_module(
        module(scope_mergers=[mixing, same], scope_saliency_sources=[other]), name="mergers"
    )


def pruner(registry: scope.Registry, budget: Any, **options: Any) -> Pruner:
    return Pruner({"recipe": "scope", "budget": budget, **options}, registry=registry)


def logits(model: Any, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return model(**inputs).logits


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def real_logits(got: Tensor, mask: Tensor) -> Tensor:
    return got[mask.bool()]


def spliced(model: Any, given: Batch, images: Sequence[Tensor]) -> dict[str, Tensor]:
    """Prompts of a left-padded batch with ``images`` (R_i, D') in place of their placeholders."""
    table, rows, image = model.get_input_embeddings().weight, [], 0
    for number in range(len(given.ids)):
        row, inside = [], 0
        for token in given.row(number).ids[0].tolist():
            if token != 150:
                row.append(table[token][None])
            elif inside % PATCHES == 0:
                row.append(images[image])
                image += 1
            inside += token == 150
        rows.append(torch.cat(row).detach())
    longest = max(map(len, rows))
    embeds = torch.stack([torch.nn.functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
    mask = torch.stack([(torch.arange(longest) >= longest - len(row)).long() for row in rows])
    return {"inputs_embeds": embeds, "attention_mask": mask}


class TestLlava:
    @pytest.mark.parametrize("at", ["vision", "projected"])
    @pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (2, 1)])
    @pytest.mark.parametrize(("name", "recipe"), [("clip", MIXED), ("clip-two-layers", ONE), ("siglip", TWO)])
    def test_logits_are_those_of_rows_mixed_by_hand(
        self, name: str, recipe: Any, before: int, after: int, at: str, registry: scope.Registry
    ) -> None:
        model, given = shared(name), batch(*recipe)
        assert given.pixels is not None
        keep = [3 + image % 2 for image in range(len(given.pixels))]
        budget = {"name": "listed", "keep": [count + before + after for count in keep]}
        saliency = "received_attention" if name == "siglip" else "cls_attention"
        spec = {"saliency": saliency, "at": at, "merger": {"name": "mixing", "before": before, "after": after}}
        features, _ = tower_pass(model, given.pixels)
        with torch.no_grad():
            projector = model.model.multi_modal_projector
            through = [projector(one) for one in features]
        with pruner(registry, budget, **spec).attach(model) as pruning:
            got = logits(model, given.inputs)
            ids = model.generate(**given.inputs, max_new_tokens=4, do_sample=False)
            mask = pruning.shorten(given.mask)
            assert [image.kept for image in pruning.receipt.images] == list(budget["keep"])
            selection = pruning.receipt.selection
        assert selection is not None
        kept = [row[row >= 0].tolist() for row in selection.kept]
        assert [len(row) for row in kept] == keep
        if at == "vision":
            assert kept == scope_kept(model, given.pixels, keep)
        with torch.no_grad():
            rows = [
                projector(by_place(one, mine, before, after)) if at == "vision" else by_place(read, mine, before, after)
                for one, read, mine in zip(features, through, kept, strict=True)
            ]
        hand = spliced(model, given, rows)
        assert mask.tolist() == hand["attention_mask"].tolist()
        close(real_logits(got, mask), real_logits(logits(model, hand), mask))
        with torch.no_grad():
            alone = model.generate(**hand, max_new_tokens=4, do_sample=False)
        assert ids[:, given.length :].tolist() == alone.tolist()
        plain = embeddings(model, given, kept)
        if before + after == 0:  # and it is not what is read without merging
            apart = (real_logits(got, mask) - real_logits(logits(model, plain), mask)).abs().max()
            assert apart > 1e-2

    @pytest.mark.parametrize("saliency", ["cls_attention", "other_cls"])
    def test_a_row_of_cls(self, saliency: str, registry: scope.Registry) -> None:
        model, given = shared("clip"), batch(*TWO)
        spec = {"merger": {"name": "mixing", "before": 1, "cls": True}, "saliency": saliency}
        with pruner(registry, 5, **spec).attach(model) as pruning:
            got, mask = logits(model, given.inputs), pruning.shorten(given.mask)
            selection = pruning.receipt.selection
        assert given.pixels is not None
        assert selection is not None
        with torch.no_grad():
            states = eager(model).model.vision_tower(given.pixels, output_hidden_states=True).hidden_states[LAYER]
            rows = [
                model.model.multi_modal_projector(torch.cat([state[:1], by_place(state[1:], kept)]))
                for state, kept in zip(states, selection.kept.tolist(), strict=True)
            ]
        assert selection.row_counts == (5, 5, 5)
        close(real_logits(got, mask), real_logits(logits(model, spliced(model, given, rows)), mask))

    def test_rows_that_fill_every_placeholder(self, registry: scope.Registry) -> None:
        """K kept and one more: as many as before, and still other rows in other places."""
        model, given = shared("clip"), batch(*ONE)
        assert given.pixels is not None
        with pruner(registry, PATCHES, merger={"name": "mixing", "before": 1}).attach(model) as pruning:
            got = logits(model, given.inputs)
            (kept,) = pruning.receipt.selection.kept.tolist()
        assert got.shape[1] == given.length
        assert len(kept) == PATCHES - 1
        features, _ = tower_pass(model, given.pixels)
        with torch.no_grad():
            rows = [model.model.multi_modal_projector(by_place(features[0], kept, 1))]
        close(got, logits(model, spliced(model, given, rows)))

    @pytest.mark.parametrize("order", ["picks", "stages"])
    @pytest.mark.parametrize("merger", ["none", "mixing"])
    def test_other_orders(self, order: str, merger: str, registry: scope.Registry) -> None:
        model, given = shared("clip"), batch(*TWO)
        one = {"name": "composite", "saliency": "cls_attention", "combiner": "saliency_only"}
        chain = {"name": "chain", "stages": [one, {**one, "combiner": "coverage_only"}], "shares": [1, 1]}
        spec = {"selector": chain, "budget": 6, "order": order, "merger": merger}
        with Pruner(spec, registry=registry).attach(model) as pruning:
            got, mask = logits(model, given.inputs), pruning.shorten(given.mask)
            selection = pruning.receipt.selection
        picks = selection.picks.tolist()
        wanted = picks if order == "picks" else [sorted(row[:3]) + sorted(row[3:]) for row in picks]
        assert selection.arranged.tolist() == wanted != selection.kept.tolist()
        assert given.pixels is not None
        features, _ = tower_pass(model, given.pixels)
        with torch.no_grad():
            rows = [
                model.model.multi_modal_projector(by_place(one, row) if merger == "mixing" else one[row])
                for one, row in zip(features, wanted, strict=True)
            ]
        close(real_logits(got, mask), real_logits(logits(model, spliced(model, given, rows)), mask))

    @pytest.mark.parametrize("spec", [{"order": "picks"}, {"merger": {"name": "mixing", "before": 1}}], ids=str)
    def test_positions_by_placeholder_are_refused(self, spec: dict[str, Any], registry: scope.Registry) -> None:
        model, given = shared("clip"), batch(*ONE)
        with (
            pruner(registry, 5, positions="original", **spec).attach(model),
            pytest.raises(AttachError, match=r"position 'original'.* needs a placeholder for each token"),
        ):
            logits(model, given.inputs)

    def test_positions_by_placeholder_go_with_merging_in_place(self, registry: scope.Registry) -> None:
        model, given = shared("clip"), batch(*ONE)
        with pruner(registry, 5, positions="original", merger="mixing").attach(model):
            assert bool(torch.isfinite(logits(model, given.inputs)).all())

    def test_cls_of_another_width_is_refused(self, registry: scope.Registry) -> None:
        model, given = shared("clip-two-layers"), batch(*ONE)
        spec = {"merger": {"name": "mixing", "before": 1, "cls": True}}
        with (
            pruner(registry, 5, **spec).attach(model),
            pytest.raises(TokensError, match=r"cls has shape \(1, 16, 32\), the tokens have \(1, 16, 64\)"),
        ):
            logits(model, given.inputs)

    @pytest.mark.parametrize(
        ("name", "spec", "error", "text"),
        [
            ("siglip", {}, SignalError, r"merger 'mixing'.* needs vision\.cls\[-2\].* has no CLS token"),
            ("clip", {"at": "projected"}, AdapterError, r"merger 'mixing'.* uses the CLS token.*`at: vision`"),
            ("clip", {"at": "decoder[1]"}, AdapterError, r"merges at 'decoder\[1\]'; set `at: vision`"),
            ("clip", {"merger": "none", "then": [{"at": "decoder[1]"}]}, AdapterError, r"merges at 'decoder\[1\]'"),
        ],
    )
    def test_what_a_merger_with_cls_is_refused_for(
        self, name: str, spec: dict[str, Any], error: type[Exception], text: str, registry: scope.Registry
    ) -> None:
        merger = {"name": "mixing", "before": 1, "cls": True}
        given = {"saliency": "uniform", "merger": merger, **spec}
        given["then"] = [{**stage, "merger": merger} for stage in spec.get("then", [])]
        with pytest.raises(error, match=rf"(?s){text}"):
            pruner(registry, 5, **given).attach(shared(name))


class TestLlavaNext:
    ROW = (2, (27, 141), 3)

    @pytest.mark.parametrize("at", ["vision", "projected"])
    @pytest.mark.parametrize("newlines", ["keep", "drop", "keep_if_row_kept"])
    def test_rows_lie_between_the_newlines(self, at: str, newlines: str, registry: scope.Registry) -> None:
        model = anyres.next_model()
        given = anyres.prompts(model, self.ROW)
        (packed,) = sources(model, given)
        self.check(model, given, packed, at, registry, newlines=newlines)

    @pytest.mark.parametrize("at", ["vision", "projected"])
    def test_the_layout_of_published_tables(self, at: str, registry: scope.Registry) -> None:
        model = anyres.next_model()
        given = anyres.prompts(model, self.ROW)
        rows = whole(model, given.sizes[0])
        self.check(model, given, rows, at, registry, layout="paper2880", padding="competes")

    def check(
        self, model: Any, given: anyres.Prompts, packed: list[int], at: str, registry: scope.Registry, **adapter: Any
    ) -> None:
        """``packed``: the patch of each row, -1 for newlines. Tokens are numbered tile by tile; rows cross tiles."""
        before, keep, after = 2, 9, 1
        tokens = sorted(patch for patch in packed if patch >= 0)
        assert tokens != [patch for patch in packed if patch >= 0]
        merger = {"name": "mixing", "before": before, "after": after}
        spec = {"at": at, "merger": merger, "adapter": {"name": "llava_next", **adapter}}
        with pruner(registry, before + keep + after, **spec).attach(model) as pruning:
            got = logits(model, given.inputs)
            (kept,) = pruning.receipt.selection.kept.tolist()
            (counted,) = pruning.receipt.images
        if at == "vision":
            assert {tokens[j] for j in kept} == picked(model, given.pixels[0], tokens, keep)
        with torch.no_grad():
            states = eager(model).model.vision_tower(given.pixels[0], output_hidden_states=True).hidden_states[-2]
            features = states[:, 1:].flatten(0, 1)[tokens]
            project = model.model.multi_modal_projector
            made = by_place(features, kept, before, after) if at == "vision" else None
            made = project(made) if made is not None else by_place(project(features), kept, before, after)
        row_of = {tokens[j]: made[before + number] for number, j in enumerate(kept)}
        newline = model.model.image_newline.detach()
        read, line, left = list(made[:before]), 0, keep
        for number, patch in enumerate(packed):
            if patch in row_of:
                read.append(row_of[patch])
                line, left = line + (number >= anyres.PATCHES), left - 1
                read += list(made[before + keep :]) if left == 0 else []
            if patch < 0:
                policy = adapter["newlines"]
                read += [newline] if policy == "keep" or (policy == "keep_if_row_kept" and line) else []
                line = 0
        assert (counted.kept, counted.separators) == (before + keep + after, len(read) - before - keep - after)
        table = model.get_input_embeddings().weight.detach()
        ids = given.ids[0]
        place = int((ids == 150).nonzero()[0])
        text = table[ids[ids != 150]]
        close(got, logits(model, {"inputs_embeds": torch.cat([text[:place], torch.stack(read), text[place:]])[None]}))

    def test_kept_tokens_cannot_leave_newlines_behind(self, registry: scope.Registry) -> None:
        model = anyres.next_model()
        given = anyres.prompts(model, self.ROW)
        with pytest.raises(scope.AdapterError, match=r"with `order: picks`.*newline tokens .* stay; drop them with"):
            pruner(registry, 9, order="picks").attach(model)
        adapter = {"name": "llava_next", "newlines": "drop"}
        with pruner(registry, 9, order="picks", adapter=adapter).attach(model) as pruning:
            logits(model, given.inputs)
            assert pruning.receipt.images[0].kept == 9

    def test_tiles_that_merge_by_themselves_have_cls_of_their_own(self, registry: scope.Registry) -> None:
        model = anyres.next_model()
        given = anyres.prompts(model, self.ROW)
        budget = {"name": "tokens", "keep": 3, "per": "tile"}
        merger = {"name": "mixing", "before": 1, "cls": True}
        adapter = {"name": "llava_next", "newlines": "drop", "layout": "paper2880", "padding": "competes"}
        spec = {"partition": "tile", "merger": merger, "adapter": adapter}
        seen: list[Tensor] = []
        with pruner(registry, budget, **spec).attach(model) as pruning:
            hook = model.model.language_model.register_forward_pre_hook(
                lambda _, __, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
            )
            logits(model, given.inputs)
            hook.remove()
            selection = pruning.receipt.selection
        with torch.no_grad():
            states = eager(model).model.vision_tower(given.pixels[0], output_hidden_states=True).hidden_states[LAYER]
            wanted = model.model.multi_modal_projector(states[:, 0])
        read = seen[0][0]
        assert selection.row_counts == (3 * len(states),)
        for row in wanted:
            assert float((read - row).norm(dim=1).min()) < 1e-3


class TestOriginalLlava:
    @pytest.mark.parametrize("kind", ["1.5", "1.6"])
    @pytest.mark.parametrize("at", ["vision", "projected"])
    def test_rows_are_mixed_before_or_after_the_projector(self, kind: str, at: str, registry: scope.Registry) -> None:
        from adapters.test_llava_original import rows_of, tower_pass

        model, given = original_llava.shared(kind), original_llava.prompts(kind, [3, (40, 56), 4])
        packed = rows_of(kind, given.sizes[0])
        tokens = sorted(row for row in packed if row is not None)
        features = tower_pass(model, given)[0][0][tokens]
        merger = {"name": "mixing", "before": 1, "after": 1}
        with pruner(registry, 8, at=at, merger=merger).attach(model) as pruning:
            call = (given.ids, None, given.mask, None, None, given.images, given.sizes)
            with torch.no_grad():
                got = model.prepare_inputs_labels_for_multimodal(*call)[4][0]
            (kept,) = pruning.receipt.selection.kept.tolist()
        project = model.get_model().mm_projector
        with torch.no_grad():
            mixed = (
                project(by_place(features, kept, 1, 1)) if at == "vision" else by_place(project(features), kept, 1, 1)
            )
        row_of, left = {tokens[j]: mixed[1 + number] for number, j in enumerate(kept)}, len(kept)
        read = [mixed[0]]
        for row in packed:
            if row in row_of:
                read.append(row_of[row])
                left -= 1
                read += [mixed[-1]] if left == 0 else []
            read += [model.get_model().image_newline.detach()] if row is None else []
        table = model.get_model().embed_tokens.weight.detach()
        ids = given.ids[0].tolist()
        place = ids.index(-200)
        wanted = torch.cat([table[ids[:place]], torch.stack(read), table[ids[place + 1 :]]])
        close(got, wanted)

    def test_gapped_positions_are_refused(self, registry: scope.Registry) -> None:
        model, given = original_llava.shared("1.5"), original_llava.prompts("1.5", [3, (28, 28), 4])
        with (
            pruner(registry, 5, positions="original", order="picks").attach(model),
            pytest.raises(AttachError, match="`positions` needs a place for each token"),
        ):
            model.prepare_inputs_labels_for_multimodal(given.ids, None, given.mask, None, None, given.images, None)


def examples() -> dict[str, Any]:
    """``name -> (model, inputs)`` of every family."""
    made: dict[str, Any] = {
        name: lambda name=name: (tiled.shared(name), tiled.prompts(name, [3, *_image(name), 4]).inputs)
        for name in ("vipllava", "paligemma", "internvl", "idefics3", "smolvlm", "gemma3")
    }
    built = {
        "llava_next": anyres.next_model,
        "llava_next_video": lambda: anyres.next_model(kind="LlavaNextVideo"),
        "llava_onevision": anyres.onevision_model,
    }
    for name, build in built.items():
        made[name] = lambda build=build: (build(), anyres.prompts(build(), [2, (27, 141), 3]).inputs)
    made["llava"] = lambda: (llava(), batch(*ONE).inputs)
    for name in qwen.CLASSES:
        made[name] = lambda name=name: (qwen.shared(name), qwen.prompts([3, (6, 10), 4]).inputs)
    if "deepseek_vl" in any_type.available():
        made["generic"] = lambda: (any_type.model("deepseek_vl"), any_type.prompts("deepseek_vl").row(0).inputs)
    made["video_llava"] = lambda: (
        video_llava.video_llava(),
        video_llava.prompts([2, "image", 1, "video", 3]).inputs,
    )
    made["mistral3"] = lambda: (mistral3(), mistral_prompts([3, (2, 3), 4]).inputs)
    return made


def _image(name: str) -> tuple[str, ...]:
    return ("2x1",) if tiled.FAMILIES[name].tiled else ("image",)


MARKS = {**{name: qwen.mark(name) for name in qwen.CLASSES}, "video_llava": video_llava.named}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in examples()])
def test_a_merger_that_changes_nothing_changes_nothing_at_any_point(name: str, registry: scope.Registry) -> None:
    """Going through the projector again gives what the model itself made of the kept tokens."""
    model, inputs = examples()[name]()
    points = pruner(registry, 5, saliency="uniform").check(model).merges
    for at in ("vision", "projected"):
        with pruner(registry, 5, saliency="uniform", at=at).attach(model):
            wanted = logits(model, inputs)
        with pruner(registry, 5, saliency="uniform", at=at, merger="same").attach(model) as pruning:
            close(logits(model, inputs), wanted)
        assert bool(pruning.receipt.notes) == (at not in points)


def test_every_adapter_is_among_them() -> None:
    assert {*examples(), "llava_original", "tinyllava", "generic"} == set(scope.default_registry().names("adapter"))


@pytest.mark.parametrize(
    "spec", [{"order": "picks"}, {"merger": {"name": "mixing", "after": 1}}, {"merger": "mixing"}], ids=str
)
@pytest.mark.parametrize("name", qwen.MODELS)
def test_qwen_rows_take_features_and_positions_along(name: str, spec: dict[str, Any], registry: scope.Registry) -> None:
    """Rows and DeepStack's features are mixed alike; each row has the axes of its token, an added one a free place."""
    model, given = qwen.shared(name), qwen.prompts([3, (4, 8), 4])
    calls: list[dict[str, Any]] = []
    asked = {"at": "projected", "saliency": {"name": "received_attention", "layer": -2}, **spec}
    with pruner(registry, 4, **asked).attach(model) as pruning, torch.no_grad():
        hook = model.model.language_model.register_forward_pre_hook(
            lambda _, __, kwargs: calls.append(kwargs), with_kwargs=True
        )
        model(**given.inputs)
        hook.remove()
    selection, call = pruning.receipt.selection, calls[0]
    after = int("after" in str(spec))
    order = selection.picks if "order" in spec else selection.kept
    kept = order[0][order[0] >= 0].tolist()
    assert kept != sorted(kept) or "order" not in spec  # else the test would not see the order

    def made(rows: Tensor) -> Tensor:
        return by_place(rows, kept, after=after) if "merger" in spec else rows[kept]

    with torch.no_grad():
        full = features_of(model, pixel_values=given.pixels, image_grid_thw=given.grids)[0]
        first = int((given.ids[0] == qwen.PLACEHOLDER).nonzero()[0])
        close(call["inputs_embeds"][0, first : first + 4], made(full))
        if name == "qwen3_vl":
            layers = deepstack_of(model, given.pixels, given.grids)
            for layer, got in zip(layers, call["deepstack_visual_embeds"], strict=True):
                close(got, made(layer))
    row, col = call["position_ids"][-2:, 0, first : first + 4] - call["position_ids"][-3, 0, first]
    places = [place for place in range(8) if place not in kept]
    wanted = kept + [min(places, key=lambda place: abs(place - kept[-1]))] * after
    assert (row * 4 + col).tolist() == wanted
