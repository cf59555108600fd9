"""Forks of the original LLaVA codebase, as stand-ins: served with what they declare, or refused when attaching."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scope_core as scope
from adapters.guests import keeping
from adapters.llava_forks import PREPARE, bunny, next_like, tiny
from adapters.original_llava import Prompts, prompts
from adapters.snapshot import differences, snapshot
from scope_adapters.adapters.llava_original import LlavaOriginal
from scope_core.parts import ComponentSpec
from scope_core.pruning.compatibility import find_adapter
from scope_core.testing import check_adapter

ODD, WIDE, SQUARE = (40, 30), (90, 33), (56, 56)
MODELS = {"bunny": bunny, "next": next_like, "next pooled": lambda: next_like("spatial_unpad_pool"), "tiny": tiny}
MODES: dict[str, dict[str, Any]] = {"greedy": {}, "beams": {"num_beams": 2}}


def given_to(name: str) -> tuple[Prompts, dict[str, Any]]:
    """Two prompts with one image each, the second of more tiles where the model cuts any."""
    given = prompts("1.6" if name.startswith("next") else "1.5", [3, ODD, 4], [2, SQUARE, 5])
    more: dict[str, Any] = {"attention_mask": given.mask, "images": given.images}
    if name != "bunny":
        more["image_sizes"] = given.sizes
    return given, more | ({"modalities": ["image"] * 2} if name.startswith("next") else {})


def results(model: Any, given: Prompts, more: dict[str, Any]) -> list[Tensor]:
    """Logits, and ids of every mode; hosts get ids of their own, for some write into them."""
    options = {"max_new_tokens": 5, "do_sample": False}
    with torch.no_grad():
        logits = model(input_ids=given.ids.clone(), **more).logits
        return [logits, *(model.generate(given.ids.clone(), **more, **options, **mode) for mode in MODES.values())]


def embeds(model: Any, given: Prompts, more: dict[str, Any]) -> Tensor:
    """What the language model reads."""
    call = dict.fromkeys(("position_ids", "past_key_values", "labels")) | more
    with torch.no_grad():
        rows: Tensor = getattr(model, PREPARE)(input_ids=given.ids.clone(), **call)[4]
    return rows


@pytest.mark.parametrize("name", MODELS)
def test_forks_are_served(name: str) -> None:
    """All kept changes nothing; fewer are the unpruned rows at the kept positions; nothing is left behind."""
    model, (given, more) = MODELS[name](), given_to(name)
    whole, rows = results(model, given, more), embeds(model, given, more)
    before = snapshot(model)
    everything = {"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 1.0}}
    assert find_adapter(model, keeping(4)).spec.name == ("tinyllava" if name == "tiny" else "llava_original")
    with scope.Pruner(everything).attach(model):
        assert all(torch.equal(one, other) for one, other in zip(results(model, given, more), whole, strict=True))
    with keeping(4).attach(model) as pruning:
        few, short = results(model, given, more), embeds(model, given, more)
    at = pruning.positions
    wanted = rows[torch.arange(2)[:, None].expand_as(at)[at >= 0], at[at >= 0]]
    assert torch.equal(short[at >= 0], wanted)
    assert pruning.receipt.kept == 8
    assert any(one.shape != other.shape or not torch.equal(one, other) for one, other in zip(few, whole, strict=True))
    assert differences(before, snapshot(model)) == []


def test_it_keeps_what_adapters_promise() -> None:
    whole = prompts("1.5", [3, ODD, 4], [6, WIDE, 2], [2, ODD, 1, WIDE, 5])

    def make_inputs(rows: Any) -> dict[str, Any]:
        own = [image for row in rows for image in range(4) if whole.owners[image] == row]
        empty = int((whole.mask[list(rows)].sum(0) == 0).sum())
        ids, mask = whole.ids[list(rows), empty:], whole.mask[list(rows), empty:]
        return {"input_ids": ids, "attention_mask": mask, "images": whole.images[own]}

    check_adapter("tinyllava", tiny(), make_inputs)


def test_ids_of_the_caller_are_not_written_to() -> None:
    """Bunny writes zeros over placeholders: a second pass over such ids would find no image."""
    model, (given, more) = bunny(), given_to("bunny")
    ids = given.ids.clone()
    with torch.no_grad():
        model(input_ids=ids, **more)
    assert not torch.equal(ids, given.ids)
    ids = given.ids.clone()
    with keeping(4).attach(model) as pruning, torch.no_grad():
        model(input_ids=ids, **more)
        model.generate(ids, **more, max_new_tokens=3, do_sample=False)
    assert torch.equal(ids, given.ids)
    assert pruning.receipt.kept == 8


def test_steps_that_would_attend_by_a_wrong_mask_are_refused() -> None:
    """A prompt without an image beside one with an image: Bunny's mask of the ids does not fit the spliced prompts."""
    model, given = bunny(), prompts("1.5", [3, ODD, 4], [6])
    with keeping(4).attach(model), pytest.raises(scope.AttachError, match="generate for one prompt at a time"):
        model.generate(given.ids, attention_mask=given.mask, images=given.images, max_new_tokens=3, do_sample=False)


def test_two_passes_of_different_lengths_are_refused() -> None:
    """A host that drops words by chance, say."""
    model, (given, more) = bunny(), given_to("bunny")
    calls = []

    class Fickle(type(model)):
        def prepare_inputs_labels_for_multimodal(
            self, input_ids, position_ids, attention_mask, past_key_values, labels, images
        ):
            calls.append(0)
            ids = input_ids[:, : input_ids.shape[1] - len(calls) // 3]
            mask, words = attention_mask, labels
            mask, words = (it if it is None else it[:, : ids.shape[1]] for it in (mask, words))
            return getattr(super(), PREPARE)(ids, position_ids, mask, past_key_values, words, images)

    model.__class__ = Fickle
    with keeping(4).attach(model), torch.no_grad(), pytest.raises(scope.AttachError, match="deterministic"):
        model(input_ids=given.ids, **more)


def test_mixed_rows_are_merged_after_the_projector_only() -> None:
    model, (given, more) = next_like(), given_to("next")
    spec = {"recipe": "tome", "budget": 5, "order": "raster"}
    with scope.Pruner(spec).attach(model) as pruning, torch.no_grad():
        model(input_ids=given.ids, **more)
    assert "merged after the projector" in str(pruning.receipt)
    with pytest.raises(scope.AdapterError, match=r"'keep_cls'.*uses the CLS token.*tokens are merged after it"):
        scope.Pruner("visionzip@5").attach(next_like())


def test_videos_are_refused() -> None:
    model, (given, more) = next_like(), given_to("next")
    with keeping(4).attach(model), pytest.raises(scope.AttachError, match=r"modalities.*video.*docs/embed.md"):
        model(input_ids=given.ids, **{**more, "modalities": ["image", "video"]})


def test_connectors_that_change_the_number_of_tokens_are_refused() -> None:
    model = tiny(nn.Sequential(nn.MaxPool2d((4, 1)), nn.Linear(32, 64)))
    before = snapshot(model)
    with pytest.raises(
        scope.AdapterError,
        match=r"connector turns \(1, 16\) \(images, tokens\) into \(1, 4\).*docs/write-an-adapter.md",
    ):
        keeping(4).attach(model)
    assert differences(before, snapshot(model)) == []


def test_a_fork_declares_an_argument_in_a_line() -> None:
    """As docs/write-an-adapter.md shows."""
    model = bunny()

    class Fork(type(model)):
        def prepare_inputs_labels_for_multimodal(
            self, input_ids, position_ids, attention_mask, past_key_values, labels, images, cameras=None
        ):
            return getattr(super(), PREPARE)(input_ids, position_ids, attention_mask, past_key_values, labels, images)

    class ForkSpec(ComponentSpec):
        name: str = "acme.fork"

    class ForkAdapter(LlavaOriginal):
        arguments = (*LlavaOriginal.arguments, "cameras")

    model.__class__ = Fork
    with pytest.raises(scope.AdapterError, match=r"cameras is not known.*docs/write-an-adapter.md"):
        keeping(4).attach(model)
    assert ForkAdapter(ForkSpec()).check(model).points
