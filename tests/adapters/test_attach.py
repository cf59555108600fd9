"""Attaching and detaching: which adapter, which model, and what is left behind."""

from __future__ import annotations

import copy
import gc
import importlib.metadata
import weakref
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import nn

import scope_core as scope
from adapters.anyres import next_model
from adapters.decoders import deep
from adapters.guests import keeping, registry
from adapters.installed import tower_layers
from adapters.models import ONE, PATCHES, TWO, batch, llava, shared
from adapters.snapshot import differences, snapshot
from scope_adapters.adapters.llava import Llava
from scope_core.adapters import recipe_fits
from scope_core.parts import ComponentSpec, Entry, hookimpl

GREEDY = {"max_new_tokens": 5, "do_sample": False}


class TwinSpec(ComponentSpec):
    """LLaVA once more, under another name."""

    name: Literal["twin"] = "twin"


class Twin(Llava):
    """Matches whatever the built-in adapter matches."""


class PickySpec(ComponentSpec):
    """Cannot be built without options."""

    name: Literal["picky"] = "picky"
    path: str


class RashSpec(ComponentSpec):
    """Looks at what other models do not have."""

    name: Literal["rash"] = "rash"


class Rash(Llava):
    """Raises on models it was not written for."""

    def matches(self, model: Any) -> bool:
        return model.language_backbone.width > 0


class LazySpec(ComponentSpec):
    """Its target cannot be imported."""

    name: Literal["lazy"] = "lazy"


def adapters(*entries: Entry) -> scope.Registry:
    @hookimpl
    def scope_adapters() -> tuple[Entry, ...]:
        return entries

    return registry(scope_adapters=scope_adapters)


def refused(action: Any, error: type[Exception], *words: str) -> str:
    with pytest.raises(error) as caught:
        action()
    for word in words:
        assert word in str(caught.value), caught.value
    return str(caught.value)


# finding the adapter


@pytest.mark.parametrize(
    "model", [nn.Linear(2, 2), object(), None, "llava", SimpleNamespace(config=None)], ids=lambda m: type(m).__name__
)
def test_no_adapter(model: Any) -> None:
    text = refused(
        lambda: keeping(4).attach(model), scope.AdapterError, "no adapter matches", type(model).__name__, "llava"
    )
    assert "scope_core.select()" in text


@pytest.mark.parametrize(
    "model", [nn.Linear(2, 2), object(), None, "llava", SimpleNamespace(config=None)], ids=lambda m: type(m).__name__
)
def test_forced_adapter_on_something_else(model: Any) -> None:
    refused(lambda: keeping(4).attach(model, adapter="llava"), scope.AdapterError, type(model).__name__)


def test_the_right_attribute_is_named() -> None:
    inner = shared("clip")
    refused(lambda: keeping(4).attach(SimpleNamespace(model=inner)), scope.AdapterError, "'.model' would match")
    wrapped = nn.DataParallel(inner)
    assert "DistributedDataParallel" not in refused(
        lambda: keeping(4).attach(wrapped), scope.AdapterError, "'.module' would match: attach to that."
    )
    wrapped.device_ids = [0, 1]  # as on a machine with two GPUs
    refused(lambda: keeping(4).attach(wrapped), scope.AdapterError, "2 devices", "use DistributedDataParallel")


def test_unknown_adapter_name() -> None:
    refused(lambda: keeping(4).attach(shared("clip"), adapter="lava"), scope.UnknownNameError, "did you mean 'llava'?")


def test_two_adapters_match() -> None:
    used = scope.Pruner("scope@4", registry=adapters(Entry(TwinSpec, Twin, "twin")))
    model, given = shared("clip"), batch(*ONE)
    refused(lambda: used.attach(model), scope.AdapterError, "llava, twin", "adapter=")
    for name in ("llava", "twin"):
        with used.attach(model, adapter=name) as pruning:
            model.generate(**given.inputs, **GREEDY)
        assert pruning.receipt.adapter == name
    by_spec = scope.Pruner({"recipe": "scope", "budget": 4, "adapter": "twin"}, registry=used.registry)
    with by_spec.attach(model) as pruning:
        model.generate(**given.inputs, **GREEDY)
    assert pruning.receipt.adapter == "twin"


def test_adapters_that_cannot_be_built_do_not_stop_the_others() -> None:
    entries = (
        Entry(PickySpec, Twin, "needs options"),
        Entry(LazySpec, "not_installed_anywhere:Thing", "needs a package"),
    )
    used = scope.Pruner("scope@4", registry=adapters(*entries))
    with used.attach(shared("clip")) as pruning:
        assert pruning.adapter.spec.name == "llava"
    text = refused(lambda: used.attach(nn.Linear(2, 2)), scope.AdapterError, "Not tried", "'picky'", "'lazy'")
    assert "not_installed_anywhere" in text


def test_an_adapter_that_raises_on_other_models_is_named_and_passed_over() -> None:
    used = scope.Pruner("scope@4", registry=adapters(Entry(RashSpec, Rash, "rash")))
    with pytest.warns(scope.PluginWarning, match=r"'rash'.*language_backbone"), used.attach(shared("clip")) as pruning:
        assert pruning.adapter.spec.name == "llava"


# models that are not as declared


def test_a_moved_module_is_named_with_what_exists() -> None:
    model = llava()
    model.model.vision_towr = model.model.vision_tower
    del model.model.vision_tower
    refused(
        lambda: keeping(4).attach(model),
        scope.AdapterError,
        "model.vision_tower",
        "did you mean 'vision_towr'?",
        "model exists (LlavaModel)",
    )
    assert "forward" not in vars(model)


def test_a_moved_layer_is_named_with_what_exists() -> None:
    model = llava()
    attention = tower_layers(model.model.vision_tower)[0].self_attn
    attention.query_proj = attention.q_proj
    del attention.q_proj
    refused(lambda: keeping(4).attach(model), scope.AdapterError, "self_attn.q_proj", "query_proj", "CLIPAttention")


def test_an_unknown_tower_is_named() -> None:
    model = llava()
    model.model.vision_tower.config.model_type = "clap_vision_model"
    refused(
        lambda: keeping(4).attach(model, adapter="llava"),
        scope.AdapterError,
        "clap_vision_model",
        "clip_vision_model",
        "model.vision_tower",
    )


def test_a_calling_convention_that_is_not_known_is_called_that() -> None:
    """With the version and what to do: never advice to upgrade, which could break the host."""
    model = llava()

    class Strange(type(model)):  # type: ignore[misc]
        def forward(self, input_ids: Any = None, inputs_embeds: Any = None, memory: Any = None) -> None:
            """Its cache has another name."""

    model.__class__ = Strange
    version = importlib.metadata.version("transformers")
    refused(lambda: keeping(4).attach(model), scope.AdapterError, "Strange", "convention", version)


def test_layers_that_are_called_in_another_way_are_called_that() -> None:
    model = llava()
    layer = model.model.language_model.layers[0]

    class Strange(type(layer)):  # type: ignore[misc]
        def forward(self, hidden_states: Any, memory: Any = None) -> None:
            """Its cache has another name."""

    layer.__class__ = Strange
    fastv = scope.Pruner({"recipe": "fastv", "at": "decoder[1]", "saliency": {"layer": 0}, "budget": 5})
    refused(lambda: fastv.attach(model), scope.AdapterError, "decoder[1]", "Strange.forward", "memory", "scope doctor")


# attaching more than once


def _reads_later() -> tuple[Any, Any]:
    return deep("llama"), {"recipe": "fastv", "at": "decoder[1]", "saliency": {"layer": 2}, "budget": 5}


def _moves_rows() -> tuple[Any, Any]:
    return next_model(), {"recipe": "visionzip", "budget": 8}


def _reads_embeddings() -> tuple[Any, Any]:
    model = llava()
    model.config.vision_feature_layer = 0
    return model, "scope@5"


@pytest.mark.parametrize("case", [_reads_later, _moves_rows, _reads_embeddings])
def test_what_attach_refuses_check_refuses(case: Any) -> None:
    model, spec = case()
    before, pruner = snapshot(model), scope.Pruner(spec)
    with pytest.raises(scope.ScopeError) as checked:
        pruner.check(model)
    with pytest.raises(scope.ScopeError) as attached:
        pruner.attach(model)
    assert (type(checked.value), str(checked.value)) == (type(attached.value), str(attached.value))
    assert not differences(before, snapshot(model))
    if case is _moves_rows:
        fits = {fit.recipe: fit for fit in recipe_fits(model)}
        assert not fits["visionzip"].runs
        assert "newlines: drop" in fits["visionzip"].why


def test_double_attach_is_refused_and_leaves_the_first_at_work() -> None:
    model, given = llava(), batch(*TWO)
    with keeping(4).attach(model) as first:
        wanted, before = model.generate(**given.inputs, **GREEDY), snapshot(model)
        refused(
            lambda: keeping(6).attach(model),
            scope.AttachError,
            "attached",
            "scope.detach(model)",
            "scope.attached(model)",
        )
        assert differences(before, snapshot(model)) == []
        assert torch.equal(model.generate(**given.inputs, **GREEDY), wanted)
    assert first.receipt.calls == 2
    assert "forward" not in vars(model)


def test_detach_is_final_and_may_be_repeated() -> None:
    model, given = llava(), batch(*TWO)
    plain = model.generate(**given.inputs, **GREEDY)
    pruning = keeping(4).attach(model)
    assert pruning.active
    assert "attached to" in repr(pruning)
    pruning.detach()
    pruning.detach()
    assert not pruning.active
    assert "detached from" in repr(pruning)
    with pytest.raises(scope.AttachError, match="detached"), pruning:
        pass
    assert torch.equal(model.generate(**given.inputs, **GREEDY), plain)
    with keeping(6).attach(model) as again, keeping(6).attach(llava(seed=1)):
        model.generate(**given.inputs, **GREEDY)
        pruning.detach()
        assert again.active
    assert again.receipt.kept == 18
    assert not pruning.receipt


def test_two_models_at_once() -> None:
    one, two, given = llava(), llava(seed=1), batch(*TWO)
    with keeping(4).attach(one) as first:
        alone = one.generate(**given.inputs, **GREEDY)
        with keeping(6).attach(two) as second:
            assert torch.equal(one.generate(**given.inputs, **GREEDY), alone)
            two.generate(**given.inputs, **GREEDY)
            first.detach()
            assert second.active
            two.generate(**given.inputs, **GREEDY)
    assert (first.receipt.kept, first.receipt.calls) == (12, 2)
    assert (second.receipt.kept, second.receipt.calls) == (18, 2)
    assert "forward" not in vars(one) | vars(two)


def test_one_pruner_serves_several_models() -> None:
    used, models, given = keeping(4), (llava(), llava(seed=1)), batch(*ONE)
    with used.attach(models[0]) as first, used.attach(models[1]) as second:
        models[1].generate(**given.inputs, **GREEDY)
    assert not first.receipt
    assert second.receipt


# lifetime


def test_an_attached_model_can_be_freed() -> None:
    gc.collect()
    model, given = llava(), batch(*ONE)
    handle = keeping(4).attach(model)
    model.generate(**given.inputs, **GREEDY)
    dead = weakref.ref(model), weakref.ref(handle)
    del handle
    gc.collect()
    assert dead[1]() is not None  # the model keeps its pruner at work
    del model
    gc.collect()
    assert [reference() for reference in dead] == [None, None]


@pytest.mark.parametrize("part", ["vision_tower", "multi_modal_projector"])
def test_a_module_may_be_replaced_while_attached(part: str) -> None:
    model, given = llava(), batch(*ONE)
    with torch.no_grad(), keeping(4).attach(model):
        wanted = model(**given.inputs).logits
        setattr(model.model, part, copy.deepcopy(getattr(model.model, part)))
        assert torch.equal(model(**given.inputs).logits, wanted)


def test_places_of_tokens_are_each_calls_own() -> None:
    """A part that writes to them, and is refused, must not spoil those of later calls and other models."""
    given = batch(*ONE)
    for _ in range(2):
        with torch.no_grad(), keeping(4).attach(llava()) as pruning:
            pruning.model(**given.inputs)
            tokens = pruning.receipt.selection.tokens
            assert tokens.row.flatten()[0] == 0
            tokens.row.add_(1)
            tokens.col.add_(1)


def test_a_masks_own_numbers_count_in_positions() -> None:
    """Whoever masks by other numbers than 0 and 1 gets the positions that the model would make of them."""
    model, given = llava(), batch([3, "image", 4], seed=4)
    inputs = {**given.inputs, "attention_mask": given.mask * 2}
    plain = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    with keeping(PATCHES, positions="original").attach(model):
        assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), plain)
