"""The conformance kit sees what it is there to see: adapters that are broken on purpose, one way each."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Literal

import offers
import pytest
import torch
from torch import nn

import scope_core as scope
from adapters import anyres
from adapters.guests import keeping
from adapters.installed import attention_switch
from adapters.models import MIXED, batch, shared
from scope_adapters.adapters.llava import Llava
from scope_adapters.compat.transformers import language_model
from scope_core import Layout
from scope_core.adapters import Declaration, ModelAdapter, Offer, replace_attribute
from scope_core.parts import ComponentSpec, Entry
from scope_core.testing import PROPERTIES, Conformance, ConformanceError, check_adapter

SIZES = [[(28, 28)], [], [(28, 28), (28, 28)]]

FITS = "adapter_fits_the_model"
RESTORES = "detaching_restores_the_model"
IDENTITY = "keeping_all_tokens_changes_nothing"
FEWER = "keeping_fewer_tokens_changes_outputs"
READS = "decoder_reads_exactly_the_kept_tokens"
BY_HAND = "logits_match_hand_built_embeddings"
RECEIPTS = "receipts_match_what_the_decoder_reads"
BATCH = "batches_match_single_prompts"
SIGNALS = "offered_signals_are_delivered"
PLANS = "plans_come_true"
MEMORY = "calls_do_not_affect_later_ones"


class GuestSpec(ComponentSpec):
    """A stranger's adapter."""

    name: Literal["guest"] = "guest"


def broken(adapter: type[ModelAdapter], **options: Any) -> dict[str, str]:
    """What the kit has to say about an adapter."""
    with pytest.raises(ConformanceError, match=r"^adapter 'guest' \(\w+, \w+.py:\d+\) on Llava\w+ breaks") as caught:
        check(adapter, **options)
    failures = caught.value.failures
    assert all(f"{name} ({PROPERTIES[name]})" in str(caught.value) for name in failures)
    return failures


def check(adapter: type[ModelAdapter], *, model: Any = None, **options: Any) -> Conformance:
    """Run the kit on tiny LLaVA."""
    given, model = batch(*MIXED), model or copy.deepcopy(shared("clip"))
    return check_adapter(
        Entry(GuestSpec, adapter, "a guest"),
        model,
        lambda rows: given.inputs if len(rows) == 3 else given.row(rows[0]).inputs,
        **{"sizes": SIZES, "decoder": language_model(model), **options},
    )


def test_an_adapter_that_is_right_passes() -> None:
    report = check(Llava)
    assert report.passed == tuple(PROPERTIES)
    assert not report.skipped
    assert set(report.seconds) == set(PROPERTIES)
    assert str(report) == "adapter 'guest' on LlavaForConditionalGeneration: 13 of 13 properties hold"


def test_what_cannot_be_tried_is_said() -> None:
    report = check(Llava, sizes=None)
    assert set(PROPERTIES) - set(report.passed) == {PLANS}
    assert "  not tried: plans_come_true: check_adapter was not given the images' sizes (sizes=...)" in str(report)


def test_a_model_that_does_not_look_proves_nothing() -> None:
    blind = copy.deepcopy(shared("clip"))
    blind.model.multi_modal_projector.linear_2.weight.data.zero_()
    assert "do not depend on its images" in broken(Llava, model=blind)[FITS]


def test_beams_that_the_host_itself_mixes_up_are_not_wanted_of_adapters() -> None:
    model, given = copy.deepcopy(shared("clip")), batch(*MIXED)
    model.generate = _mixing_up_beams(model.generate)
    options = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False, "num_beams": 2}
    with keeping(16).attach(model):
        right = model.generate(**given.inputs, **options)
    assert not torch.equal(model.generate(**given.inputs, **options), right)
    assert check(Llava, model=model, only=[IDENTITY]).passed == (FITS, IDENTITY)


def test_adapters_by_name_and_by_table() -> None:
    model = anyres.next_model()
    given = anyres.prompts(model, [3, (40, 50), 4], [5], [2, (25, 56), 3, (100, 30), 5])
    assert check_adapter({"name": "llava_next"}, model, given.rows, only=[IDENTITY]).passed == (FITS, IDENTITY)
    with pytest.raises(ConformanceError, match=IDENTITY):
        check_adapter({"name": "llava_next", "newlines": "drop"}, model, given.rows, only=[IDENTITY])
    with pytest.raises(scope.UnknownNameError, match=r"no property 'plans_come_tru' .did you mean 'plans_come_true'"):
        check_adapter("llava_next", model, given.rows, only=["plans_come_tru"])
    with pytest.raises(ConformanceError, match=r"no adapter is called 'llava_nxt'.*did you mean 'llava_next'"):
        check_adapter("llava_nxt", model, given.rows)


class TestExpectedFailures:
    """Of an adapter that has one fault: `SaysOtherPositions`."""

    def test_the_report_says_them(self) -> None:
        report = check(SaysOtherPositions, only=[READS], expected_failures={READS: "issue 7"})
        assert report.passed == (FITS,)
        assert report.expected_failures == {READS: "issue 7"}
        assert f"  expected to fail: {READS}: issue 7" in str(report)

    def test_one_that_holds_has_to_be_removed(self) -> None:
        with pytest.raises(
            ConformanceError, match=r"expected_failures lists; remove them from it:\n  keep.*issue 7"
        ) as caught:
            check(Llava, only=[IDENTITY], expected_failures={IDENTITY: "issue 7"})
        assert caught.value.failures == {}
        assert caught.value.outdated == {IDENTITY: "issue 7"}

    def test_other_failures_are_failures(self) -> None:
        with pytest.raises(ConformanceError) as caught:
            check(SaysOtherPositions, only=[READS], expected_failures={FITS: "issue 7"})
        assert set(caught.value.failures) == {READS}
        assert set(caught.value.outdated) == {FITS}

    def test_a_name_that_is_not_there(self) -> None:
        with pytest.raises(scope.UnknownNameError, match="did you mean 'plans_come_true'"):
            check(Llava, expected_failures={"plans_come_tru": "issue 7"})


class ForgetsTheMask(Llava):
    """The mask is cut to length instead of being shortened with the ids."""

    def positions(self, model: Any, kwargs: Any, short: Any) -> None:
        mask = kwargs.get("attention_mask")
        self.cut = None if mask is None else mask[:, : short.index.shape[1]]

    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        super().install(model, attachment, undo)
        inner = model.model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            mask = kwargs.get("attention_mask")
            pruned = kwargs.get("mm_encoder_outputs") or kwargs.get("inputs_embeds") is not None
            if pruned and mask is not None and mask.shape == self.cut.shape:
                kwargs["attention_mask"] = self.cut
            return inner(*args, **kwargs)

        replace_attribute(model.model, "forward", forward, undo)


class LeavesAHook(Llava):
    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        super().install(model, attachment, undo)
        model.model.vision_tower.register_forward_hook(lambda *_: None)


class LeavesAnAttribute(Llava):
    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        super().install(model, attachment, undo)
        model.model.vision_tower.pruned = True


class PatchesTheClass(Llava):
    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        super().install(model, attachment, undo)
        type(model.model.multi_modal_projector).pruned = True


class SwitchesAttention(Llava):
    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        model.config.vision_config._attn_implementation = "eager"
        super().install(model, attachment, undo)


class WritesToWeights(Llava):
    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        super().install(model, attachment, undo)
        model.lm_head.weight.data.mul_(1.001)


class LeavesAHookOnErrors(Llava):
    def seen(self, model: Any, images: Any, attachment: Any) -> Any:
        hook = model.model.multi_modal_projector.register_forward_pre_hook(lambda *_: None)
        made = super().seen(model, images, attachment)
        hook.remove()
        return made


class TurnsRowsAround(Llava):
    """Right rows, wrong order."""

    def with_rows(self, encoded: Any, rows: Any, flags: Any) -> Any:
        return super().with_rows(encoded, [row.flip(0) for row in rows], flags)


class TakesTheFirstRows(Llava):
    """As many rows as were picked, but not those."""

    def with_rows(self, encoded: Any, rows: Any, flags: Any) -> Any:
        first = [full[: len(row)] for full, row in zip(encoded.rows, rows, strict=True)]
        return super().with_rows(encoded, first, flags)


class SwapsImages(Llava):
    """Every prompt gets the rows of another image; the total is right, which is all that the host checks."""

    def with_rows(self, encoded: Any, rows: Any, flags: Any) -> Any:
        return super().with_rows(encoded, rows[::-1], flags)


class JoinsImages(Llava):
    """All rows as one image: beam search can no longer deal them out."""

    def with_rows(self, encoded: Any, rows: Any, flags: Any) -> Any:
        return super().with_rows(encoded, [torch.cat(rows)], flags)


class MixesUpBeams(Llava):
    """Beams read other prompts' images."""

    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        super().install(model, attachment, undo)
        replace_attribute(model, "generate", _mixing_up_beams(model.generate), undo)


def _mixing_up_beams(inner: Any) -> Any:
    def generate(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("num_beams", 1) > 1 and kwargs.get("pixel_values") is not None:
            kwargs["pixel_values"] = kwargs["pixel_values"].flip(0)
        return inner(*args, **kwargs)

    return generate


class Untried(Llava):
    """No image is tried when attaching, so that the kit is what sees faults of `encode`."""

    def trial_images(self, model: Any) -> None:
        return None


class ReadsOtherPlaces(Untried):
    """Candidate j is said to be row j, and is row j + 1."""

    def encode(self, *args: Any) -> Any:
        made = super().encode(*args)
        return dataclasses.replace(made, places=[torch.arange(len(row)).roll(1) for row in made.rows])


class Remembers(Untried):
    """Images are told apart by the shape of the call."""

    def encode(self, model: Any, images: Any, ids: Any, attachment: Any) -> Any:
        memory = self.__dict__.setdefault("memory", {})
        made = super().encode(model, images, ids, attachment)
        return memory.setdefault(images["pixel_values"].shape, made)


class RemembersFlags(Llava):
    """What was kept once is kept again, for images of the same size."""

    def with_rows(self, encoded: Any, rows: Any, flags: Any) -> Any:
        memory = self.__dict__.setdefault("memory", {})
        first = memory.setdefault(tuple(len(row) for row in rows), rows)
        return super().with_rows(encoded, [row.clone() for row in first], flags)


class MixesSignals(Llava):
    """Signals of the wrong image where there are several."""

    def seen(self, model: Any, images: Any, attachment: Any) -> Any:
        made = super().seen(model, images, attachment)
        rolled = made.tokens.signals.map(lambda _, tensor: tensor.roll(1, 0))
        return dataclasses.replace(made, tokens=dataclasses.replace(made.tokens, signals=rolled))


class OffersTooMuch(Llava):
    def check(self, model: Any) -> Declaration:
        made = super().check(model)
        return dataclasses.replace(made, offers=(*made.offers, Offer("clip.text_similarity")))


class OffersBadNumbers(Llava):
    def seen(self, model: Any, images: Any, attachment: Any) -> Any:
        made = super().seen(model, images, attachment)
        bad = made.tokens.signals.map(lambda _, tensor: tensor / 0)
        return dataclasses.replace(made, tokens=dataclasses.replace(made.tokens, signals=bad))


class GivesAllToOnePrompt(Llava):
    def layout_of(self, encoded: Any, prompts: Any) -> Layout:
        return super().layout_of(encoded, [0] * len(prompts))


class PlansOneMore(Llava):
    def layout(self, model: Any, sizes: Any) -> Layout:
        return Layout.of([image.tokens + 4 for image in super().layout(model, sizes).images])


class PrunesNothing(Llava):
    """The receipt says otherwise."""

    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        forward = model.forward

        def unpruned(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("pixel_values") is not None:
                images = {name: kwargs[name] for name in self.image_inputs if kwargs.get(name) is not None}
                encoded = self.encode(model, images, kwargs["input_ids"], attachment)
                attachment.prune(encoded.tokens, self.layout_of(encoded, [0] * len(encoded.rows)))
            return forward(*args, **kwargs)

        replace_attribute(model, "forward", unpruned, undo)


class ProjectsSomethingElse(Untried):
    """What is called 'projected' is not what the decoder reads."""

    def seen(self, model: Any, images: Any, attachment: Any) -> Any:
        made = super().seen(model, images, attachment)
        if attachment.pruner.spec.at != "projected":
            return made
        return dataclasses.replace(made, tokens=dataclasses.replace(made.tokens, features=made.tokens.features + 1))


class ShowsTheShortPrompt(Llava):
    """Callers who slice by the length of their own prompt lose the answer."""

    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        super().install(model, attachment, undo)
        inner = model.generate

        def generate(*args: Any, **kwargs: Any) -> Any:
            return inner(*args, **kwargs)[:, attachment.prompt_length - attachment.positions.shape[1] :]

        replace_attribute(model, "generate", generate, undo)


class SaysOtherPositions(Llava):
    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        super().install(model, attachment, undo)
        inner = model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            made = inner(*args, **kwargs)
            if attachment.positions is not None:
                attachment.positions = attachment.positions + 1
            return made

        replace_attribute(model, "forward", forward, undo)


class SeesNoModel(Llava):
    def matches(self, model: Any) -> bool:
        return False


class Unfit(Llava):
    def check(self, model: Any) -> Declaration:
        raise scope.AdapterError("there is no tower in this model")


@pytest.fixture(autouse=True)
def _class_as_before() -> Iterator[None]:
    yield
    if "pruned" in vars(projector := type(shared("clip").base_model.multi_modal_projector)):
        del projector.pruned


@pytest.mark.parametrize(
    ("adapter", "found"),
    [
        (ForgetsTheMask, {BATCH: "last logits differ from those of the prompt alone"}),
        (LeavesAHook, {RESTORES: "_forward_hooks entries"}),
        (LeavesAnAttribute, {RESTORES: "model.vision_tower.pruned: absent -> True"}),
        (PatchesTheClass, {RESTORES: "LlavaMultiModalProjector.pruned: absent -> "}),
        pytest.param(SwitchesAttention, {RESTORES: "config attention: sdpa -> eager"}, marks=attention_switch),
        (WritesToWeights, {RESTORES: "lm_head.weight sums"}),
        (LeavesAHookOnErrors, {RESTORES: "vision_tower (CLIPVisionModel)"}),
        (TurnsRowsAround, {IDENTITY: "forward: ", READS: "in the order"}),
        (TakesTheFirstRows, {READS: "were kept, but the decoder reads [0, 1, 2, 3", BY_HAND: ""}),
        (SwapsImages, {IDENTITY: "", READS: "prompt 2", BATCH: ""}),
        pytest.param(JoinsImages, {IDENTITY: "beam search"}, marks=offers.encoder_outputs),
        (MixesUpBeams, {IDENTITY: "beam search"}),
        (ReadsOtherPlaces, {READS: "were kept, but the decoder reads"}),
        (Remembers, {MEMORY: "after other calls"}),
        (RemembersFlags, {MEMORY: "after other calls"}),
        (MixesSignals, {SIGNALS: "of image 0 of prompt 2 differs between the prompt alone and in a batch"}),
        (OffersTooMuch, {SIGNALS: "clip.text_similarity"}),
        (OffersBadNumbers, {SIGNALS: "not finite"}),
        (GivesAllToOnePrompt, {BATCH: "the receipt gives prompt 2 the images []; it has 2"}),
        (PlansOneMore, {PLANS: "[(20, 8, None)] planned, [(16, 6, None)] happened"}),
        (PrunesNothing, {FEWER: "the last output is the same with 6 of 16 tokens", READS: "", RECEIPTS: ""}),
        (ProjectsSomethingElse, {READS: "the unpruned decoder does not read candidate 0"}),
        (ShowsTheShortPrompt, {FEWER: "generate() returns another prompt than unpruned: shape (3, 21)"}),
        (SaysOtherPositions, {READS: "positions say [1, 2, 3"}),
        (SeesNoModel, {FITS: "matches() is False"}),
        (Unfit, {FITS: "raised AdapterError: there is no tower in this model"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_adapter_is_caught(adapter: type[ModelAdapter], found: dict[str, str]) -> None:
    failures = broken(adapter, only=found)
    for name, words in found.items():
        assert name in failures, failures
        assert words in failures[name], failures


def test_errors_name_the_adapters_file_and_line() -> None:
    """Of what an adapter raises, its own line, however deep below it the error is."""

    class Fails(Untried):
        def layout_of(self, encoded: Any, prompts: Any) -> Layout:
            return nn.Linear(2, 2)(torch.ones(3))

    with pytest.raises(ConformanceError) as caught:
        check(Fails, only=[READS])
    line = Fails.layout_of.__code__.co_firstlineno
    assert re.search(rf"raised \w+: .* \(at test_conformance_kit.py:{line + 1}, in layout_of\)", str(caught.value))
    assert f"(Fails, test_conformance_kit.py:{line - 1})" in str(caught.value)
