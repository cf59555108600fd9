"""A geometry that is not as declared is refused when attaching, by one small image that leaves nothing behind."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import offers
import pytest
import torch
from torch import nn

import scope_core as scope
from adapters import qwen, tiled
from adapters.guests import keeping, registry
from adapters.models import ONE, batch, llava, shared
from adapters.snapshot import differences, snapshot
from scope_adapters.adapters.idefics3 import Idefics3
from scope_adapters.adapters.internvl import InternVL
from scope_adapters.adapters.llava import Llava, LlavaSpec
from scope_adapters.adapters.projected import ProjectedTower
from scope_adapters.adapters.qwen2_vl import Qwen2VL
from scope_adapters.adapters.shuffled import Shuffled
from scope_adapters.towers.layouts import LAYOUTS
from scope_core.parts import ComponentSpec, Entry, hookimpl


class GuestSpec(ComponentSpec):
    name: Literal["guest"] = "guest"


class OneTokenPerPatch(ProjectedTower[GuestSpec]):
    """Of a model that merges four patches into a token."""

    model_type, pooler = "internvl", "tensor"


class InputOfTheWholeProjector(Shuffled[GuestSpec]):
    """The author took the first layer that comes to mind; it is given patches."""

    model_type, pooler = "idefics3", "list"
    tower, projector, merging = "vision_model", "connector.modality_projection", "connector.pixel_shuffle"
    given = "vision_model.post_layernorm"
    reads, merge = Idefics3.reads, Idefics3.merge

    def trial_images(self, model: Any) -> Any:
        return {"pixel_values": super().trial_images(model)["pixel_values"][None]}


class Backwards(Llava):
    def encode(self, *args: Any) -> Any:
        made = super().encode(*args)
        return dataclasses.replace(made, rows=[row.flip(0) for row in made.rows])


class ShortOfRows(Qwen2VL):
    def encode(self, *args: Any) -> Any:
        made = super().encode(*args)
        return dataclasses.replace(made, rows=[row[1:] for row in made.rows])


class TwoInOneCell(Qwen2VL):
    def encode(self, *args: Any) -> Any:
        made = super().encode(*args)
        return dataclasses.replace(made, tokens=dataclasses.replace(made.tokens, col=made.tokens.col // 2))


class SignalsOfPatches(InternVL):
    def signals_of(self, base: Any, capture: Any, needs: Any, features: Any, grid: Any) -> Any:
        return capture.signals(needs, grid[0] * grid[1])


class Slips(Llava):
    def encode(self, model: Any, images: Any, *args: Any) -> Any:
        return images["pixels"]


WRONG = {
    OneTokenPerPatch: ("internvl", r"gives 9 tokens for an image, and 36 were expected: 6 x 6.*subclass `Shuffled`"),
    InputOfTheWholeProjector: ("idefics3", r"gives 36 tokens for a tile, and 9 were expected.*one row per token"),
    Backwards: ("llava", r"at 'vision'|features.*are not the.*rows"),
    ShortOfRows: ("qwen2_vl", r"the model gives 6 rows to the language model, but encode\(\) returns 5"),
    TwoInOneCell: ("qwen2_vl", r"6 candidates claim 4 cells of a grid of 2 x 2"),
    SignalsOfPatches: ("internvl", r"signal 'vision\.\w+\[1\]' has shape .*N=9"),
    Slips: ("llava", r"encode\(\) raised KeyError on a trial image: .*pixels.* \(at test_trial.py:\d+, in encode\)"),
}


def model_of(name: str) -> Any:
    return shared("clip") if name == "llava" else qwen.shared(name) if name in qwen.CLASSES else tiled.shared(name)


@pytest.mark.parametrize("adapter", WRONG, ids=lambda adapter: adapter.__name__)
def test_a_wrong_geometry_is_refused_by_check(adapter: Any) -> None:
    name, said = WRONG[adapter]
    with pytest.raises(scope.AdapterError, match=said) as caught:
        adapter(GuestSpec()).check(model_of(name))
    assert str(caught.value).startswith("adapter 'guest' on ")
    assert "docs/write-an-adapter.md" in str(caught.value) or "signal" in str(caught.value)


@offers.encoder_outputs
def test_the_form_of_rows_is_checked() -> None:
    wrong = type("Lists", (InternVL,), {"pooler": "list"})
    with pytest.raises(scope.AdapterError, match='write `pooler = "tensor"`'):
        wrong(GuestSpec()).check(tiled.shared("internvl"))


def test_nothing_is_left_and_nothing_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model, passes = llava(), []
    before, state = snapshot(model), torch.get_rng_state()
    monkeypatch.setattr(Llava, "features", lambda *args: passes.append(1) or ProjectedTower.features(*args))
    for _ in range(3):
        assert Llava(LlavaSpec()).check(model).untried == ""
    tried = len(passes)
    assert differences(before, snapshot(model)) == []
    assert torch.equal(torch.get_rng_state(), state)
    model.config.vision_feature_select_strategy = "full"  # another geometry
    Llava(LlavaSpec()).check(model)
    assert len(passes) == 2 * tried > 0


def test_an_attached_adapter_that_does_not_try_in_check_is_tried_by_install() -> None:
    class Own(Backwards):
        def check(self, model: Any) -> Any:
            return dataclasses.replace(Llava(LlavaSpec()).check(model), untried="")

    @hookimpl
    def scope_adapters() -> list[Entry]:
        return [Entry(GuestSpec, Own, "a guest")]

    pruner = scope.Pruner("scope@4", registry=registry(scope_adapters=scope_adapters))
    with pytest.raises(scope.AdapterError, match="are not"):
        pruner.attach(llava(), adapter="guest")


class Counting(nn.BatchNorm1d):
    pass


def test_models_that_cannot_run_are_not_tried_and_the_receipt_says_why() -> None:
    weightless = llava().to("meta")
    assert "not loaded (device 'meta')" in Llava(LlavaSpec()).check(weightless).untried
    learning = llava().train()
    learning.model.multi_modal_projector.norm = Counting(2)
    with keeping(4).attach(learning) as pruning, torch.no_grad():
        learning(**batch(*ONE).inputs)
    assert "not tried on an image when attaching: its Counting is in training mode" in str(pruning.receipt)
    half = llava()
    half.model.multi_modal_projector.linear_1 = _Fails()
    assert "its encoder fails on the trial image: RuntimeError" in Llava(LlavaSpec()).check(half).untried


class _Fails(nn.Module):
    def forward(self, _: Any) -> Any:
        raise RuntimeError("not implemented for 'Half'")


def test_compiled_towers_are_not_compiled_for_the_trial() -> None:
    model = llava()
    model.model.vision_tower = torch.compile(model.model.vision_tower, backend="eager")
    assert "OptimizedModule is compiled" in Llava(LlavaSpec()).check(model).untried


def test_a_tower_of_an_unknown_type_is_declared_by_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = LAYOUTS["clip_vision_model"]
    monkeypatch.delitem(LAYOUTS, "clip_vision_model")
    with pytest.raises(scope.AdapterError, match=r"type 'clip_vision_model'.*`tower_layout = TowerLayout"):
        Llava(LlavaSpec()).check(shared("clip"))
    declared = type("Declared", (Llava,), {"tower_layout": layout})
    assert declared(GuestSpec()).check(shared("clip")).has_cls
