"""Calls on an attached model: those that cannot be pruned are refused in words, the others leave receipts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import scope_core as scope
from adapters.guests import keeping, registry
from adapters.installed import cached
from adapters.models import MIXED, ONE, PATCHES, TWO, Batch, batch, llava, shared
from adapters.snapshot import differences, snapshot
from scope_adapters.compat.caches import plain_cache
from scope_core.parts import hookimpl

GREEDY = {"max_new_tokens": 5, "do_sample": False}


def refuse(model: Any, call: str, error: type[Exception], *words: str, **inputs: Any) -> None:
    """The call raises, says these words, changes nothing, and the next one works."""
    good = batch(*ONE)
    with keeping(5).attach(model) as pruning:
        before = snapshot(model)
        with pytest.raises(error) as caught:
            getattr(model, call)(**inputs)
        for word in words:
            assert word in str(caught.value), caught.value
        assert differences(before, snapshot(model)) == []
        calls = pruning.receipt.calls
        model.generate(**good.inputs, **GREEDY)
        assert pruning.receipt.calls == calls + 1


@pytest.fixture
def model() -> Any:
    made = shared("clip")
    made.generate(**batch(*ONE).inputs, **GREEDY)
    return made


def other(given: Batch, **changes: Any) -> dict[str, Any]:
    return {**given.inputs, **changes}


BOTH = pytest.mark.parametrize("call", ["forward", "generate"])


@BOTH
def test_embeddings_instead_of_ids(model: Any, call: str) -> None:
    given = batch(*ONE)
    embeds = model.get_input_embeddings()(given.ids)
    refuse(model, call, scope.AttachError, "input_ids", inputs_embeds=embeds, pixel_values=given.pixels)
    refuse(model, call, scope.AttachError, "input_ids", **other(given, inputs_embeds=embeds))


@BOTH
def test_features_encoded_elsewhere(model: Any, call: str) -> None:
    given = batch(*ONE)
    features = {"image": model.model.get_image_features(pixel_values=given.pixels, return_dict=True)}
    without = {name: value for name, value in given.inputs.items() if name != "pixel_values"}
    for inputs in ({**without, "mm_encoder_outputs": features}, {**given.inputs, "mm_encoder_outputs": features}):
        refuse(model, call, scope.AttachError, "encoded elsewhere", "pixel_values", "detach", **inputs)


@BOTH
def test_images_after_a_cached_prompt(model: Any, call: str) -> None:
    given = batch(*ONE)
    cache = plain_cache(model.config.get_text_config())
    with torch.no_grad():
        model(**given.inputs, **cached(model, cache))
    (name,) = given_cache = cached(model, cache)
    refuse(model, call, scope.AttachError, f"{name} with new images", "without a cache", **given.inputs, **given_cache)


@BOTH
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("attention_mask", (1, 1, 24, 24)),
        ("attention_mask", (1, 30)),
        ("labels", (1, 23)),
        ("token_type_ids", (2, 24)),
        ("position_ids", (3, 1, 24)),
        ("position_ids", (1, 9)),
    ],
)
def test_tensors_that_do_not_run_along_the_prompt(model: Any, call: str, name: str, shape: tuple[int, ...]) -> None:
    given = batch(*ONE)
    assert given.length == 24
    inputs = other(given, **{name: torch.ones(shape, dtype=torch.int64)})
    refuse(model, call, scope.AttachError, name, str(shape), "(1, 24)", **inputs)


def test_a_mask_that_is_no_tensor(model: Any) -> None:
    given = batch(*ONE)
    refuse(
        model,
        "forward",
        scope.AttachError,
        "attention_mask",
        "dict",
        **other(given, attention_mask={"full": given.mask}),
    )


def test_assistants(model: Any) -> None:
    refuse(model, "generate", scope.AttachError, "assistant_model", **batch(*ONE).inputs, assistant_model=llava())


@BOTH
@pytest.mark.parametrize(
    ("images", "words"),
    [
        (1, ("prompt 1", "more than its images fill", "1 images were given", "id 150")),
        (2, ("prompt 1", "more than its images fill")),
        (4, ("4 images were given", "for 3 only")),
    ],
)
def test_too_few_or_too_many_images(model: Any, call: str, images: int, words: tuple[str, ...]) -> None:
    given = batch(*TWO)
    pixels = torch.cat([given.pixels, given.pixels])[:images]
    refuse(model, call, scope.AttachError, *words, **other(given, pixel_values=pixels))


@BOTH
def test_placeholders_that_belong_to_no_whole_image(model: Any, call: str) -> None:
    """The total is right; without a pruner the model would read half an image in the wrong prompt."""
    ids = batch([PATCHES + 8], [2, "image", "image"]).ids
    ids = torch.cat([ids, ids], 1)
    ids = torch.full((2, 30), 20)
    ids[0, :8], ids[1, :24] = 150, 150
    pixels = batch(*TWO).pixels[:2]
    with torch.no_grad():
        model(input_ids=ids, pixel_values=pixels)
    refuse(
        model,
        call,
        scope.AttachError,
        "prompt 0",
        "8 image placeholders",
        "16 tokens",
        input_ids=ids,
        pixel_values=pixels,
    )


@BOTH
def test_budgets_that_cannot_be_met_name_the_image(call: str) -> None:
    model, given = shared("clip"), batch(*TWO)
    with keeping(17).attach(model) as pruning:
        with pytest.raises(scope.BudgetError, match=r"image 0 has 16 tokens"):
            getattr(model, call)(**given.inputs)
        assert not pruning.receipt


@BOTH
def test_bad_numbers_name_the_image(call: str) -> None:
    model, given = shared("clip"), batch(*TWO)
    given.pixels[1, 0, 3, 3] = torch.nan
    with keeping(5).attach(model), pytest.raises(scope.TokensError, match=r"image 1"):
        getattr(model, call)(**given.inputs)


# receipts and observers


def test_receipt_before_any_call() -> None:
    with keeping(5).attach(shared("clip")) as pruning:
        assert not pruning.receipt
        assert "nothing pruned yet" in str(pruning.receipt)
        assert pruning.receipt.to_dict()["images"] == []
        assert pruning.positions is None


def test_receipt_outlives_the_attachment() -> None:
    model, given = shared("clip"), batch(*MIXED)
    with keeping([5, 3, 9]).attach(model) as pruning:
        model.generate(**given.inputs, **GREEDY)
    text = str(pruning.receipt)
    for word in ("48 -> 17", "image 1 (prompt 2): 16 -> 3", "vision.cls_attention[-2]", "theta-coverage"):
        assert word in text
    assert pruning.receipt.encode_ms > 0
    assert pruning.receipt.adapter == "llava"
    assert pruning.receipt.to_dict()["kept"] == 17


def test_observers_hear_each_attach_and_each_call_once() -> None:
    heard: list[tuple[str, Any]] = []

    @hookimpl
    def scope_attached(model: object, adapter: str) -> None:
        heard.append(("attached", adapter))

    @hookimpl
    def scope_selected(receipt: scope.Receipt) -> None:
        heard.append(("selected", receipt.kept))

    used = scope.Pruner("scope@5", registry=registry(scope_attached=scope_attached, scope_selected=scope_selected))
    model, given = shared("clip"), batch(*TWO)
    with used.attach(model), torch.no_grad():
        model.generate(**given.inputs, **GREEDY, num_beams=2, use_cache=False)
        model(**given.inputs)
        model.generate(**batch([5]).inputs, **GREEDY)
    assert heard == [("attached", "llava"), ("selected", 15), ("selected", 15)]


def test_an_observer_that_raises_is_a_warning_and_never_leaves_hooks_behind() -> None:
    @hookimpl
    def scope_attached(model: object) -> None:
        raise RuntimeError("a bug in an observer")

    used = scope.Pruner("scope@5", registry=registry(scope_attached=scope_attached))
    model = shared("clip")
    with pytest.warns(scope.PluginWarning, match="a bug in an observer"), used.attach(model) as pruning:
        assert pruning.active
    with pytest.raises(scope.PluginWarning):  # where warnings are errors
        used.attach(model)
    assert "forward" not in vars(model)
    with keeping(5).attach(model):
        pass


def test_plan_knows_the_counts_beforehand() -> None:
    model, given = shared("clip"), batch(*TWO)
    with keeping(5).attach(model) as pruning:
        planned = pruning.plan([(28, 28)] * 3)
        model.generate(**given.inputs, **GREEDY)
    assert planned.images == tuple(image.kept for image in pruning.receipt.images)
    assert scope.Pruner("scope@5").plan([(28, 28)], model=shared("siglip")).layout.images[0].tokens == 16
    assert scope.Pruner("scope@5").plan([(28, 28)], model=shared("clip-full")).layout.images[0].tokens == 17


# threads


def test_threads_on_one_model_do_not_mix() -> None:
    model = llava()
    recipes = [ONE, TWO, MIXED, ([5, "image", 2], [1, "image", 7])]
    batches = [batch(*rows, seed=seed) for seed in range(3) for rows in recipes]
    with keeping(4).attach(model) as pruning:
        serial = [model.generate(**given.inputs, **GREEDY) for given in batches]
        start = threading.Barrier(3)

        def run(worker: int) -> list[torch.Tensor]:
            start.wait()
            return [model.generate(**given.inputs, **GREEDY) for given in batches[worker::3]]

        with ThreadPoolExecutor(3) as pool:
            made = list(pool.map(run, range(3)))
    for worker in range(3):
        for got, wanted in zip(made[worker], serial[worker::3], strict=True):
            assert torch.equal(got, wanted)
    assert pruning.receipt.calls == 2 * len(batches)


def test_leaving_while_another_thread_generates() -> None:
    """The usual streaming pattern: what had begun pruned goes on so, what begins later is not pruned."""
    model, given = llava(), batch(*ONE)
    inside, left = threading.Event(), threading.Event()
    plain = model.generate(**given.inputs, **GREEDY)

    def hold(*_: Any) -> None:
        if not left.is_set():
            inside.set()
            left.wait(20)

    with keeping(4).attach(model):
        wanted = model.generate(**given.inputs, **GREEDY)
    hook = model.model.language_model.layers[0].register_forward_pre_hook(hold)
    with ThreadPoolExecutor(1) as pool:
        with keeping(4).attach(model):
            running = pool.submit(model.generate, **given.inputs, **GREEDY)
            assert inside.wait(20)
        assert "forward" not in vars(model)
        left.set()
        assert torch.equal(running.result(), wanted)
    hook.remove()
    assert torch.equal(model.generate(**given.inputs, **GREEDY), plain)
